"""Lines of crops.csv that are there twice."""

import pytest

from jingwei.crops.table import Crop, read_crops, write_crops
from jingwei.errors import InputError
from jingwei.grid import Window


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_crop_that_is_listed_twice_is_refused(split, tmp_path):
    """It would count twice, or, on both sides of the split, be trained on and scored."""
    crops = [Crop(name, "a", Window(0, 0, 8, 8), 64, (64, 0), (1.0,), (1.0,)) for name in ("a.png", "b.png")]
    write_crops(tmp_path / "crops.csv", crops)
    assert read_crops(tmp_path / "crops.csv") == crops
    text = (tmp_path / "crops.csv").read_text()
    last = text.splitlines()[-1].replace("train", split)
    (tmp_path / "crops.csv").write_text(f"{text}{last}\n")
    with pytest.raises(
        InputError, match='crops.csv: lists "?b.png"? twice: run generate_train_data.py again, or delete'
    ):
        read_crops(tmp_path / "crops.csv")
