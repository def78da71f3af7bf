"""System B's predictions: every sample of a folder as a picture in the legend's colours, with an annotation.

    INPUT/7.tif                       OUTPUT/7_gt.png, 7.xml, and where wanted
                                      7_label.png (class ids), confidence/7_gt.tif
    INPUT/test_A/1_HH.tiff, _HV ...   OUTPUT/test_A/1_gt.png, 1.xml

Of samples with a georeference, 7_gt.pgw and 7_gt.png.aux.xml say where the picture lies.

The picture is a sample's last file and carries a stamp of inputs and settings, in a text chunk of the PNG: so what is
finished is known, and not done again. What is not finished lies in OUTPUT/.inference/, which is gone at the end.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from jingwei.errors import InputError, JingweiError
from jingwei.grid import strips
from jingwei.legend import NODATA, Legend
from jingwei.models.checkpoints import Checkpoint, load_checkpoint
from jingwei.prediction.fitting import note_on_bands
from jingwei.prediction.folder_engine import engine_for
from jingwei.prediction.folder_items import (
    Inference,
    Item,
    check_free,
    find_items,
    is_done,
    prepared_raster,
)
from jingwei.prediction.job import Job
from jingwei.prediction.scene import predict_scene
from jingwei.raster.georeference import Georeference
from jingwei.raster.png import PngWriter
from jingwei.raster.reading import open_labels
from jingwei.raster.sidecars import write_sidecars
from jingwei.raster.stamps import STAMP, is_stamped
from jingwei.raster.styles import write_percent_style
from jingwei.raster.tiles import TILE
from jingwei.system.atomic import make_own_folder, only_run, remove, whole_or_nothing
from jingwei.system.prefetch import ahead
from jingwei.system.progress import Progress

NODATA_COLOR = (0, 0, 0)


@dataclass
class Outcome:
    """How many samples were predicted, of which classes, how many were up to date, and why others could not be."""

    legend: Legend
    written: int = 0
    kept: int = 0
    broken: list[JingweiError] = field(default_factory=list)


def find_newest_checkpoint(folder: Path) -> Path:
    """The `best.pth` under a folder of training runs that was written last. InputError where there is none."""
    found = sorted(folder.rglob("best.pth"), key=lambda path: (path.stat().st_mtime_ns, path))
    if not found:
        remedy = "train one first (train.py with `config`), or name one with `checkpoint`"
        raise InputError(folder, "no trained checkpoint (best.pth) there", remedy)
    return found[-1]


def infer(order: Inference, report: Callable[[JingweiError], None] = lambda error: None) -> Outcome:
    """Predicts all samples of a folder that are not up to date. Tells `report` of each that can't be, and goes on.

    Same bytes for any number of workers, stopped in between or not. Raises InputError where there is no sample,
    CheckpointError where the checkpoint fits none of them, OutputError where a file of somebody else lies in the way.
    """
    order.settings.check()
    checkpoint = load_checkpoint(order.weights)
    order = replace(order, annotation=order.annotation.of(checkpoint.legend))
    outcome = Outcome(checkpoint.legend)

    def skip(error: JingweiError) -> None:
        outcome.broken.append(error)
        report(error)

    items = find_items(order, checkpoint, skip)
    check_free(order, items)
    with only_run(order.work):
        make_own_folder(order.work)
        todo = []
        for item in items:
            if is_done(order, item):
                _annotate(order, item)
                outcome.kept += 1
            else:
                todo.append(item)
        if todo:
            _predict_all(order, checkpoint, todo, outcome, skip)
        remove(order.work)
    return outcome


def _predict_all(order: Inference, checkpoint: Checkpoint, items: list[Item], outcome: Outcome, skip: Callable) -> None:
    # An engine is made ready for a shape of windows: those of one shape go together, and first those of the commonest,
    # since torch.compile takes eight of them.
    usual = Counter(item.window_shape for item in items)
    items = sorted(items, key=lambda item: (-usual[item.window_shape], item.window_shape))
    engine = engine_for(order, checkpoint, items)
    if not checkpoint.source and (note := note_on_bands(items[0].sample.images[0], checkpoint)):
        Progress.write(f"{items[0].sample.images[0]}: {note}")
    total = sum(item.px for item in items)
    with Progress(total=total, unit="px", unit_scale=True, desc="predict") as bar:
        for item, scene in ahead(_prepared(order, checkpoint, items)):
            before = bar.n
            try:
                if isinstance(scene, InputError):
                    raise scene
                predict_scene(_job(order, item, scene), checkpoint, engine, bar)
                _write(order, item, checkpoint.legend)
            except InputError as error:
                skip(error)
            else:
                outcome.written += 1
            bar.update(before + item.px - bar.n)
            item.scene.unlink(missing_ok=True)
            item.labels.unlink(missing_ok=True)


def _job(order: Inference, item: Item, scene: Path) -> Job:
    """A sample's map: its confidence goes to its own place at once, the labels become a picture first."""
    how: dict[str, Any] = {"device": order.device, "batch_size": order.batch_size, "workers": order.workers}
    how |= {"confidence": item.confidence} if order.confidence else {"stale": (item.confidence,)}
    return Job(order.weights, scene, item.labels, item.settings, originals=item.sample.images, **how)


def _prepared(order: Inference, checkpoint: Checkpoint, items: list[Item]) -> Iterator[tuple[Item, Path | InputError]]:
    """Each sample with the raster to predict it from, or with what is wrong with it."""
    for item in items:
        try:
            yield item, prepared_raster(order, checkpoint, item)
        except InputError as error:
            yield item, error


def _write(order: Inference, item: Item, legend: Legend) -> None:
    """A sample's map as the files that are wanted. The picture is finished last: it says that all are there.

    The confidence is there already. Raises InputError, and leaves none of them, where there is nothing but no data.
    """
    tags = {STAMP: item.mark}
    colors = np.zeros((256, 3), np.uint8)
    colors[NODATA] = NODATA_COLOR
    colors[: len(legend)] = [land_class.color for land_class in legend.classes]
    any_valid = False
    if not order.ids and is_stamped(item.id_mask):  # of an earlier run, with other weights or settings
        item.id_mask.unlink()
        write_sidecars(item.id_mask, Georeference())
    with open_labels(item.labels) as labels, ExitStack() as stack:
        picture = stack.enter_context(PngWriter(item.picture, *labels.shape, bands=3, tags=tags))
        mask = stack.enter_context(PngWriter(item.id_mask, *labels.shape, tags=tags)) if order.ids else None
        for first, end in strips(labels.height, TILE):
            ids = labels.read_label_rows(first, end)
            any_valid |= bool((ids != NODATA).any())
            picture.write(colors[ids])
            if mask:
                mask.write(ids)
        if not any_valid:
            if order.confidence:
                item.confidence.unlink(missing_ok=True)
            problem = "has no valid pixel: all are transparent or nodata"
            raise InputError(item.sample.images[0], problem, "check the file")
        for path in (item.picture, *([item.id_mask] if order.ids else [])):
            write_sidecars(path, labels.georeference)
        if order.confidence:
            write_percent_style(item.confidence)
        _annotate(order, item)


def _annotate(order: Inference, item: Item) -> None:
    content = order.annotation.xml(item.sample, item.picture.name)
    if item.annotation.exists() and item.annotation.read_bytes() == content:
        return
    with whole_or_nothing(item.annotation) as part:
        part.write_bytes(content)
