"""Predicting: streamed windows give the map that a whole scene in memory would, at any size and validity."""

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from jingwei.errors import CheckpointError, OutputError, SettingError
from jingwei.grid import even_starts
from jingwei.legend import JINGWEI, NODATA
from jingwei.models.checkpoints import Checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.prediction import blending, shared_out
from jingwei.prediction.job import Job, runs_of
from jingwei.prediction.scene import assemble, predict_bands, predict_scene, prepare
from jingwei.prediction.settings import PredictSettings
from jingwei.raster import stamps
from jingwei.raster.stamps import read_score
from jingwei.raster.writing import write_submission
from jingwei.system.scheduling import Here, open_cluster

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = len(JINGWEI)
MEAN = 120  # what the networks here subtract, and so what they see where a scene is invalid
PLAIN = PredictSettings(window=128, overlap=32, precision="fp32")
TRANSFORM = from_origin(500000, 4000000, 0.5, 0.5)


class Toy(torch.nn.Module):
    """A network whose answer depends on brightness, on the place in the window, and on the window as a whole."""

    def __init__(self, contrast: float = 6.0):
        super().__init__()
        self.contrast = contrast
        self.windows = 0
        self.batches = []

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.windows += len(pixels)
        self.batches.append(len(pixels))
        height, width = pixels.shape[2:]
        brightness = pixels.mean(1, keepdim=True) / 255
        centres = torch.linspace(0, 1, CLASSES).view(1, -1, 1, 1)
        rows, cols = torch.arange(height).view(1, 1, -1, 1), torch.arange(width).view(1, 1, 1, -1)
        place = torch.sin(rows / 9 + centres * 5) + torch.cos(cols / 13 - centres * 7)  # no symmetry at all
        whole = brightness.mean((2, 3), keepdim=True)
        return -self.contrast * (brightness - centres).abs() + 0.5 * place + 3 * whole * centres


@pytest.fixture
def toy(monkeypatch) -> Toy:
    model = Toy()
    monkeypatch.setattr(Checkpoint, "build", lambda self: model.eval())
    return model


def make_checkpoint(path: Path, bands: int = 3, score: float = 0.5, dtype: str = "uint8") -> Checkpoint:
    """A checkpoint of a small network with random weights, also on disk."""
    torch.manual_seed(0)
    model = build_model(
        ModelSpec("attention_unet", "mobilenetv3_small_050", bands, CLASSES), (MEAN,) * bands, (60,) * bands
    )
    checkpoint = Checkpoint(
        model.spec, dtype, (float(MEAN),) * bands, (60.0,) * bands, JINGWEI, {}, model.state_dict(), {"miou": score}
    )
    save_checkpoint(path, checkpoint)
    return checkpoint


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> tuple[Checkpoint, Path]:
    path = tmp_path_factory.mktemp("weights") / "best.pt"
    return make_checkpoint(path), path


