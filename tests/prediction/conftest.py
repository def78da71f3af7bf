"""What tests of prediction share."""

import pytest
from small_engines import (
    Bright,
    bare_checkpoint,
)

from jingwei.models.checkpoints import Checkpoint


@pytest.fixture
def bright(monkeypatch) -> Checkpoint:
    """A checkpoint of Bright."""
    monkeypatch.setattr(Checkpoint, "build", lambda self: Bright().eval())
    return bare_checkpoint()
