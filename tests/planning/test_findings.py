"""Doctor puts findings of one kind together, says where masks belong, and tells no hours where nothing is to learn."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio

from jingwei.inputs.samples import find_samples, place_for_mask
from jingwei.legend import GF2
from jingwei.planning.checkup import examine
from jingwei.planning.findings import Finding, grouped, in_lines
from jingwei.raster.png import write_png

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
PIXELS = np.random.default_rng(0).integers(1, 255, (20, 30, 3), dtype=np.uint8)


def mask(value: int) -> np.ndarray:
    labels = np.tile(np.arange(3, dtype=np.uint8), (20, 10))
    labels[:4, :4] = value
    return labels


@pytest.fixture
def many(tmp_path) -> Path:
    """90 pictures: 20 have no mask, 30 masks have a value that nobody knows, 3 are of another size."""
    for number in range(90):
        write_png(tmp_path / "train" / "img" / f"{number}.png", PIXELS)
        if 20 <= number < 50:
            write_png(tmp_path / "train" / "lbl" / f"{number}.png", mask(70 + number % 7))
        elif 50 <= number < 53:
            write_png(tmp_path / "train" / "lbl" / f"{number}.png", mask(0)[: 10 + number % 5])
        elif number >= 53:
            write_png(tmp_path / "train" / "lbl" / f"{number}.png", mask(0))
    return tmp_path


def test_findings_of_one_kind_are_told_together(many, call):
    status, out, _ = call("doctor.py", many, "--quick")
    told = out[out.index("problems") :]
    assert status == 1
    assert len(told.splitlines()) < 20
    assert f"0.png: has no label: put it at {many / 'train' / 'lbl' / '0.png'}" in told
    assert "the same in 19 more: 1.png, 2.png, 3.png ..." in told
    assert re.search(r"20.png: has values that legend gf2 does not know: 76 .16 px.: ", told)
    assert "the same in 29 more: 21.png, 22.png, 23.png ..." in told
    assert "the same in 2 more: 51.png, 52.png\n" in told
    assert "53 problems, of 3 kinds, to mend first" in told


def test_list_names_every_file_and_scene(many, call):
    _, out, _ = call("doctor.py", many, "--quick", "--list")
    assert out.count("has no label: put it at") == 20
    assert out.count("has values that legend gf2 does not know") == 30
    assert "the same in" not in out
    assert len(re.findall(r"^  \d+\.png: train", out, re.MULTILINE)) == 57


def test_an_unknown_value_has_two_remedies_and_ignoring_it_works(many, call):
    _, out, _ = call("doctor.py", many, "--quick")
    assert 'a class can have "value": 76; or "ignore": [76], for no label' in out
    (many / "legend.json").write_text(json.dumps(GF2.to_dict() | {"ignore": [*range(70, 77)]}))
    found = examine(many)
    assert not [finding for finding in found.findings if "does not know" in finding.problem]
    counted = next(scene for scene in found.scenes if scene.path.name == "20.png")
    assert counted.counts.sum() == 600 - 16


def test_kinds_are_told_apart():
    def at(name: str, problem: str, grave=True) -> Finding:
        return Finding(Path("a") / name, problem, f"mend {name}", grave)

    same = [at("1.png", "sample 1: 1_VH.tiff is missing"), at("22.png", "sample 22: 22_VH.tiff is missing")]
    values = [at("3.png", "has values: 7 (9 px)"), at("4.png", "has values: 8 (1,000 px), 9 (2 px) and 3 more")]
    colors = [at("5.png", "has colours: #00FF00 (9 px)"), at("6.png", "has colours: #102030 (1 px)")]
    other = [at("7.png", "has 3 bands"), at("8.png", "has no bands"), at("9.png", "has 4 bands", grave=False)]
    assert grouped([*same, *values, *colors, *other]) == [same, values, colors, *([each] for each in other)]
    assert grouped([]) == []
    assert in_lines(other[:1]) == str(other[0])
    assert in_lines([*other[:1], Finding(Path("b/8.png"), "", "")]).endswith("the same in 1 more: b/8.png")


@pytest.mark.parametrize(("picture", "there", "place"), [
    ("img/7.png", "lbl", "lbl/7.png"), ("img/7.png", None, "lbl/7.png"), ("images/7.png", "masks", "masks/7.png"),
    ("img/c1/7.png", "lbl", "lbl/c1/7.png"), ("7.png", "labels", "labels/7.png"), ("7.png", None, "7_gt.png"),
])  # fmt: skip
def test_a_mask_put_where_it_is_said_to_belong_is_found(tmp_path, picture, there, place):
    write_png(tmp_path / picture, PIXELS)
    if there:
        (tmp_path / there).mkdir()
    folder = tmp_path / picture.split("/")[0] if "/" in picture else tmp_path
    ((sample,), _) = find_samples(folder)
    assert place_for_mask(sample) == tmp_path / place
    write_png(tmp_path / place, mask(0))
    ((sample,), _) = find_samples(folder)
    assert sample.label == tmp_path / place


def test_no_hours_are_told_for_training_without_labels(tmp_path, call):
    for number in range(2):
        write_png(tmp_path / "test" / "img" / f"{number}.png", np.tile(PIXELS, (4, 3, 1)))
    _, out, _ = call("doctor.py", tmp_path, "--model", "enet")
    assert "predicting" in out
    assert "training 20 epochs" not in out


def test_a_far_value_is_a_warning_with_its_place(tmp_path, call):
    pixels = np.random.default_rng(0).random((2, 300, 40), np.float32)
    pixels[1, 290, 7] = 1e30
    kind = {"height": 300, "width": 40, "count": 2, "dtype": "float32"}
    with rasterio.open(tmp_path / "1.tif", "w", driver="GTiff", **kind) as file:
        file.write(pixels)
    _, out, _ = call("doctor.py", tmp_path, "--quick")
    assert "1.tif: band 2 has 1e+30 in row 290, column 7 (from 0): nothing measured is so large" in out
