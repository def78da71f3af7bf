"""What tells how unsure a map of a part of a scene is: what was made with it, never what an earlier map has left."""

import numpy as np
import pytest

from jingwei.grid import Window
from jingwei.labelling.doubt import doubt_of_part
from jingwei.raster.stamps import STAMP
from jingwei.raster.writing import TiledWriter
from jingwei.workspace import confidence_of, probabilities_of

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.mark.parametrize(("confidence", "probabilities", "expected"), [
    (None, None, None), ("now", None, "confidence"), ("now", "now", "confidence"), (None, "now", "probabilities"),
    ("before", "now", "probabilities"), ("before", "before", None), (None, "before", None),
])  # fmt: skip
def test_only_what_was_made_with_a_part_tells_its_doubt(tmp_path, confidence, probabilities, expected):
    labels = tmp_path / "map.tif"
    marks = {labels: "now", confidence_of(labels): confidence, probabilities_of(labels): probabilities}
    for path, mark in marks.items():
        if mark:
            with TiledWriter(path, 4, 4, tags={STAMP: mark}) as writer:
                writer.write(Window(0, 0, 4, 4), np.zeros((4, 4), np.uint8))
    found = doubt_of_part(labels)
    assert (found and found.name) == expected
