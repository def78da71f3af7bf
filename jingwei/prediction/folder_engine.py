"""One engine for all samples of a folder, chosen by looking at some of them."""

from collections.abc import Iterator
from dataclasses import asdict

from jingwei.errors import InputError
from jingwei.models.checkpoints import Checkpoint
from jingwei.models.devices import find_device, find_precision
from jingwei.prediction.engines.base import Engine
from jingwei.prediction.engines.choosing import (
    CALIBRATION,
    SIDE,
    Trial,
    choose_engine,
    is_label,
    read_label,
    trial_windows,
)
from jingwei.prediction.engines.registry import make_engine
from jingwei.prediction.fitting import open_fitting
from jingwei.prediction.folder_items import Inference, Item, prepared_raster
from jingwei.raster.stamps import stamp
from jingwei.system.atomic import whole_or_nothing
from jingwei.system.own_files import kept_lines
from jingwei.system.progress import Progress

LOOKED_AT = 6  # samples that engines are measured on


def engine_for(order: Inference, checkpoint: Checkpoint, items: list[Item]) -> Engine:
    """One engine for all samples; a run that goes on takes the one that it began with."""
    device = find_device(order.device)
    precision = find_precision(order.settings.precision, device)
    kept = order.work / "engine"
    mark = stamp(order.weights, **asdict(order.settings), device=device.type)

    def look(items: list[Item], count: int) -> Iterator[Trial]:
        """A window of each of `count` samples, spread over all."""
        for item in items[:: -(-len(items) // count)]:
            try:
                with open_fitting(prepared_raster(order, checkpoint, item), checkpoint) as image:
                    yield from trial_windows(image, min(SIDE, item.settings.window), checkpoint.mean, 1)
            except InputError:  # said when its turn comes
                continue

    calibration = (pixels for pixels, _ in look(items, CALIBRATION))
    lines = kept_lines(kept, 2)
    if lines is not None and lines[0] == mark and is_label(lines[1]):
        name, precision = read_label(lines[1])
        return make_engine(name, checkpoint, device, precision, calibration)
    # Made ready for each shape of windows, it has to pay for itself with those of one: the commonest, which is first.
    usual = [item for item in items if item.window_shape == items[0].window_shape]
    megapixels = sum(item.window_px for item in usual) / 1e6
    how = {"calibration": calibration, "say": Progress.write}
    name, measured = order.settings.engine, lambda: list(look(usual, LOOKED_AT))
    choice = choose_engine(name, checkpoint, device, precision, measured, megapixels, **how)
    with whole_or_nothing(kept) as part:
        part.write_text(f"{mark}\n{choice.engine.label}", encoding="utf-8")
    return choice.engine
