"""The check-up: what is in a folder is told as it is, and what is wrong with it before a long job finds out."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from jingwei.cli.doctor import doctor_command
from jingwei.crops.prepare import FolderData, prepare_training
from jingwei.crops.table import read_crops
from jingwei.errors import InputError
from jingwei.inputs.label_files import LabelFiles
from jingwei.inputs.samples import Sample
from jingwei.inputs.sar import CHANNELS
from jingwei.labels.rules import rules_of
from jingwei.legend import GF2, GF3, JINGWEI, NODATA
from jingwei.planning.checkup import CONTEST, FOLDERS, examine
from jingwei.planning.look import Entry, look
from jingwei.planning.outlook import Outlook
from jingwei.raster.crop_files import write_crop
from jingwei.raster.png import write_png

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
TRAIN = "jingwei_round1_train_20190619"
TEST = "jingwei_round1_test_a_20190619"


@pytest.fixture
def project(county, tmp_path) -> Path:
    """The county, to be broken."""
    return Path(shutil.copytree(county, tmp_path / "project"))


@pytest.fixture
def folders(tmp_path) -> Path:
    """Three optical samples with masks in the colours of GF-2."""
    rng = np.random.default_rng(0)
    colors = np.array([c.color for c in GF2.classes], np.uint8)
    for number, side in ((1, "train"), (2, "train"), (1, "valid")):
        write_png(tmp_path / side / "img" / f"{number}.png", rng.integers(1, 255, (40, 30, 3), dtype=np.uint8))
        write_png(tmp_path / side / "lbl" / f"{number}_gt.png", colors[rng.integers(0, len(GF2), (40, 30))])
    return tmp_path


def run(monkeypatch, capsys, *flags) -> tuple[int, str]:
    """Exit code and output of the command."""
    monkeypatch.setattr("sys.argv", ["doctor.py", *map(str, flags)])
    try:
        doctor_command()
        code = 0
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_what_is_there_is_told_as_it_is(county):
    found = examine(county)
    assert found.layout == CONTEST
    assert found.legend == JINGWEI
    assert [(s.path.name, s.use, s.height, s.width, s.bands, s.dtype) for s in found.scenes] == [
        ("image_1.png", "train", 300, 211, 3, "uint8"),
        ("image_2.png", "train", 150, 270, 3, "uint8"),
        ("image_3.png", "test", 170, 140, 3, "uint8"),
    ]
    for scene in found.scenes:
        with rasterio.open(scene.path) as file:
            valid = file.read(4) > 0
        assert scene.valid == valid.sum()
        label = scene.path.with_name(f"{scene.path.stem}_label.png")
        label = label if label.exists() else county / "truth" / label.name
        with rasterio.open(label) as file:
            labels = file.read(1)[valid]
        assert scene.counts.tolist() == [(labels == c.id).sum() for c in JINGWEI.classes]
    assert found.ready


def test_samples_in_folders_are_told_too(folders):
    found = examine(folders)
    assert found.layout == FOLDERS
    assert [scene.use for scene in found.scenes] == ["train", "train", "valid"]
    assert found.class_pixels.sum() == 3 * 40 * 30
    assert (found.ready, found.findings) == (True, [])


def test_folders_may_be_named_in_capitals(folders, tmp_path):
    for path in ("train/img", "train/lbl", "valid/img", "valid/lbl", "train", "valid"):
        (folders / path).rename(folders / path.replace(Path(path).name, Path(path).name.title()))
    found = examine(folders)
    assert [(scene.use, scene.counts.sum()) for scene in found.scenes] == [("train", 1200)] * 2 + [("valid", 1200)]
    assert found.findings == []
    workspace = prepare_training(FolderData(folders, GF2, crop_size=32), tmp_path / "cache", 1)
    assert {crop.split for crop in read_crops(workspace.crops)} == {"train", "validation"}


def test_the_legend_beside_a_train_is_its_own_as_in_configs(folders):
    (folders / "legend.json").write_text(json.dumps(GF2.to_dict() | {"name": "own"}), encoding="utf-8")
    found = examine(folders / "train")
    assert (found.legend.name, found.findings) == ("own", [])


def test_masks_of_two_test_folders_may_lie_beside_them(tmp_path):
    for place, number in (("test_A", 8), ("test_B", 9)):
        write_png(tmp_path / "test" / place / f"{number}.png", np.full((9, 9, 3), 7, np.uint8))
        labels = np.arange(81, dtype=np.uint8).reshape(9, 9) % len(GF2)
        write_png(tmp_path / "test" / "lbl" / f"{number}_gt.png", labels)
    found = examine(tmp_path)
    assert [scene.counts.sum() for scene in found.scenes] == [81, 81]
    assert found.findings == []


def test_masks_in_subfolders_are_found_and_those_of_no_picture_told(tmp_path):
    for name in ("c1", "c2"):
        write_png(tmp_path / "train" / "img" / name / "1.png", np.full((9, 9, 3), 7, np.uint8))
        for number in (1, 2):
            labels = np.arange(81, dtype=np.uint8).reshape(9, 9) % len(GF2)
            write_png(tmp_path / "train" / "lbl" / name / f"{number}.png", labels)
    found = examine(tmp_path)
    assert [scene.counts.sum() for scene in found.scenes] == [81, 81]
    lonely = [finding.where for finding in found.findings if "is a mask without a picture" in finding.problem]
    assert lonely == [tmp_path / "train" / "lbl" / name / "2.png" for name in ("c1", "c2")]


@pytest.mark.parametrize(("values", "told"), [(-12.5, True), (12.5, False), (-12.5j, False)])
def test_radar_in_decibels_is_a_warning_since_configs_have_to_say_so(values, told, tmp_path):
    for number in (1, 2):
        for channel in CHANNELS:
            pixels = np.full((1, 9, 9), values, np.complex64 if isinstance(values, complex) else np.float32)
            write_crop(tmp_path / "train" / "img" / f"{number}_{channel}.tiff", pixels)
        write_png(tmp_path / "train" / "lbl" / f"{number}.png", np.arange(81, dtype=np.uint8).reshape(9, 9) % len(GF3))
    found = examine(tmp_path)
    said = [str(finding) for finding in found.findings if "below 0" in finding.problem]
    line = (
        f'{tmp_path}: 1_HH.tiff and 1 more samples have values below 0, as decibels have: say so in the config: "sar"'
    )
    assert [text.startswith(line) for text in said] == [True] * told
    assert found.ready


def test_pictures_without_a_side_are_seen_beside_a_test_folder(tmp_path):
    for place in ("img", "test/test_A"):
        write_png(tmp_path / place / "1.png", np.full((9, 9, 3), 7, np.uint8))
    write_png(tmp_path / "lbl" / "1_gt.png", np.arange(81, dtype=np.uint8).reshape(9, 9) % len(GF2))
    assert [(scene.use, scene.counts is None) for scene in examine(tmp_path).scenes] == [("test", True), ("", False)]


def test_a_sound_folder_ends_with_its_verdict(county, monkeypatch, capsys):
    code, text = run(monkeypatch, capsys, county, "--quick")
    assert code == 0
    assert "image_2.png: train, 270 x 150 px, 3 x uint8" in text
    assert "verdict: ready" in text.splitlines()[-1]


def test_hours_are_told_of_the_network_that_is_named(folders, monkeypatch, capsys):
    code, text = run(monkeypatch, capsys, folders, "--model", "enet", "--epochs", "3")
    assert code == 0
    assert "training 3 epochs about" in text
    assert "by enet (" in text


def test_labels_are_counted_by_the_legends_values(project):
    path = project / TRAIN / "image_1_label.png"
    counts = examine(project).scenes[0].counts.tolist()
    values = np.arange(256, dtype=np.uint8)
    values[[1, 4]] = (4, 200)
    with rasterio.open(path) as file:
        labels = file.read(1)
    write_png(path, values[labels])
    classes = tuple(replace(c, value=int(values[c.id])) for c in JINGWEI.classes)
    assert examine(project, replace(JINGWEI, classes=classes)).scenes[0].counts.tolist() == counts


def unknown_id(project):
    labels = np.zeros((300, 211), np.uint8)
    labels[:7, :11] = 9
    write_png(project / TRAIN / "image_1_label.png", labels)
    return "image_1_label.png: has ids that legend jingwei does not know: 9 ("


def another_size(project):
    write_png(project / TRAIN / "image_1_label.png", np.zeros((300, 210), np.uint8))
    return "image_1_label.png: 210 x 300 px, but image_1.png is 211 x 300"


def truncated(project):
    path = project / TRAIN / "image_2.png"
    path.write_bytes(path.read_bytes()[:-3000])
    return "image_2.png: broken or truncated at rows"


def no_label(project):
    (project / TRAIN / "image_2_label.png").unlink()
    return "image_2.png: has no label: put it at "


def no_picture(project):
    (project / TEST / "image_3.png").write_bytes(b"a download that failed")
    return "image_3.png: is not a raster that GDAL can read"


def all_transparent(project):
    write_png(project / TRAIN / "image_1.png", np.zeros((300, 211, 4), np.uint8))
    return "image_1.png: has no valid pixel"


def other_bands(project):
    write_png(project / TEST / "image_3.png", np.full((170, 140), 99, np.uint8))
    return "image_3.png: 1 bands of uint8, but image_1.png has 3 of uint8"


def colours_for_ids(project):
    write_png(project / TRAIN / "image_1_label.png", np.zeros((300, 211, 3), np.uint8))
    return "image_1_label.png: has 3 bands: labels need one band of class ids"


def nothing_labelled(project):
    write_png(project / TRAIN / "image_2_label.png", np.full((150, 270), NODATA, np.uint8))
    return "image_2_label.png: labels no valid pixel"


def two_of_one_name(project):
    (project / "other_train").mkdir()
    shutil.copy(project / TRAIN / "image_1.png", project / "other_train")
    return "another image_1 is in"


def a_name_that_no_table_takes(project):
    for end in (".png", "_label.png"):
        os.rename(project / TRAIN / f"image_2{end}", os.fsencode(project / TRAIN) + b"/image_\xb9\xfb" + end.encode())
    return "has a name that is not UTF-8: rename it"


def one_class(project):
    for number, shape in ((1, (300, 211)), (2, (150, 270))):
        write_png(project / TRAIN / f"image_{number}_label.png", np.full(shape, 2, np.uint8))
    shutil.rmtree(project / "truth")
    return "all labels are of one class"


FAULTS = [unknown_id, another_size, truncated, no_label, no_picture, all_transparent, other_bands, colours_for_ids,
          nothing_labelled, two_of_one_name, a_name_that_no_table_takes, one_class]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_contest_folder_is_not_ready(project, fault, monkeypatch, capsys):
    problem = fault(project)
    code, text = run(monkeypatch, capsys, project, "--quick")
    assert code == 1
    assert problem in text.split("problems\n")[1].split("\nwarnings\n")[0]
    assert "verdict: NOT READY: 1 problem to mend first" in text


def half_a_quadruple(folders):
    for channel in ("HH", "HV", "VV"):
        write_png(folders / "train" / "img" / f"7_{channel}.png", np.full((9, 9), 5, np.uint8))
    return "sample 7: 7_VH.png is missing"


def black_and_white(folders):
    write_png(folders / "train" / "lbl" / "1_gt.png", np.full((40, 30), 77, np.uint8))
    return "has values that legend gf2 does not know: 77 (1,200 px)"


def strange_colour(folders):
    write_png(folders / "valid" / "lbl" / "1_gt.png", np.full((40, 30, 3), 17, np.uint8))
    return "has colours that legend gf2 does not know: #111111 (1,200 px)"


def nothing_to_validate_on(folders):
    (folders / "valid" / "img" / "1.png").unlink()
    (folders / "valid" / "lbl" / "1_gt.png").unlink()
    return f"{folders / 'valid' / 'img'}: no samples there"


def two_folders_to_validate_on(folders):
    shutil.copytree(folders / "valid", folders / "val")
    return "val: is a folder for the same as valid beside it, and only one of them is read"


def masks_alone(folders):
    for side in ("train", "valid"):
        shutil.rmtree(folders / side / "img")
    for path in (folders / "train" / "lbl").iterdir():
        path.rename(folders / path.name)
    for side in ("train", "valid"):
        shutil.rmtree(folders / side)
    return f"{folders}: no samples there"


def white_for_255(folders):
    labels = np.zeros((40, 30), np.uint8)
    labels[:9] = 255
    for path in sorted(folders.rglob("*_gt.png")):
        write_png(path, labels)
    return "1_gt.png: this mask and all others have one class and 255, which is no data: where 255 is a class, say so"


@pytest.mark.parametrize(
    "fault",
    [
        half_a_quadruple,
        black_and_white,
        strange_colour,
        nothing_to_validate_on,
        two_folders_to_validate_on,
        masks_alone,
        white_for_255,
    ],
)
def test_broken_samples_are_not_ready(folders, fault):
    problem = fault(folders)
    found = examine(folders)
    (grave,) = [finding for finding in found.findings if finding.grave]
    assert problem in str(grave)
    assert not found.ready


def test_what_may_spoil_a_job_is_a_warning(project, folders):
    labels = np.zeros((300, 211), np.uint8)
    labels[150, 100:105] = 3
    write_png(project / TRAIN / "image_1_label.png", labels)
    write_png(project / TRAIN / "image_2_label.png", np.ones((150, 270), np.uint8))
    write_png(project / TRAIN / "image_77_label.png", np.ones((150, 270), np.uint8))
    shutil.rmtree(project / "truth")
    (folders / "train" / "img" / "2.png").unlink()
    shutil.rmtree(folders / "valid")
    said = [str(finding) for finding in [*examine(project).findings, *examine(folders).findings]]
    for problem in ("no pixel is labelled corn, building", "rare: barley-rice (0.00", "has no scene image_77",
                    "2_gt.png: is a mask without a picture", "has train but no valid"):  # fmt: skip
        assert any(problem in line for line in said), problem
    assert examine(project).ready
    assert examine(folders).ready


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(("alpha", "lost"), [
    ("near infrared", True), ("a mask", False), ("a mask of soft edges", False), ("one value", False),
    ("a few values", False), ("data that is no alpha", False),
])  # fmt: skip
def test_data_in_a_band_that_is_marked_as_alpha_is_a_warning(alpha, lost, dtype, tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 250, (4, 300, 90)).astype(dtype)
    opaque = np.iinfo(dtype).max
    if "mask" in alpha:
        pixels[3] = opaque
        pixels[3, :200] = 0
        if "soft" in alpha:
            pixels[3, 200:240] = rng.integers(0, opaque, (40, 90))
    elif alpha == "one value":
        pixels[3] = 128
    elif alpha == "a few values":
        pixels[3] = 60 * (pixels[3] % 4 + 1)
    path = tmp_path / "train" / "image_1.tif"
    path.parent.mkdir()
    kind = {"height": 300, "width": 90, "count": 4, "dtype": dtype, "photometric": "RGB"}
    kind["alpha"] = "unspecified" if "no alpha" in alpha else "yes"
    with rasterio.open(path, "w", driver="GTiff", **kind) as file:
        file.write(pixels)
    write_png(path.with_name("image_1_label.png"), rng.integers(0, 5, (300, 90), dtype=np.uint8))
    found = [finding for finding in examine(tmp_path).findings if finding.where == path]
    assert len(found) == lost
    for finding in found:
        assert not finding.grave
        assert str(finding).endswith("mark it so: gdal_translate -colorinterp_4 undefined image_1.tif NEW.tif")
        assert "band 4 is marked as alpha, but has 249 values" in str(finding)


@pytest.mark.parametrize(
    ("epsg", "west", "problem"),
    [
        (32651, 0, "is in EPSG:32651, but image_1.tif is in EPSG:32650"),
        (32650, 5, "lies at another place than image_1.tif"),
    ],
)
def test_a_label_at_another_place_is_refused(tmp_path, epsg, west, problem):
    folder = tmp_path / "train"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(1, 9, (20, 20), dtype=np.uint8)
    for name, code, x in (("image_1", 32650, 0), ("image_1_label", epsg, west)):
        kind = {"height": 20, "width": 20, "count": 1, "dtype": "uint8", "crs": f"EPSG:{code}"}
        with rasterio.open(folder / f"{name}.tif", "w", transform=from_origin(x, 0, 1, 1), **kind) as file:
            file.write(pixels % 4, 1)
    found = examine(tmp_path)
    assert any(problem in str(finding) and finding.grave for finding in found.findings)


def test_a_folder_that_is_not_there_or_empty_is_the_users_mistake(tmp_path, monkeypatch, capsys):
    with pytest.raises(InputError, match="no such folder"):
        examine(tmp_path / "nowhere")
    code, text = run(monkeypatch, capsys, tmp_path)
    assert code == 2
    assert text.startswith(f"error: {tmp_path}: no scenes there: put ")


def test_nothing_is_written(folders, monkeypatch, capsys):
    before = sorted(folders.rglob("*"))
    run(monkeypatch, capsys, folders, "--quick")
    assert sorted(folders.rglob("*")) == before


@pytest.mark.parametrize("corner", [0, 900], ids=["inside", "elsewhere"])
def test_areas_hide_no_unknown_value_of_a_mask(tmp_path, corner):
    write_png(tmp_path / "1.png", np.zeros((30, 40, 3), np.uint8))
    write_png(tmp_path / "1_gt.png", np.full((30, 40), 77, np.uint8))
    square = [[corner + x, -y] for x, y in ((5, 5), (9, 5), (9, 9), (5, 9), (5, 5))]
    area = {"type": "Polygon", "coordinates": [square]}
    feature = {"type": "Feature", "properties": {"use": "test"}, "geometry": area}
    (tmp_path / "areas.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    sample = Sample("1", (tmp_path / "1.png",), tmp_path / "1_gt.png")
    files = LabelFiles((sample.label,), rules_of(labelled=tmp_path / "areas.geojson"))
    with pytest.raises(InputError, match="1_gt.png: .*77"):
        look(Entry(sample, "train", files), GF2, of_contest=False)


@pytest.mark.parametrize("flags", [("--model", "deeplabv9"), ("--backbone", "resnet18x"), ("--epochs", "-3")])
def test_a_network_that_is_not_there_is_refused_before_every_pixel_is_read(folders, monkeypatch, capsys, flags):
    """Reading takes hours, and what it had found was lost."""
    monkeypatch.setattr("jingwei.planning.checkup.examine", lambda *args: pytest.fail("was read"))
    code, told = run(monkeypatch, capsys, folders, *flags)
    assert code == 2
    assert told.startswith("error: ")
    assert told.count("\n") == 1


def test_room_is_told_by_the_pixels_where_files_hold_less(project):
    whole = Outlook.of(examine(project)).copies
    image = project / TEST / "image_3.png"
    with rasterio.open(image) as file:
        pixels = file.read()[:3]
    how = {"photometric": "ycbcr", "tiled": True, "blockxsize": 64, "blockysize": 64}
    with rasterio.open(image.with_suffix(".tif"), "w", driver="GTiff", compress="jpeg", height=170, width=140, count=3,
                       dtype="uint8", **how) as file:  # fmt: skip
        file.write(pixels)
    before = image.stat().st_size
    image.unlink()
    assert Outlook.of(examine(project)).copies == whole - before + pixels.size // 2
