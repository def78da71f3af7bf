"""One engine for a folder of samples: made once, ready for few sizes, and kept by a run that goes on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from nearest import SMALL, Nearest, fields, picture, run, write_optical, write_radar

from jingwei.legend import GF2, GF3, Legend
from jingwei.models.checkpoints import Checkpoint, load_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.prediction import folder_engine, settings
from jingwei.prediction import scene as prediction
from jingwei.prediction.engines import base
from jingwei.prediction.engines.base import ExportedEngine
from jingwei.prediction.engines.eager import TorchEngine
from jingwei.prediction.engines.registry import ENGINES
from jingwei.prediction.folder import infer
from jingwei.prediction.folder_items import Inference
from jingwei.prediction.job import Job
from jingwei.prediction.scene import predict_scene

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


def test_the_network_is_loaded_once_for_all_samples(tmp_path, optical, folder, monkeypatch):
    built = []
    build = TorchEngine._build
    monkeypatch.setattr(TorchEngine, "_build", lambda self, *how: (built.append(1), build(self, *how)))
    monkeypatch.setattr(prediction, "choose_engine", None)
    assert run(folder, tmp_path / "out", optical[0], replace(SMALL, engine="auto")).written == 5
    assert built == [1]


def test_samples_of_one_size_go_together_the_commonest_first(tmp_path, optical):
    weights, network = optical
    for number, shape in enumerate([(40, 40), (100, 70), (41, 60), (97, 80), (300, 40), (100, 90), (33, 60)]):
        write_optical(tmp_path / "in" / f"{number}.tif", fields(*shape, len(GF2)))
    run(tmp_path / "in", tmp_path / "out", weights)
    assert network.shapes[:3] == [(40, 40), (41, 60), (33, 60)]  # all are 64 x 64 to an engine
    assert network.shapes[3:6] == [(100, 70), (97, 80), (100, 90)]


@pytest.fixture
def counting(monkeypatch):
    """An engine that notes the shapes that it is made ready for, and their number that it holds: [shapes, most]."""
    noted = [[], 0]

    class Counting(ExportedEngine):
        name = "counting"

        def _convert(self, network, bands, precision, calibration):
            self.network = network

        def _prepare(self, height, width):
            noted[0].append((height, width))
            noted[1] = max(noted[1], len(self._ready))

            def answer(window):
                assert window.shape[2:] == (height, width)
                with torch.no_grad():
                    return self.network(torch.from_numpy(window)).numpy()

            return answer

    monkeypatch.setitem(ENGINES, "counting", Counting)
    monkeypatch.setattr(settings, "ENGINES", (*settings.ENGINES, "counting"))
    return noted


def test_samples_of_many_sizes_make_an_engine_ready_for_few(tmp_path, optical, counting):
    weights, network = optical
    shapes = [(s, t) for s in (97, 110, 128) for t in (33, 50, 64)] + [(200, 300), (129, 140), (300, 160)]
    for number, shape in enumerate(shapes):
        write_optical(tmp_path / "in" / f"{number}.tif", fields(*shape, len(GF2)))
    run(tmp_path / "in", tmp_path / "out", weights, replace(SMALL, engine="counting"), ids=True)
    assert counting[0] == [(128, 64), (128, 128)]
    for number, shape in enumerate(shapes):
        np.testing.assert_array_equal(picture(tmp_path / "out" / f"{number}_label.png"), fields(*shape, len(GF2)))
    counting[0].clear()
    for number, side in enumerate(range(40, 700, 32)):
        write_optical(tmp_path / "many" / f"{number}.tif", fields(side, 20, len(GF2)))
    settings = replace(SMALL, engine="counting", mode="single")
    run(tmp_path / "many", tmp_path / "out_many", weights, settings)
    assert len(counting[0]) == len(set(counting[0])) == 21
    assert counting[1] <= base.KEPT


def test_padded_windows_get_the_networks_own_answer(counting):
    torch.manual_seed(0)
    mean = (91.3, 17.7, 203.1)
    model = build_model(ModelSpec("unet_resnet", "resnet18", 3, 4), mean, (50.0, 3.3, 71.0))
    four = Legend("four", GF2.classes[:4])
    checkpoint = Checkpoint(model.spec, "uint8", mean, (50.0, 3.3, 71.0), four, {}, model.state_dict())
    engine = ENGINES["counting"](checkpoint, torch.device("cpu"), torch.float32)
    for shape in [(40, 70), (1, 33), (64, 64)]:
        pixels = np.random.default_rng(0).integers(0, 255, (2, 3, *shape)).astype(np.uint8)
        with torch.no_grad():
            expected = checkpoint.build()(torch.from_numpy(pixels).float()).softmax(1)
        np.testing.assert_allclose(engine(pixels).numpy(), expected.numpy(), atol=1e-4)


def test_a_run_that_goes_on_keeps_its_engine(tmp_path, optical, folder, counting, monkeypatch):
    weights, network = optical
    asked = []

    def choose(name, checkpoint, device, precision, look, megapixels, **how):
        asked.append((name, megapixels, [pixels.shape for pixels, _ in look()]))
        return folder_engine.make_engine("counting", checkpoint, device, precision), None

    class Choice:
        def __init__(self, engine):
            self.engine = engine

    monkeypatch.setattr(folder_engine, "choose_engine", lambda *given, **how: Choice(choose(*given, **how)[0]))
    calls = []

    def stopping(self, pixels):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return Nearest.forward(self, pixels)

    order = Inference(folder, tmp_path / "out", weights, replace(SMALL, engine="auto"), device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr(Nearest, "__call__", stopping)
        with pytest.raises(KeyboardInterrupt):
            infer(order)
    counting[0].clear()
    infer(order)
    # One shape's windows have to pay: four of 128 x 128 in each large sample with one in each small one.
    ((name, megapixels, shapes),) = asked
    assert (name, len(shapes)) == ("auto", 4)
    assert megapixels == pytest.approx(2 * 6 * 128 * 128 / 1e6 + 2 * 128 * 128 / 1e6)
    assert counting[0]


def test_a_sample_that_another_engine_has_begun_is_ended_by_it(tmp_path, optical, counting, monkeypatch):
    weights, network = optical
    scene = write_optical(tmp_path / "1.tif", fields(500, 100, len(GF2)))
    job = Job(weights, scene, tmp_path / "map.tif", SMALL.of((500, 100)), device="cpu")
    calls = []

    def stopping(self, pixels):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return Nearest.forward(self, pixels)

    checkpoint = load_checkpoint(weights)
    with monkeypatch.context() as patch:
        patch.setattr(Nearest, "__call__", stopping)
        with pytest.raises(KeyboardInterrupt):
            predict_scene(job, checkpoint)
    other = ENGINES["counting"](checkpoint, torch.device("cpu"), torch.float32)
    assert predict_scene(job, checkpoint, other)
    assert counting[0] == []


def test_what_lies_between_is_gone_with_its_sample(tmp_path, radar, monkeypatch):
    for name in range(8):
        write_radar(tmp_path / "in", str(name), fields(30, 40, len(GF3), name))
    most = {"maps": 0, "scenes": 0}

    def forward(self, pixels):
        for kind in most:
            found = len(list((tmp_path / "out" / ".inference" / kind).glob("*.tif")))
            most[kind] = max(most[kind], found)
        return Nearest.forward(self, pixels)

    monkeypatch.setattr(Nearest, "__call__", forward)
    assert run(tmp_path / "in", tmp_path / "out", radar[0]).written == 8
    assert most["maps"] == 0
    assert 1 <= most["scenes"] <= 3  # the one in work, and those prepared ahead
