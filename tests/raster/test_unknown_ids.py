"""Maps whose ids are checked: any id that the legend lacks is found, wherever it lies."""

from pathlib import Path

import numpy as np
import pytest

from jingwei.errors import InputError
from jingwei.legend import NODATA, LandClass, Legend
from jingwei.raster.checked import refuse_unknown

WHERE = [(0, 0), (2, 76), (4, 0), (4, 76)]


def legend_of(classes: int) -> Legend:
    return Legend("long", tuple(LandClass(i, f"class {i}", (i, 0, 0)) for i in range(classes)), None)


@pytest.mark.parametrize("classes", [2, 5, 200, 255])
def test_only_the_legends_ids_and_nodata_are_known(classes):
    legend = legend_of(classes)
    for value in range(256):
        for row, col in WHERE:
            labels = np.full((5, 77), NODATA, np.uint8)
            labels[:, ::2] = classes - 1
            labels[row, col] = value
            if value < classes or value == NODATA:
                refuse_unknown(labels, legend, Path("map.tif"), 100)
            else:
                with pytest.raises(InputError, match=rf"ids {value} \(1 px\) .* at row {100 + row}, column {col};"):
                    refuse_unknown(labels, legend, Path("map.tif"), 100)