def draw(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth blobs with noise, uint8 CHW."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((3, height // 16 + 2, width // 16 + 2))
    blobs = np.repeat(np.repeat(coarse, 16, 1), 16, 2)[:, :height, :width]
    return (255 * (0.8 * blobs + 0.2 * rng.random((3, height, width)))).astype(np.uint8)


def ragged(height: int, width: int, margin: int) -> np.ndarray:
    """Validity with a wavy diagonal edge, a hole in it, and so whole windows without a valid pixel."""
    rows, cols = np.mgrid[:height, :width]
    valid = rows + cols + 9 * np.sin(rows / 7) > margin
    valid[height // 2 : height // 2 + 20, width // 2 : width // 2 + 30] = False
    return valid


def write_scene(path: Path, pixels: np.ndarray, valid: np.ndarray | None = None, **profile) -> Path:
    bands, height, width = pixels.shape
    how = {
        "driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": pixels.dtype.name,
        "tiled": True, "blockxsize": 64, "blockysize": 64, "crs": "EPSG:32650", "transform": TRANSFORM,
    }  # fmt: skip
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(path, "w", **how | profile) as scene:
            scene.write(pixels)
            if valid is not None:
                scene.write_mask(valid)
    return path


def in_memory(toy: Toy, pixels: np.ndarray, valid: np.ndarray, settings: PredictSettings):
    """The same map with everything in memory: (labels_HW, the winner's lead over the second, as a share)."""
    height, width = valid.shape
    pixels = np.where(valid, pixels, np.uint8(MEAN))
    size, overlap = settings.window, settings.overlap
    total = np.zeros((CLASSES, height, width))
    for row in even_starts(height, size, overlap):
        for col in even_starts(width, size, overlap):
            here = np.s_[row : row + size, col : col + size]
            if valid[here].any():
                total[:, *here] += turned_mean(toy, pixels[:, *here], settings.tta) * bump(*valid[here].shape)
    ranked = np.sort(total, axis=0)
    labels = np.where(valid, total.argmax(0), NODATA).astype(np.uint8)
    return labels, (ranked[-1] - ranked[-2]) / np.maximum(ranked.sum(0), 1e-12)


def turned_mean(toy: Toy, pixels: np.ndarray, tta: str) -> np.ndarray:
    """Mean probabilities over the turns of one window, CHW float64, each undone in the reverse order."""
    turns = {
        "none": [(0, 0)],
        "flips": [(0, 0), (0, 1), (2, 0), (2, 1)],
        "d4": [(k, m) for k in range(4) for m in (0, 1)],
    }
    answers = []
    for quarters, mirrored in turns[tta]:
        view = np.rot90(pixels[:, :, ::-1] if mirrored else pixels, quarters, (1, 2))
        logits = toy(torch.from_numpy(view.copy()[None]).float())
        answer = np.rot90(logits.softmax(1)[0].double().numpy(), -quarters, (1, 2))
        answers.append(answer[:, :, ::-1] if mirrored else answer)
    return np.mean(answers, axis=0)


def bump(height: int, width: int) -> np.ndarray:
    """A squared sine along both axes, 0.001 at least."""
    rows, cols = (np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (height, width))
    return np.maximum(rows[:, None] * cols, 1e-3)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as labels:
        return labels.read(1)


def assert_same_map(labels: np.ndarray, expected: np.ndarray, lead: np.ndarray) -> None:
    """Equal, but for pixels whose two best classes what bands hand down to each other (float16) can't tell apart."""
    close = (lead < 1e-3) & (expected != NODATA)
    assert close.mean() < 0.02
    np.testing.assert_array_equal(np.where(close, 0, labels), np.where(close, 0, expected))


def predict(tmp_path, weights, pixels, valid=None, settings=PLAIN, **how) -> np.ndarray:
    scene = write_scene(tmp_path / "scene.tif", pixels, valid)
    assert predict_here(*weights, scene, tmp_path / "map.tif", settings, **how)
    return read(tmp_path / "map.tif")


def predict_here(checkpoint, path, scene, target, settings=PLAIN, **how) -> bool:
    return predict_scene(Job(path, scene, target, settings, device="cpu", **how), checkpoint)


# ---- against the whole scene in memory ----

SHAPES = [(1, 1), (1, 300), (300, 1), (37, 50), (127, 128), (129, 128), (511, 150), (150, 512), (513, 130), (100, 400)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_size_gives_the_map_of_the_whole_scene(tmp_path, toy, weights, shape):
    pixels = draw(*shape)
    expected = in_memory(toy, pixels, np.ones(shape, bool), PLAIN)
    assert_same_map(predict(tmp_path, weights, pixels), *expected)


@pytest.mark.parametrize("shape", [(330, 200), (200, 330)], ids=["tall", "wide"])
@pytest.mark.parametrize("overlap", [0, 1, 32, 64, 100, 127])
def test_any_overlap_gives_the_map_of_the_whole_scene(tmp_path, toy, weights, overlap, shape):
    if overlap == 127:
        shape = (shape[0] // 2, shape[1] // 2)  # a window for each pixel: a small scene is enough
    pixels, valid = draw(*shape, seed=1), ragged(*shape, margin=90)
    settings = replace(PLAIN, overlap=overlap)
    expected = in_memory(toy, pixels, valid, settings)
    assert_same_map(predict(tmp_path, weights, pixels, valid, settings), *expected)


@pytest.mark.parametrize("tta", ["none", "flips", "d4"])
@pytest.mark.parametrize("shape", [(200, 150), (150, 200), (90, 140)], ids=str)
def test_turns_are_averaged_the_right_way_round(tmp_path, toy, weights, tta, shape):
    pixels, settings = draw(*shape, seed=2), replace(PLAIN, tta=tta)
    expected = in_memory(toy, pixels, np.ones(shape, bool), settings)
    assert_same_map(predict(tmp_path, weights, pixels, settings=settings), *expected)


@pytest.mark.parametrize("shape", [(420, 300), (300, 420)], ids=["tall", "wide"])
@pytest.mark.parametrize("overlap", [32, 80])
def test_empty_windows_never_reach_the_network(tmp_path, toy, weights, shape, overlap):
    pixels, valid = draw(*shape, seed=3), ragged(*shape, margin=380)
    settings = replace(PLAIN, overlap=overlap)
    windows = [(row, col) for row in even_starts(shape[0], 128, overlap) for col in even_starts(shape[1], 128, overlap)]
    filled = sum(valid[row : row + 128, col : col + 128].any() for row, col in windows)
    assert filled < len(windows)
    labels = predict(tmp_path, weights, pixels, valid, settings)
    assert toy.windows == filled
    assert_same_map(labels, *in_memory(toy, pixels, valid, settings))


def test_a_scene_without_a_valid_pixel_is_nodata_and_never_reaches_the_network(tmp_path, toy, weights):
    labels = predict(tmp_path, weights, draw(200, 150), np.zeros((200, 150), bool))
    assert (labels == NODATA).all()
    assert toy.windows == 0


def test_an_island_is_predicted_after_empty_bands(tmp_path, toy, weights):
    valid = np.zeros((600, 150), bool)
    valid[20:30, 10:30] = valid[300:310, 100:140] = valid[599, 0] = True
    pixels = draw(600, 150, seed=4)
    expected = in_memory(toy, pixels, valid, PLAIN)
    assert_same_map(predict(tmp_path, weights, pixels, valid), *expected)


def test_the_batch_size_changes_nothing(tmp_path, toy, weights):
    pixels, valid = draw(300, 400, seed=5), ragged(300, 400, margin=300)
    maps = []
    for batch_size in (1, 2, 3, 50):
        toy.batches.clear()
        (tmp_path / "map.tif").unlink(missing_ok=True)
        maps.append(predict(tmp_path, weights, pixels, valid, batch_size=batch_size))
        assert max(toy.batches) <= batch_size
    for other in maps[1:]:
        np.testing.assert_array_equal(other, maps[0])


def test_the_number_of_workers_changes_nothing(tmp_path, toy, weights):
    pixels = draw(300, 200, seed=6)
    one = predict(tmp_path, weights, pixels, workers=1)
    (tmp_path / "map.tif").unlink()
    np.testing.assert_array_equal(predict(tmp_path, weights, pixels, workers=4), one)


def test_one_window_over_the_whole_scene_is_the_networks_own_answer(tmp_path, weights):
    pixels = draw(90, 110, seed=7)
    labels = predict(tmp_path, weights, pixels)
    with torch.inference_mode():
        logits = weights[0].build()(torch.from_numpy(pixels[None]).float())
    assert (labels == logits[0].argmax(0).numpy()).mean() > 0.999


def test_a_networks_faults_at_the_border_of_its_windows_leave_no_seams(tmp_path, weights, monkeypatch):
    class Rimmed(torch.nn.Module):
        """Right, but surely wrong in a rim of 8 px."""

        def forward(self, pixels):
            logits = torch.zeros(len(pixels), CLASSES, *pixels.shape[2:])
            logits[:, 1] = 4
            logits[:, :, :8] = logits[:, :, -8:] = logits[:, :, :, :8] = logits[:, :, :, -8:] = 0
            logits[:, 2] += 8 * (logits[:, 1] == 0)
            return logits

    monkeypatch.setattr(Checkpoint, "build", lambda self: Rimmed())
    labels = predict(tmp_path, weights, draw(500, 400))
    assert (labels[8:-8, 8:-8] == 1).all()


def test_a_scene_of_one_colour_gets_one_class(tmp_path, weights, monkeypatch):
    class Torn(torch.nn.Module):
        """Two classes all but equal, the same at every pixel."""

        def forward(self, pixels):
            logits = torch.zeros(len(pixels), CLASSES, *pixels.shape[2:])
            logits[:, 3] = 1e-3
            return logits

    monkeypatch.setattr(Checkpoint, "build", lambda self: Torn())
    for number, shape in enumerate([(333, 401), (401, 333)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert (predict(folder, weights, np.full((3, *shape), 90, np.uint8)) == 3).all()


# ---- what the map carries ----


def test_the_map_carries_place_colours_nodata_and_score(tmp_path, toy, weights):
    valid = ragged(200, 150, margin=60)
    labels = predict(tmp_path, weights, draw(200, 150), valid)
    np.testing.assert_array_equal(labels == NODATA, ~valid)
    with rasterio.open(tmp_path / "map.tif") as written:
        assert written.crs.to_epsg() == 32650
        assert written.transform == TRANSFORM
        assert written.nodata == NODATA
        assert written.dtypes == ("uint8",)
        assert written.block_shapes[0] == (256, 256)
        colours = written.colormap(1)
    assert all(colours[c.id][:3] == c.color for c in JINGWEI.classes)
    assert read_score(tmp_path / "map.tif") == 0.5


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_all_types_and_band_counts_are_predicted(tmp_path, dtype):
    pixels = np.concatenate([draw(150, 140), draw(150, 140, seed=1)])[:4].astype(dtype)
    valid = ragged(150, 140, margin=60)
    if dtype == "float32":
        pixels[2, ~valid] = np.nan
        scene = write_scene(tmp_path / "scene.tif", pixels)
    else:
        pixels[:, ~valid] = 7777
        scene = write_scene(tmp_path / "scene.tif", pixels, nodata=7777)
    checkpoint = make_checkpoint(tmp_path / "best.pt", bands=4, dtype=dtype)
    predict_here(checkpoint, tmp_path / "best.pt", scene, tmp_path / "map.tif")
    labels = read(tmp_path / "map.tif")
    np.testing.assert_array_equal(labels == NODATA, ~valid)
    assert labels[valid].max() < CLASSES


def test_pixels_of_another_type_than_the_training_are_refused(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", draw(150, 140).astype(np.uint16))
    for dtype in ("uint8", "float32"):
        checkpoint = make_checkpoint(tmp_path / "best.pt", dtype=dtype)
        with pytest.raises(CheckpointError, match=f"was trained on pixels of {dtype}, but .*scene.tif has uint16"):
            predict_here(checkpoint, tmp_path / "best.pt", scene, tmp_path / "map.tif")
        assert not (tmp_path / "map.tif").exists()
    checkpoint = make_checkpoint(tmp_path / "best.pt", dtype="int16")  # the same numbers, as products come
    predict_here(checkpoint, tmp_path / "best.pt", scene, tmp_path / "map.tif")
    assert (tmp_path / "map.tif").exists()


@pytest.mark.parametrize("kind", ["mask", "nodata", "nan"])
def test_what_lies_under_nodata_does_not_change_the_map(tmp_path, kind):
    valid = ragged(150, 140, margin=60)
    maps = []
    for value in (0, 255):
        pixels = np.where(valid, draw(150, 140).clip(1, 254), np.uint8(value)).astype(np.uint8)
        if kind == "mask":
            scene = write_scene(tmp_path / f"{value}.tif", pixels, valid)
        elif kind == "nodata":
            scene = write_scene(tmp_path / f"{value}.tif", pixels, nodata=value)
        else:
            pixels = np.where(valid | (value == 0), pixels, np.float32("nan"))
            scene = write_scene(tmp_path / f"{value}.tif", pixels, nodata=0)
        target = tmp_path / f"{value}_map.tif"
        checkpoint = make_checkpoint(tmp_path / "best.pt", dtype=pixels.dtype.name)
        predict_here(checkpoint, tmp_path / "best.pt", scene, target)
        maps.append(read(target))
    np.testing.assert_array_equal(maps[0] == NODATA, ~valid)
    np.testing.assert_array_equal(*maps)


def test_a_map_is_made_again_only_when_scene_weights_or_settings_change(tmp_path, toy):
    scene = write_scene(tmp_path / "scene.tif", draw(150, 140))
    path, target = tmp_path / "best.pt", tmp_path / "map.tif"
    checkpoint = make_checkpoint(path)

    def run(settings=PLAIN) -> bool:
        before = target.stat().st_mtime_ns if target.exists() else None
        fresh = predict_here(checkpoint, path, scene, target, settings)
        assert fresh == (target.stat().st_mtime_ns != before)
        return fresh

    assert run()
    assert not run()
    assert predict_here(checkpoint, path, scene, target, batch_size=3, workers=2) is False
    for changed in ({"overlap": 16}, {"window": 96}, {"tta": "flips"}, {"precision": "bf16"}):
        assert run(replace(PLAIN, **changed)), changed
        assert not run(replace(PLAIN, **changed)), changed
    assert run()
    make_checkpoint(path, score=0.7)
    assert run()
    write_scene(scene, draw(150, 140, seed=9))
    os.utime(scene, ns=(1, 1))
    assert run()


# ---- stopped, and gone on with ----


@pytest.fixture
def stopping(toy, monkeypatch):
    """Makes the toy network stop the run, as Ctrl-C does, at its n-th call; from then on it works."""

    def stop_at(call: int) -> None:
        calls = []

        def forward(self, pixels):
            calls.append(1)
            if len(calls) == call:
                raise KeyboardInterrupt
            return Toy.forward(self, pixels)

        monkeypatch.setattr(type(toy), "__call__", forward)

    return stop_at


@pytest.mark.parametrize("shape", [(600, 140), (140, 600)], ids=["tall", "wide"])
@pytest.mark.parametrize("overlap", [0, 32, 100])
def test_a_run_that_is_stopped_goes_on_and_ends_with_the_same_bytes(tmp_path, toy, weights, stopping, shape, overlap):
    scene = write_scene(tmp_path / "scene.tif", draw(*shape), ragged(*shape, margin=60))
    settings = replace(PLAIN, overlap=overlap)
    targets = {"probabilities": tmp_path / "p" / "map.tif"}
    predict_here(*weights, scene, tmp_path / "map.tif", settings, **targets)
    whole = (tmp_path / "map.tif").read_bytes(), targets["probabilities"].read_bytes()
    windows = toy.windows
    for call in (1, 2, windows // 2, windows):
        toy.windows = 0
        stopping(call)
        (tmp_path / "map.tif").unlink()
        with pytest.raises(KeyboardInterrupt):
            predict_here(*weights, scene, tmp_path / "map.tif", settings, **targets)
        assert not (tmp_path / "map.tif").exists()
        before = toy.windows
        assert predict_here(*weights, scene, tmp_path / "map.tif", settings, **targets)
        assert whole == ((tmp_path / "map.tif").read_bytes(), targets["probabilities"].read_bytes())
        if call == windows:  # all bands but the last were done: of those, only what reaches into the last one is needed
            needed = -(-128 // (128 - overlap)) + 2
            assert toy.windows - before <= needed * 2 < windows
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.tif", "p", "scene.tif"]


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(content)


BROKEN = {
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "a flipped bit": _flipped,
    "missing": Path.unlink,
}


@pytest.mark.parametrize("what", ["00001.tif", "00002_probabilities.tif"])
@pytest.mark.parametrize("how", BROKEN)
def test_bands_that_a_power_cut_has_broken_are_made_again(how, what, tmp_path, toy, weights, stopping):
    scene = write_scene(tmp_path / "scene.tif", draw(600, 140))
    targets = {"probabilities": tmp_path / "p" / "map.tif"}
    predict_here(*weights, scene, tmp_path / "map.tif", **targets)
    whole = (tmp_path / "map.tif").read_bytes(), targets["probabilities"].read_bytes()
    (tmp_path / "map.tif").unlink()
    stopping(toy.windows - 1)
    with pytest.raises(KeyboardInterrupt):
        predict_here(*weights, scene, tmp_path / "map.tif", **targets)
    BROKEN[how](tmp_path / ".map.parts" / what)
    assert predict_here(*weights, scene, tmp_path / "map.tif", **targets)
    assert whole == ((tmp_path / "map.tif").read_bytes(), targets["probabilities"].read_bytes())


@pytest.mark.parametrize("stamp", [b"", b"0123", b"\n", b"0123456789abcdef\nno such engine", b"\xff\xfe"])
def test_a_stamp_that_a_power_cut_has_broken_is_made_again(stamp, tmp_path, toy, weights):
    scene = write_scene(tmp_path / "scene.tif", draw(300, 140))
    (tmp_path / ".map.parts").mkdir()
    (tmp_path / ".map.parts" / "stamp").write_bytes(stamp)
    assert predict_here(*weights, scene, tmp_path / "map.tif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.tif", "scene.tif"]


@pytest.mark.parametrize("place", [".map.parts", ".map.parts/00000.tif", ".map.parts/stamp"])
def test_links_where_bands_are_kept_are_not_followed(place, tmp_path, toy, weights):
    scene = write_scene(tmp_path / "scene.tif", draw(300, 140))
    victim = tmp_path / "elsewhere"
    victim.mkdir()
    (victim / "precious").write_text("precious")
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).symlink_to(victim if place == ".map.parts" else victim / "precious")
    assert predict_here(*weights, scene, tmp_path / "map.tif")
    assert [(path.name, path.read_text()) for path in victim.iterdir()] == [("precious", "precious")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "map.tif", "scene.tif"]


@pytest.mark.parametrize("change", ["settings", "weights", "version"])
def test_bands_of_other_settings_are_not_gone_on_with(tmp_path, toy, weights, stopping, change, monkeypatch):
    scene = write_scene(tmp_path / "scene.tif", draw(600, 140))
    path, target, settings = tmp_path / "best.pt", tmp_path / "map.tif", PLAIN
    checkpoint = make_checkpoint(path)
    stopping(8)
    with pytest.raises(KeyboardInterrupt):
        predict_here(checkpoint, path, scene, target)
    parts = tmp_path / ".map.parts"
    assert len(list(parts.glob("*.tif"))) > 1
    toy.contrast = 2.0  # other answers: a band of the run before would show
    if change == "settings":
        settings = replace(PLAIN, tta="flips")
    elif change == "weights":
        make_checkpoint(path, score=0.7)
    else:
        monkeypatch.setattr(stamps, "VERSION", "0.0.0")
    assert predict_here(checkpoint, path, scene, target, settings)
    assert not parts.exists()
    assert_same_map(read(target), *in_memory(toy, draw(600, 140), np.ones((600, 140), bool), settings))


def test_a_second_run_of_the_same_map_says_so_and_stops(tmp_path, toy, weights, monkeypatch):
    scene = write_scene(tmp_path / "scene.tif", draw(300, 140))
    seen = []

    def forward(self, pixels):
        if not seen:
            seen.append(1)
            with pytest.raises(OutputError, match="another run is writing it"):
                predict_here(*weights, scene, tmp_path / "map.tif")
            assert predict_here(*weights, scene, tmp_path / "other.tif")
        return Toy.forward(self, pixels)

    monkeypatch.setattr(Toy, "__call__", forward)
    assert predict_here(*weights, scene, tmp_path / "map.tif")
    assert (read(tmp_path / "map.tif") == read(tmp_path / "other.tif")).all()


@pytest.mark.parametrize("shape", [(500, 140), (140, 500), (90, 100)], ids=str)
@pytest.mark.parametrize("overlap", [0, 40, 100])
def test_bands_that_are_computed_apart_give_the_same_map(tmp_path, toy, weights, shape, overlap):
    scene = write_scene(tmp_path / "scene.tif", draw(*shape), ragged(*shape, margin=60))
    settings = replace(PLAIN, overlap=overlap)
    predict_here(*weights, scene, tmp_path / "map.tif", settings)
    job = Job(weights[1], scene, tmp_path / "apart.tif", settings, device="cpu")
    plan = prepare(job)
    for first, end in reversed(runs_of(plan.missing, longest=2)):
        assert list(predict_bands(job, plan, range(first, end))) == list(range(first, end))
    assemble(job, plan)
    assert (tmp_path / "apart.tif").read_bytes() == (tmp_path / "map.tif").read_bytes()


def test_runs_of_numbers():
    assert runs_of(()) == []
    assert runs_of((1, 2, 3, 7)) == [(1, 4), (7, 8)]
    assert runs_of((0, 1, 2, 3, 4), longest=2) == [(0, 2), (2, 4), (4, 5)]


# ---- on a cluster ----


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("distributed")
    with open_cluster("local", workers=2) as opened:
        yield opened


@pytest.mark.parametrize("killed", [False, True], ids=["calm", "a worker is killed"])
def test_a_cluster_gives_the_bytes_of_one_machine(tmp_path, weights, cluster, killed):
    scenes = [write_scene(tmp_path / f"{n}.tif", draw(*shape), ragged(*shape, margin=60))
              for n, shape in enumerate([(700, 140), (140, 500), (90, 80)])]  # fmt: skip
    jobs = {}
    for folder in ("here", "there"):
        jobs[folder] = [
            Job(weights[1], s, tmp_path / folder / s.name, PLAIN, tmp_path / folder / "p" / s.name, "cpu")
            for s in scenes
        ]
    assert [fresh for _, fresh in shared_out.predict(jobs["here"], Here())] == [True] * 3
    if killed:
        pid = cluster._client.run(os.getpid).popitem()[1]
        first = jobs["there"][0].parts
        killer = threading.Thread(target=lambda: (wait_for(lambda: list(first.glob("*.tif"))), os.kill(pid, 9)))
        killer.start()
    assert {job: fresh for job, fresh in shared_out.predict(jobs["there"], cluster)} == dict.fromkeys(
        jobs["there"], True
    )
    if killed:
        killer.join()
    for here, there in zip(jobs["here"], jobs["there"], strict=True):
        assert here.target.read_bytes() == there.target.read_bytes()
        assert here.probabilities.read_bytes() == there.probabilities.read_bytes()
    maps = sorted(p.name for p in (tmp_path / "there").iterdir() if p.suffix in ("", ".tif"))
    assert maps == ["0.tif", "1.tif", "2.tif", "p"]
    assert [fresh for _, fresh in shared_out.predict(jobs["there"], cluster)] == [False] * 3


def wait_for(condition) -> None:
    while not condition():
        time.sleep(0.002)


def test_a_mistake_in_one_job_of_many_stops_with_its_line(tmp_path, weights, cluster):
    good = write_scene(tmp_path / "good.tif", draw(300, 140))
    bad = write_scene(tmp_path / "bad.tif", np.zeros((5, 70, 70), np.uint8))
    jobs = [Job(weights[1], scene, tmp_path / f"map_{scene.name}", PLAIN, device="cpu") for scene in (good, bad)]
    with pytest.raises(CheckpointError, match="was trained on 3 bands, but bad.tif has 5"):
        list(shared_out.predict(jobs, cluster))
    assert not (tmp_path / "map_bad.tif").exists()


# ---- probabilities ----


@pytest.mark.parametrize("shape", [(300, 140), (140, 300), (70, 60)], ids=str)
def test_probabilities_are_those_of_the_whole_scene_in_eight_bits(tmp_path, toy, weights, shape):
    pixels, valid = draw(*shape), ragged(*shape, margin=60)
    target = tmp_path / "probabilities" / "map.tif"
    labels = predict(tmp_path, weights, pixels, valid, probabilities=target)
    with rasterio.open(target) as raster:
        assert (raster.count, raster.dtypes[0], raster.nodata) == (CLASSES, "uint8", 0)
        shares = raster.read()
        assert raster.crs.to_epsg() == 32650
    assert (shares[:, ~valid] == 0).all()
    assert (shares[:, valid].max(0) > 0).all()
    total = np.zeros((CLASSES, *shape))
    weight = np.zeros(shape)
    for row in even_starts(shape[0], 128, 32):
        for col in even_starts(shape[1], 128, 32):
            here = np.s_[row : row + 128, col : col + 128]
            if valid[here].any():
                seen = np.where(valid[here], pixels[:, *here], np.uint8(MEAN))
                total[:, *here] += turned_mean(toy, seen, "none") * bump(*valid[here].shape)
                weight[here] += bump(*valid[here].shape)
    expected = 255 * total / np.maximum(weight, 1e-9)
    assert np.abs(shares.astype(float) - expected)[:, valid].max() <= 0.5 + 255e-3
    ranked = np.sort(shares, axis=0)
    clear = valid & (ranked[-1] - ranked[-2] > 1)
    np.testing.assert_array_equal(shares.argmax(0)[clear], labels[clear])


def test_a_probability_of_one_is_255(tmp_path, weights, monkeypatch):
    class Sure(torch.nn.Module):
        def forward(self, pixels):
            logits = torch.zeros(len(pixels), CLASSES, *pixels.shape[2:])
            logits[:, 3] = 1e4
            return logits

    monkeypatch.setattr(Checkpoint, "build", lambda self: Sure())
    predict(tmp_path, weights, draw(300, 200), probabilities=tmp_path / "p.tif")
    with rasterio.open(tmp_path / "p.tif") as raster:
        shares = raster.read()
    assert (shares[3] == 255).all()
    assert (np.delete(shares, 3, axis=0) == 0).all()


def test_a_map_is_made_again_where_its_probabilities_are_missing(tmp_path, toy, weights):
    scene = write_scene(tmp_path / "scene.tif", draw(150, 140))
    assert predict_here(*weights, scene, tmp_path / "map.tif")
    assert predict_here(*weights, scene, tmp_path / "map.tif", probabilities=tmp_path / "p.tif")
    assert not predict_here(*weights, scene, tmp_path / "map.tif", probabilities=tmp_path / "p.tif")
    assert not predict_here(*weights, scene, tmp_path / "map.tif")


# ---- refused ----


@pytest.mark.parametrize("bands", [1, 5])
def test_a_scene_of_other_bands_is_refused(tmp_path, weights, bands):
    scene = write_scene(tmp_path / "scene.tif", np.zeros((bands, 70, 70), np.uint8))
    with pytest.raises(CheckpointError, match=f"best.pt: was trained on 3 bands, but scene.tif has {bands}"):
        predict_here(*weights, scene, tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()


@pytest.mark.parametrize(
    "changes", [{"window": 16}, {"overlap": 128}, {"overlap": -1}, {"tta": "some"}, {"precision": "fp16"}], ids=str
)
def test_settings_that_make_no_sense_are_refused(tmp_path, weights, changes):
    scene = write_scene(tmp_path / "scene.tif", draw(70, 70))
    with pytest.raises(SettingError, match=f"`{next(iter(changes))}`|`window`"):
        predict_here(*weights, scene, tmp_path / "map.tif", replace(PLAIN, **changes))
    assert not (tmp_path / "map.tif").exists()


# ---- the contest's PNG ----


@pytest.mark.parametrize("shape", [(1, 1), (255, 300), (256, 3), (257, 511), (600, 513)], ids=str)
def test_the_submission_has_the_maps_size_and_zero_for_nodata(tmp_path, shape):
    labels = np.random.default_rng(0).choice(np.array([0, 1, 2, 3, 4, NODATA], np.uint8), shape)
    labels[0, 0] = NODATA
    write_scene(tmp_path / "map.tif", labels[None], nodata=NODATA)
    write_submission(tmp_path / "map.tif", tmp_path / "submit" / "image_3_predict.png")
    with rasterio.open(tmp_path / "submit" / "image_3_predict.png") as png:
        assert (png.count, png.dtypes, png.nodata) == (1, ("uint8",), None)
        np.testing.assert_array_equal(png.read(1), np.where(labels == NODATA, 0, labels))


def test_the_bump_is_symmetric_and_never_zero():
    weight = blending.bump_of(128, 64).numpy()
    np.testing.assert_allclose(weight, bump(128, 64), rtol=1e-5)
    np.testing.assert_allclose(weight, weight[::-1, ::-1], rtol=1e-4)
    assert weight.min() > 0
