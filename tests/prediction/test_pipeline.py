"""The pipeline of prediction with a device that answers late, with several readers, and at the end of memory."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from jingwei.errors import SettingError
from jingwei.grid import Window
from jingwei.legend import NODATA
from jingwei.prediction import blending
from jingwei.prediction.bands import Bands
from jingwei.prediction.engines.fitting_batches import FittingBatches
from jingwei.prediction.engines.transfers import as_carried, as_float
from jingwei.prediction.pipeline import predicted_bands
from jingwei.raster.reading import Raster
from jingwei.raster.shared import SharedRaster
from jingwei.raster.writing import TiledWriter

pytestmark = pytest.mark.usefixtures("one_thread")
CLASSES, SIZE, OVERLAP = 4, 64, 20
KINDS = ("labels", "probabilities", "confidence")


class Late:
    """A network on a device that holds its answers back, as a GPU does, and knows how many batches are under way."""

    device = torch.device("cpu")

    def __init__(self, in_flight: int, delay: float = 0.0):
        self.in_flight, self.delay = in_flight, delay
        self.begun = self.most_under_way = 0
        self.waited_for: set[int] = set()

    def __call__(self, pixels_BCHW: np.ndarray) -> torch.Tensor:
        self.begun += 1
        self.most_under_way = max(self.most_under_way, self.begun - len(self.waited_for))
        values = torch.from_numpy(pixels_BCHW).float().mean(1, keepdim=True) / 255
        rows = torch.arange(values.shape[2]).view(1, 1, -1, 1) / 40
        centres = torch.linspace(0, 1, CLASSES).view(1, -1, 1, 1)
        return (torch.cos(rows * (1 + centres)) - 6 * (values - centres).abs()).softmax(1)

    def fetch(self, values: torch.Tensor) -> Callable[[], np.ndarray]:
        batch = self.begun

        def wait() -> np.ndarray:
            time.sleep(self.delay)
            self.waited_for.add(batch)
            return values.numpy()  # as they are now: whoever went on to change them would show

        return wait


def scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(height)
    valid = np.add.outer(np.arange(height), np.arange(width)) > 90
    valid[height // 2 :, width // 2 : width // 2 + 30] = False
    return rng.integers(0, 256, (3, height, width), np.uint8), valid


def predicted(network, pixels, valid, **how) -> dict[str, np.ndarray]:
    """All bands put together, by kind."""

    def read(window: Window) -> tuple[np.ndarray, np.ndarray]:
        if how.get("readers", 1) > 1:  # the first to begin is the last to end
            time.sleep(0.002 * (window.col % 3))
        return pixels[:, *window.slices], valid[window.slices]

    bands = Bands.of(valid.shape, SIZE, OVERLAP)
    whole = {kind: np.full((CLASSES, *valid.shape) if kind == "probabilities" else valid.shape, 7, np.uint8)
             for kind in KINDS}  # fmt: skip
    numbers = []
    for band in predicted_bands(
        read, bands, range(len(bands)), network, CLASSES, np.full(3, 100.0), kinds=KINDS, temperature=1.3, **how
    ):
        numbers.append(band.number)
        for kind, values in band.values.items():
            whole[kind][..., *bands.window(band.number).slices] = values
    assert numbers == list(range(len(bands)))
    return whole


@pytest.mark.parametrize("shape", [(300, 170), (170, 300), (40, 50)], ids=str)
@pytest.mark.parametrize("how", [{"batch_size": 1}, {"batch_size": 2}, {"batch_size": 3, "readers": 3}], ids=str)
def test_answers_that_come_late_are_those_of_a_device_that_is_waited_for(shape, how):
    pixels, valid = scene(*shape)
    expected = predicted(Late(0), pixels, valid)
    found = predicted(Late(2, delay=0.001), pixels, valid, **how)
    for kind in KINDS:
        np.testing.assert_array_equal(found[kind], expected[kind])
    assert (found["labels"][~valid] == NODATA).all()
    assert (found["labels"][valid] < CLASSES).all()


def test_as_many_batches_are_under_way_as_the_engine_says():
    pixels, valid = scene(300, 170)
    for in_flight in (0, 1, 2, 5):
        network = Late(in_flight)
        predicted(network, pixels, np.ones_like(valid), batch_size=2)
        assert network.most_under_way == in_flight + 1
        assert len(network.waited_for) == network.begun


def test_windows_are_read_while_the_network_is_at_work():
    pixels, valid = scene(300, 170)
    reading, network = [], Late(0)
    bands = Bands.of(valid.shape, SIZE, OVERLAP)

    def read(window: Window) -> tuple[np.ndarray, np.ndarray]:
        reading.append(threading.current_thread().name)
        return pixels[:, *window.slices], valid[window.slices]

    running = predicted_bands(read, bands, range(len(bands)), network, CLASSES, np.zeros(3), readers=2)
    next(running)
    time.sleep(0.1)
    ahead = len(reading) - network.begun
    assert 2 <= ahead <= 6  # not the whole scene either
    assert threading.current_thread().name not in reading
    running.close()


def test_what_reading_raises_comes_through():
    def read(window: Window) -> tuple[np.ndarray, np.ndarray]:
        raise ValueError("a broken file")

    bands = Bands.of((300, 170), SIZE, OVERLAP)
    with pytest.raises(ValueError, match="a broken file"):
        list(predicted_bands(read, bands, range(len(bands)), Late(2), CLASSES, np.zeros(3), readers=2))


# ---- memory ----


class Small:
    """A network on a device with room for so many windows at a time."""

    def __init__(self, room: int, error: Exception):
        self.room, self.error, self.given = room, error, []

    def __call__(self, pixels_BCHW: np.ndarray) -> torch.Tensor:
        self.given.append(len(pixels_BCHW))
        if len(pixels_BCHW) > self.room:
            raise self.error
        return torch.from_numpy(pixels_BCHW) + 1


ENDS = [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]


@pytest.mark.parametrize("error", ENDS, ids=["gpu", "cpu"])
def test_batches_are_halved_where_memory_ends_and_stay_so(error):
    network = Small(3, error)
    run = FittingBatches(network, SIZE)
    pixels = np.arange(8 * 6, dtype=np.float32).reshape(8, 1, 2, 3)
    for given in ([8, 4, 2, 2, 2, 2], [2, 2, 2, 2]):
        network.given.clear()
        np.testing.assert_array_equal(run(pixels).numpy(), pixels + 1)
        assert network.given == given
    network.given.clear()
    np.testing.assert_array_equal(run(pixels[:5]).numpy(), pixels[:5] + 1)
    assert network.given == [2, 2, 1]


@pytest.mark.parametrize("error", ENDS, ids=["gpu", "cpu"])
def test_a_window_that_does_not_fit_is_a_line_and_other_errors_stay(error):
    with pytest.raises(SettingError, match=r"`window` 64: a single window of that size does not fit in memory: take"):
        FittingBatches(Small(0, error), SIZE)(np.zeros((5, 1, 2, 2), np.float32))
    with pytest.raises(RuntimeError, match="shapes"):
        FittingBatches(Small(0, RuntimeError("shapes do not match")), SIZE)(np.zeros((5, 1, 2, 2), np.float32))


def test_a_gpu_keeps_what_bands_hand_down_while_it_has_room(monkeypatch):
    gpu = torch.device("cuda")
    size = (5, 256, 40_000)  # 102 MB at two bytes
    for free, place in ((500_000_000, "cuda"), (400_000_000, "cpu")):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10**10))
        assert blending._with_room(gpu, size).type == place
    assert blending._with_room(torch.device("cpu"), size).type == "cpu"


# ---- in and out ----


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_pixels_arrive_with_their_own_values(dtype):
    info = np.finfo(dtype) if dtype == "float32" else np.iinfo(dtype)
    pixels = np.array([[0, 1, 255, info.max, info.min, info.max // 2, info.max // 2 + 1]]).astype(dtype)[:, ::-1]
    carried = torch.from_numpy(as_carried(pixels))
    assert carried.dtype != torch.uint16
    np.testing.assert_array_equal(as_float(carried, pixels.dtype).numpy(), pixels.astype(np.float32))


def test_a_raster_is_read_by_many_threads_at_once(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (700, 500), np.uint8)
    with TiledWriter(tmp_path / "scene.tif", 700, 500) as writer:
        writer.write(Window(0, 0, 700, 500), values)
    wrong = []
    with SharedRaster(lambda: Raster(tmp_path / "scene.tif"), 3) as shared:

        def read(seed: int) -> None:
            rng = np.random.default_rng(seed)
            for _ in range(40):
                window = Window(int(rng.integers(600)), int(rng.integers(400)), 100, 100)
                if not (shared.read(window)[0][0] == values[window.slices]).all():
                    wrong.append(window)

        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
