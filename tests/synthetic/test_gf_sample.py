"""The GF sample: folders as system B wants them, legends' colours, honest speckle, and no task for colours alone."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from in_process import status_of
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier

from jingwei.cli.sample import sample_gf_command
from jingwei.evaluation.metrics import ConfusionMatrix
from jingwei.inputs.samples import find_samples
from jingwei.legend import GF2, GF3, NODATA
from jingwei.synthetic import radar
from jingwei.synthetic.gf_sample import plan
from jingwei.synthetic.town import town_scene

SMALL = ["--scenes", "5", "--size", "160"]


def make(flags: list[str]) -> int:
    """The exit status of the sample maker."""
    return status_of(sample_gf_command, *flags)


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Path:
    """Five small scenes of each kind to train, two to validate, two to test."""
    root = tmp_path_factory.mktemp("gf")
    assert make(["--data_dir", str(root), *SMALL]) == 0
    return root


def read(path: Path) -> np.ndarray:
    """HW for one band, else CHW."""
    with rasterio.open(path) as file:
        return file.read().squeeze()


def test_files_lie_where_system_b_has_them(samples):
    for kind, suffixes in (("optical", ["{}.tif"]), ("sar", [f"{{}}_{c}.tiff" for c in ("HH", "HV", "VH", "VV")])):
        places = {"train/img": range(1, 6), "valid/img": (6, 7), "test/test_A": (8,), "test/test_B": (9,)}
        expected = {f"{place}/{s.format(n)}" for place, numbers in places.items() for n in numbers for s in suffixes}
        labels = {"train/lbl": range(1, 6), "valid/lbl": (6, 7), "test/lbl": (8, 9)}
        expected |= {f"{place}/{n}_gt.png" for place, numbers in labels.items() for n in numbers}
        folder = samples / kind
        assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == expected


@pytest.mark.parametrize("kind", ["optical", "sar"])
@pytest.mark.parametrize(("part", "count"), [("train/img", 5), ("valid/img", 2), ("test", 2)])
def test_the_library_finds_every_sample_with_its_label(samples, kind, part, count):
    folder = samples / kind / part
    found, broken = find_samples(folder, labels=folder / "lbl" if part == "test" else None)
    assert not broken
    assert len(found) == count
    assert all(sample.label and sample.is_sar == (kind == "sar") for sample in found)


@pytest.mark.parametrize(("kind", "legend"), [("optical", GF2), ("sar", GF3)])
def test_labels_have_exactly_the_colours_of_the_legend_and_every_part_all_of_them(samples, kind, legend):
    known = {land_class.color for land_class in legend.classes}
    for part in ("train", "valid", "test"):
        colors = set()
        for path in (samples / kind / part / "lbl").iterdir():
            picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
            colors |= {tuple(color) for color in np.unique(picture.reshape(-1, 3), axis=0).tolist()}
        assert colors - {(0, 0, 0)} <= known
        if part == "train":
            assert known <= colors


def test_formats_and_sizes(samples):
    for path in (samples / "optical").rglob("*.tif"):
        pixels = read(path)
        assert (pixels.dtype, pixels.shape) == (np.uint8, (3, 160, 160))
    for path in (samples / "sar").rglob("*.tiff"):
        assert read(path).dtype == np.uint16
        label = next((samples / "sar").rglob(f"{path.stem.split('_')[0]}_gt.png"))
        assert cv2.imread(str(label)).shape[:2] == read(path).shape
    shapes = {read(path).shape for path in (samples / "sar" / "test").rglob("*_HH.tiff")}
    assert shapes == {(160, 160), (200, 283)}


def test_sizes_to_test_are_mixed_from_512_to_1500():
    shapes = {(s.height, s.width) for s in plan(24, 512, 0, 3) if s.part.startswith("test")}
    assert len(shapes) == 6
    assert all(512 <= side <= 1500 for shape in shapes for side in shape)
    assert max(max(shape) for shape in shapes) == 1500


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path, samples):
    few = ["--scenes", "1", "--size", "96"]
    for folder, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert make(["--data_dir", str(tmp_path / folder), *few, "--seed", seed]) == 0
    files = {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*") if path.suffix != ".json"}
    assert len(files) == 5 * 2 + 5 * 5
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert (tmp_path / "a" / name).read_bytes() != (tmp_path / "c" / name).read_bytes()


def test_a_smaller_sample_leaves_no_scene_of_a_larger_one(tmp_path):
    for folder, counts in (("a", ("4", "2")), ("b", ("2",))):
        for count in counts:
            assert make(["--data_dir", str(tmp_path / folder), "--scenes", count, "--size", "64"]) == 0
        (tmp_path / folder / "notes.txt").touch()
    one, other = ({p.relative_to(tmp_path / f) for p in (tmp_path / f).rglob("*.*")} for f in ("a", "b"))
    assert one == other


def test_light_changes_from_scene_to_scene():
    brightness = [town_scene(0, number, 96)[0].mean() for number in range(12)]
    assert np.ptp(brightness) > 40


def test_cast_shadows_lie_beside_buildings_on_one_side():
    """Ground next to a building is darker on the side away from the sun: the scene is lit, not painted."""
    pixels, labels = town_scene(0, 1, 384)
    grey, building = pixels.mean(axis=2), labels == 1
    beside = [np.roll(building, shift, axis) & (labels == 2) for axis in (0, 1) for shift in (4, -4)]
    means = [grey[where].mean() for where in beside]
    assert max(means) > 1.1 * min(means)


# ---------------------------------------------------------------------------------------------------------------- radar


@pytest.mark.parametrize("looks", [1, 3, 8])
def test_speckle_has_the_equivalent_looks_asked_for(looks):
    """ENL = mean^2 / variance of an intensity over homogeneous ground; its sampling error here is below 2 %."""
    powers = np.full((300, 300, 3), (0.1, 0.05, 0.2), np.float32)
    intensities = radar.echoes(powers, looks, np.random.default_rng(0))
    equivalent = intensities.mean(axis=(1, 2)) ** 2 / intensities.var(axis=(1, 2))
    np.testing.assert_allclose(equivalent, looks, rtol=0.05)


@pytest.mark.parametrize(("powers", "expected"), [
    ((0.2, 0.0, 0.0), (0.2 * 0.8**2, 0.0, 0.2)),
    ((0.0, 0.3, 0.0), (0.3 * 1.4**2, 0.0, 0.3)),
    ((0.0, 0.0, 0.6), (0.6, 0.2, 0.6)),
    ((0.2, 0.3, 0.6), (0.2 * 0.64 + 0.3 * 1.96 + 0.6, 0.2, 1.1)),
])  # fmt: skip
def test_mean_powers_are_those_of_freeman_and_durden(powers, expected):
    intensities = radar.echoes(np.full((300, 300, 3), powers, np.float32), 2, np.random.default_rng(1))
    hh, hv, vh, vv = intensities.mean(axis=(1, 2)) - radar.NOISE
    np.testing.assert_allclose((hh, hv, vh, vv), (*expected[:2], *expected[1:]), rtol=0.02, atol=2e-5)


def test_hv_and_vh_are_one_echo_with_noise_of_their_own():
    powers = np.full((200, 200, 3), (0.01, 0.0, 0.02), np.float32)
    _, hv, vh, vv = radar.echoes(powers, 1, np.random.default_rng(2))
    assert (hv != vh).mean() > 0.99
    # The correlation of intensities is the square of the echoes' coherence.
    coherence = (0.02 / 3) / (0.02 / 3 + radar.NOISE)
    assert np.corrcoef(hv.ravel(), vh.ravel())[0, 1] == pytest.approx(coherence**2, abs=0.02)
    assert abs(np.corrcoef(hv.ravel(), vv.ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("looks", [1, 4])
def test_speckle_of_a_whole_scene_on_open_water(looks):
    amplitudes, labels = scene_with_water(looks)
    far_from_shore = ndimage.binary_erosion(labels == radar.WATER, iterations=6)
    rows, cols = far_from_shore.nonzero()
    assert len(rows) > 2000
    assert (amplitudes[:, labels != NODATA] > 0).all()  # dark as it is, it is no lack of data
    for channel in (0, 3):
        intensity = amplitudes[channel].astype(np.float64) ** 2
        trend = np.linspace(*np.polyval(np.polyfit(cols, intensity[rows, cols], 1), (0, 319)), 320)
        intensity = (intensity / trend)[rows, cols]  # from near to far range: no speckle
        assert 1 / intensity.var() == pytest.approx(looks, rel=0.12)


def scene_with_water(looks: int) -> tuple[np.ndarray, np.ndarray]:
    """The first scene in which a tenth is water."""
    scenes = (radar.radar_scene(0, number, 256, 320, looks) for number in range(20))
    return next(scene for scene in scenes if (scene[1] == radar.WATER).mean() > 0.1)


def test_zero_is_no_data_and_nothing_else(samples):
    some = 0
    for path in (samples / "sar").rglob("*_HH.tiff"):
        unseen = read(path) == 0
        for channel in ("HV", "VH", "VV"):
            np.testing.assert_array_equal(read(path.with_name(path.name.replace("HH", channel))) == 0, unseen)
        label = cv2.imread(str(next((samples / "sar").rglob(f"{path.stem.removesuffix('_HH')}_gt.png"))))
        np.testing.assert_array_equal((label == 0).all(axis=2), unseen)
        some += unseen.any()
    assert some > 1


def test_built_up_land_bounces_twice_water_hardly_at_all_and_woods_in_hv():
    means = {}
    for number in range(6):
        amplitudes, labels = radar.radar_scene(0, number, 256, 256, 3)
        for kind in np.unique(labels[labels != NODATA]):
            means.setdefault(kind, []).append((amplitudes[:, labels == kind].astype(float) ** 2).mean(axis=1))
    power = {kind: 10 * np.log10(np.mean(values, axis=0)) for kind, values in means.items()}
    hh, hv, vv = (dict(zip(power, (p[band] for p in power.values()), strict=True)) for band in (0, 1, 3))
    assert hh[radar.INDUSTRIAL] > hh[radar.BUILT_UP] > hh[radar.GRASSLAND] > hh[radar.WATER] + 5
    assert hh[radar.INDUSTRIAL] > vv[radar.INDUSTRIAL]
    assert vv[radar.BARE] > hh[radar.BARE]
    assert hv[radar.OTHER] > hv[radar.GRASSLAND] > hv[radar.BARE] > hv[radar.WATER]


# ------------------------------------------------------------------------------------------- is there a task to do


def texture(planes_CHW: np.ndarray) -> np.ndarray:
    """Bands, and their means and deviations over 5 and 15 px."""
    planes = planes_CHW.astype(np.float32)
    features = [planes]
    for size in (5, 15):
        means = np.stack([cv2.blur(plane, (size, size)) for plane in planes])
        squares = np.stack([cv2.blur(plane * plane, (size, size)) for plane in planes])
        features += [means, np.sqrt(np.maximum(squares - means**2, 0))]
    return np.concatenate(features)


def optical_and_labels(number: int) -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = town_scene(0, number, 256)
    return pixels.transpose(2, 0, 1), labels


def radar_and_labels(number: int) -> tuple[np.ndarray, np.ndarray]:
    amplitudes, labels = radar.radar_scene(0, number, 256, 256, 3)
    return 20 * np.log10(np.maximum(amplitudes, 1)), labels


def mean_iou(scene, features, classes: int, train: range, test: range) -> float:
    """Of gradient boosting that sees some pixels' features of the training scenes, on the test scenes."""
    rng = np.random.default_rng(0)
    sides = []
    for numbers in (train, test):
        parts = [(features(planes), labels) for planes, labels in map(scene, numbers)]
        values = np.concatenate([planes[:, labels != NODATA].T for planes, labels in parts])
        labels = np.concatenate([labels[labels != NODATA] for _, labels in parts])
        chosen = rng.choice(len(labels), 12_000, replace=False)
        sides.append((values[chosen], labels[chosen]))
    classifier = HistGradientBoostingClassifier(class_weight="balanced", max_iter=30, random_state=0).fit(*sides[0])
    matrix = ConfusionMatrix(classes)
    matrix.update(sides[1][1], classifier.predict(sides[1][0]).astype(np.uint8))
    return matrix.mean_iou(range(classes))


