"""What a data folder will take on this machine: memory and disk by its sizes, hours by a network that is timed."""

import time
from dataclasses import dataclass

import numpy as np

from jingwei.planning import estimates
from jingwei.planning.checkup import Checkup
from jingwei.planning.estimates import Size
from jingwei.system.machine import cores, own_memory

WINDOW, OVERLAP, CROP = 1024, 256, 1024  # as predict.py and generate_train_data.py take them by default
TIMED_SIDE = 256  # px of the window that a network is timed on
LOOKS_PER_STEP = 3  # a training step goes forward once, and backward, which takes twice as long
MAP_PX_PER_BYTE = 20  # of a label map, deflated


@dataclass(frozen=True)
class Outlook:
    """Bytes of memory and of disk; a map's bytes are those of one prediction of all scenes."""

    cut_memory: int
    predict_memory: int
    copies: int
    maps: int

    @classmethod
    def of(cls, checkup: Checkup) -> "Outlook":
        """What the scenes of a folder will take."""
        sizes = [Size(s.height, s.width, s.bands, np.dtype(s.dtype).itemsize) for s in checkup.scenes]
        classes, own = len(checkup.legend), own_memory()
        return cls(
            own + max(estimates.cut_memory(size, CROP, cores()) for size in sizes),
            own + max(estimates.predict_memory(size, WINDOW, OVERLAP, classes) for size in sizes),
            sum(_lossless(scene, size) for scene, size in zip(checkup.scenes, sizes, strict=True)),
            sum(size.px for size in sizes) // MAP_PX_PER_BYTE,
        )


def _lossless(scene, size: Size) -> int:
    """Bytes that a scene's pixels take when they are stored as they are; about half of them where no file tells."""
    return size.px * size.px_bytes // 2 if scene.stored_less else scene.stored


@dataclass(frozen=True)
class Hours:
    """What a network takes: pixels that it sees per second, forward, and seconds to train it and to predict by it."""

    px_per_second: float
    training: float
    predicting: float

    @classmethod
    def of(cls, checkup: Checkup, model: str, backbone: str, epochs: int) -> "Hours":
        """Times a network of random weights on the device that is there, and scales up to the folder's scenes."""
        rate = _px_per_second(model, backbone, checkup.scenes[0].bands, len(checkup.legend))
        learned = [s for s in checkup.scenes if s.counts is not None and s.use in ("train", "")]
        labelled = sum(int(scene.counts.sum()) for scene in learned if scene.counts is not None)
        seen = sum(scene.valid for scene in checkup.scenes if scene.use in ("test", ""))
        windows = (WINDOW / (WINDOW - OVERLAP)) ** 2 * seen
        return cls(rate, LOOKS_PER_STEP * epochs * labelled / rate, windows / rate)


def _px_per_second(model: str, backbone: str, bands: int, classes: int) -> float:
    import torch  # here, because nothing else needs it

    from jingwei.models.devices import autocast, find_device, find_precision
    from jingwei.models.segmenter import build_model
    from jingwei.models.spec import ModelSpec

    device = find_device("auto")
    spec = ModelSpec(model, backbone, bands, classes)
    network = build_model(spec, (0.0,) * bands, (1.0,) * bands).eval().to(device, memory_format=torch.channels_last)
    pixels = torch.rand(1, bands, TIMED_SIDE, TIMED_SIDE, device=device).to(memory_format=torch.channels_last)
    seconds = []
    with torch.inference_mode(), autocast(device, find_precision("auto", device)):
        for _ in range(4):
            begun = time.perf_counter()
            float(network(pixels).float().mean())  # waits for a GPU too
            seconds.append(time.perf_counter() - begun)
    return TIMED_SIDE**2 / min(seconds[1:])
