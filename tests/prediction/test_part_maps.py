"""Maps of a part of a scene, as files: what they carry, and that no way of making them changes a byte."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch
from toy_scenes import PLAIN, Toy, draw, make_checkpoint, predict_here, ragged, read, write_scene

from jingwei.errors import InputError
from jingwei.legend import JINGWEI, NODATA
from jingwei.prediction import parts
from jingwei.prediction.engines.registry import make_engine
from jingwei.prediction.job import Job
from jingwei.prediction.scene import assemble, predict_bands, predict_scene, prepare
from jingwei.prediction.settings import ENGINES
from jingwei.raster.checked import open_map

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPE = (700, 560)
PART = replace(PLAIN, part=0.2)


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    monkeypatch.setattr(parts, "LEAST", 40)


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path / "scene.tif", draw(*SHAPE), ragged(*SHAPE, margin=200))


def targets(folder):
    return {"probabilities": folder / "probabilities.tif", "confidence": folder / "confidence.tif"}


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.tif")}


@pytest.mark.parametrize("tta", ["none", "flips"])
def test_only_the_windows_of_the_part_go_through_the_network(tmp_path, scene, toy, weights, tta):
    settings = replace(PART, tta=tta)
    predict_here(*weights, scene, tmp_path / "whole.tif", replace(settings, part=None))
    whole, toy.windows = toy.windows, 0
    predict_here(*weights, scene, tmp_path / "part.tif", settings)
    bands = Job(weights[1], scene, tmp_path / "part.tif", settings).bands(SHAPE)
    turns = 4 if tta == "flips" else 1
    assert 0 < toy.windows <= bands.window_count * turns < 0.3 * whole
    labels, expected = read(tmp_path / "part.tif"), read(tmp_path / "whole.tif")
    known = labels != NODATA
    assert (labels[known] == expected[known]).all()
    assert 0.02 < known.mean() < 0.2


def test_a_part_says_so_in_every_file_and_is_opened_as_a_map_by_nobody(tmp_path, scene, toy, weights):
    predict_here(*weights, scene, tmp_path / "map.tif", PART, **targets(tmp_path))
    for name in ("map", "probabilities", "confidence"):
        with rasterio.open(tmp_path / f"{name}.tif") as file:
            assert file.tags()["JINGWEI_PART"] == "0.2"
    with pytest.raises(InputError, match=r"map.tif: is only a part of a map \(20 % of the windows\).*without `part`"):
        open_map(tmp_path / "map.tif", JINGWEI)
    with open_map(tmp_path / "map.tif", JINGWEI, part=True) as labels:
        assert labels.shape == SHAPE
    predict_here(*weights, scene, tmp_path / "whole.tif", PLAIN)
    with rasterio.open(tmp_path / "whole.tif") as file:
        assert "JINGWEI_PART" not in file.tags()


def test_a_part_is_kept_and_another_share_is_made_anew(tmp_path, scene, toy, weights):
    assert predict_here(*weights, scene, tmp_path / "map.tif", PART)
    assert not predict_here(*weights, scene, tmp_path / "map.tif", PART)
    before = read(tmp_path / "map.tif") != NODATA
    assert predict_here(*weights, scene, tmp_path / "map.tif", replace(PART, part=0.5))
    after = read(tmp_path / "map.tif") != NODATA
    assert (after >= before).all()
    assert after.sum() > before.sum()
    assert predict_here(*weights, scene, tmp_path / "map.tif", PLAIN)


@pytest.mark.parametrize("shape", [SHAPE, SHAPE[::-1]], ids=["tall", "wide"])
def test_a_part_that_is_stopped_goes_on_and_ends_with_the_same_bytes(tmp_path, toy, weights, monkeypatch, shape):
    scene = write_scene(tmp_path / "scene.tif", draw(*shape))
    out = tmp_path / "out"
    predict_here(*weights, scene, out / "map.tif", PART, **targets(out))
    expected, windows = bytes_of(out), toy.windows
    for call in (1, 2, windows // 2, windows):
        for path in out.glob("*.tif"):
            path.unlink()
        toy.windows = 0

        def stop(self, pixels, call=call):
            if self.windows == call - 1:
                raise KeyboardInterrupt
            return Toy.forward(self, pixels)

        with monkeypatch.context() as patch:
            patch.setattr(Toy, "__call__", stop)
            with pytest.raises(KeyboardInterrupt):
                predict_here(*weights, scene, out / "map.tif", PART, **targets(out))
        assert not list(out.glob("*.tif"))
        toy.windows = 0
        assert predict_here(*weights, scene, out / "map.tif", PART, **targets(out))
        assert bytes_of(out) == expected
        assert toy.windows <= windows


def test_workers_and_bands_made_in_any_order_change_nothing(tmp_path, scene, toy, weights):
    made = []
    for number, workers in enumerate((1, 4)):
        out = tmp_path / str(number)
        predict_here(*weights, scene, out / "map.tif", PART, **targets(out), workers=workers)
        made.append(bytes_of(out))
    out = tmp_path / "apart"
    job = Job(weights[1], scene, out / "map.tif", PART, device="cpu", **targets(out))
    plan = prepare(job, weights[0])
    for number in reversed(range(len(plan.bands))):
        list(predict_bands(job, plan, range(number, number + 1)))
    assemble(job, plan)
    made.append(bytes_of(out))
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "torch-compiled"])  # which takes a minute
def test_a_part_by_any_engine_is_that_engines_whole_map(tmp_path, name):
    checkpoint = make_checkpoint(tmp_path / "best.pt")
    scene = write_scene(tmp_path / "scene.tif", draw(300, 260))
    engine = make_engine(name, checkpoint, torch.device("cpu"), torch.float32, [draw(64, 64)])
    settings = replace(PLAIN, window=64, overlap=16, engine=name)
    made = {}
    for part in (None, 0.2):
        target = tmp_path / f"{part}.tif"
        job = Job(tmp_path / "best.pt", scene, target, replace(settings, part=part), device="cpu")
        assert predict_scene(job, checkpoint, engine)
        made[part] = read(target)
    known = made[0.2] != NODATA
    assert 0 < known.mean() < 0.3
    np.testing.assert_array_equal(made[0.2][known], made[None][known])


def test_a_small_scene_is_predicted_as_a_whole_and_is_a_part_all_the_same(tmp_path, toy, weights):
    scene = write_scene(tmp_path / "scene.tif", draw(100, 90))
    assert isinstance(toy, Toy)
    predict_here(*weights, scene, tmp_path / "map.tif", PART)
    assert (read(tmp_path / "map.tif") != NODATA).all()
    with pytest.raises(InputError, match="only a part"):
        open_map(tmp_path / "map.tif", JINGWEI)