@pytest.mark.parametrize(("scene", "classes", "highest"), [(optical_and_labels, 9, 0.4), (radar_and_labels, 6, 0.45)])
def test_single_pixels_tell_little_and_their_surroundings_more(scene, classes, highest):
    alone, around = (mean_iou(scene, f, classes, range(20, 30), range(30, 35)) for f in (np.asarray, texture))
    print(f"{scene.__name__}: mIoU by single pixels {alone:.3f}, with texture {around:.3f}")
    assert 0.1 < alone < highest
    assert around > alone + 0.07


# --------------------------------------------------------------------------------------------------------- the command


def test_what_is_there_is_kept_and_what_is_lost_or_changed_is_made_again(tmp_path):
    flags = ["--data_dir", str(tmp_path), "--scenes", "1", "--size", "64"]
    make(flags)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.suffix != ".json"}
    lost = tmp_path / "sar/train/img/1_HV.tiff"
    lost.unlink()
    make(flags)
    again = {path for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert again == {path for path in times if "sar/train" in path.as_posix()}
    make([*flags, "--looks", "1"])
    assert json.loads((tmp_path / "sample.json").read_text())["sar/train/img/1_HV.tiff"]["settings"]["looks"] == 1


@pytest.mark.parametrize("foreign", ["optical/train/img/7.tif", "sar/test/test_A/1_HH.tiff", "sar/valid/lbl/1_gt.png"])
def test_never_among_a_users_own_scenes(tmp_path, foreign, capsys):
    path = tmp_path / foreign
    path.parent.mkdir(parents=True)
    path.write_bytes(b"precious")
    assert make(["--data_dir", str(tmp_path), "--scenes", "1", "--size", "64"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {path}: ")
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize(
    "flags", [["--size", "9"], ["--size", "x"], ["--looks", "0"], ["--scenes", "0"], ["--seed", "-1"], ["--siz", "64"]]
)
def test_bad_flags_get_one_line(tmp_path, flags, capsys):
    assert make(["--data_dir", str(tmp_path), *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
