"""What tests of filling share."""

import pytest

from jingwei.filling import holes


@pytest.fixture(
    params=[(1, 1), (1, 320_000), (1 << 13, 90)],
    ids=["one level a pass", "tidied often", "never tidied"],
    scope="module",
)
def room(request):
    """How much of a map filling holds at once, from next to nothing on."""
    before = holes.ROOM, holes.NEAR
    holes.ROOM, holes.NEAR = request.param
    yield
    holes.ROOM, holes.NEAR = before
