"""Cuts scenes into crop files to train on.

Each scene is read once, top to bottom, on a thread of its own, while worker threads deflate and write what has been
read: the codecs leave Python's lock, so threads are enough and no pixel is copied between processes.
"""

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace

from jingwei.crops.cutter import Cutter
from jingwei.crops.drawn_split import SideScene, split_drawn
from jingwei.crops.scene_cut import SceneCut, keep, kept, record_of
from jingwei.crops.settings import CutSettings
from jingwei.crops.table import Crop
from jingwei.crops.write_split import share_out
from jingwei.errors import InputError
from jingwei.grid import Window, starts
from jingwei.inputs.sample_scene import SampleScene
from jingwei.inputs.sar import SarReader
from jingwei.inputs.scenes import Scene, check_table_names
from jingwei.labels.drawn import DrawnLabels
from jingwei.legend import Legend
from jingwei.raster.far_values import REMEDY
from jingwei.raster.reading import Raster
from jingwei.raster.same_place import check_same_place, check_same_size
from jingwei.raster.stamps import stamp
from jingwei.spectrum import in_words
from jingwei.system.atomic import make_own_folder, only_run
from jingwei.system.prefetch import ahead
from jingwei.system.progress import Progress
from jingwei.system.scheduling import Cluster, Here, Task, Threads
from jingwei.workspace import Workspace


def cut_train(
    workspace: Workspace,
    scenes: Sequence[Scene | SampleScene],
    settings: CutSettings,
    legend: Legend,
    workers: int,
    scheduler: Here | Threads | Cluster | None = None,
    sides: dict[str, str] | None = None,
) -> list[Crop]:
    """Cuts training scenes into `train/data`, `train/label` and `train/crops.csv`; returns the crops, split.

    A scene that was cut before from the same files with the same settings is not cut again. Each scene is a task for
    the scheduler. `sides` gives scenes by name, as a whole, to TRAIN or VALIDATION: for many small scenes, which
    then share one progress bar and get no pictures of the split. Scenes with a few drawn labels are cut once for each
    side: see `drawn_split.py`. Raises OutputError where another run is cutting into
    the same folder.
    """
    settings.check()
    check_table_names(scenes)
    with only_run(workspace.train):
        make_own_folder(workspace.train / ".parts")
        if sides is None:
            scenes, sides = split_drawn(workspace, scenes, settings, legend)
        tasks = [
            Task(
                _cut_or_reuse,
                (workspace, scene, _settings_of(scene, settings), legend, workers, scene.name not in sides),
            )
            for scene in scenes
        ]
        done = {}
        for task, cut in Progress((scheduler or Here()).run(tasks), "cut", len(tasks), disable=not sides):
            done[task.arguments[1].name] = cut
        cuts = {scene.name: done[scene.name] for scene in scenes}
        for scene in scenes:
            if far := cuts[scene.name].far:
                Progress.write(f"warning: {scene.image}: {far.in_words()}: {REMEDY}", file=sys.stderr)
        return share_out(workspace, scenes, cuts, settings, legend, sides)


def _settings_of(scene: Scene | SampleScene, settings: CutSettings) -> CutSettings:
    return replace(settings, keep_background=1) if isinstance(scene, SideScene) else settings


def _cut_or_reuse(
    workspace: Workspace, scene: Scene, settings: CutSettings, legend: Legend, workers: int, alone: bool
) -> SceneCut:
    """Cuts a scene unless that was done. `alone`: it shows its own progress, and leaves a picture for the split's."""
    if scene.label is None:
        expected = scene.image.with_name(f"{scene.name}_label{scene.image.suffix}")
        raise InputError(scene.image, f"has no label {expected.name}", "put it beside the scene")
    how = asdict(replace(settings, val_fraction=0))  # a new split needs no new cut
    mark = stamp(*scene.sources, **how, **scene.reading, legend=legend.to_dict())
    if cut := kept(workspace, scene, mark, alone, workers):
        return cut
    cut, preview = _cut_scene(workspace, scene, settings, legend, workers, alone)
    keep(workspace, scene, mark, cut, preview)
    return cut


def _cut_scene(workspace: Workspace, scene: Scene, settings: CutSettings, legend: Legend, workers: int, alone: bool):
    """Streams one scene into crop files. Returns its SceneCut and, where it is cut alone, its preview (HWC RGB)."""
    with scene.open_image() as image, scene.open_labels(legend) as label:
        arrange(image, legend)
        check_same_size(label, image)
        check_same_place(label, image)
        if not isinstance(label, DrawnLabels):  # of which the split has told
            for note in label.notes:
                Progress.write(f"warning: {note}", file=sys.stderr)
        # From here on, what an earlier cut said of these files is no longer true.
        workspace.crops.unlink(missing_ok=True)
        record_of(workspace, scene).unlink(missing_ok=True)
        cutter = Cutter(workspace, scene, image, legend, settings)
        size = settings.crop_size
        cols = starts(image.width, size, settings.stride)
        pending: deque[Future[Crop | None]] = deque()
        crops: list[Crop | None] = []
        total = image.height * image.width
        bar = Progress(total=total, unit="px", unit_scale=True, desc=f"cut {scene.name}", disable=not alone)
        with bar, ThreadPoolExecutor(workers) as pool:
            try:
                bands = _bands(image, label, starts(image.height, size, settings.stride), size)
                for first, pixels, valid, labels in ahead(bands):
                    cutter.count_ids(first, labels)
                    for col in cols:
                        window = Window(first, col, len(labels), min(size, image.width))
                        here = (slice(None), slice(col, window.col_end))
                        part = (pixels[:, :, here[1]], valid[here], labels[here])
                        pending.append(pool.submit(cutter.cut, window, *part))
                    # One band may still be in work while the next is read: memory stays at three bands.
                    while len(pending) > len(cols):
                        crops.append(pending.popleft().result())
                    bar.update((first + len(labels)) * image.width - bar.n)
                crops.extend(future.result() for future in pending)
                cutter.refuse_unknown()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                cutter.delete_written()
                raise
        if alone and not cutter.any_valid:
            raise InputError(scene.image, "has no valid pixel: all are transparent or nodata", "check its alpha")
        worth = [crop for crop in crops if crop is not None]
        kind = image.height, image.width, image.bands, image.dtype.name
        cut = SceneCut(*kind, worth, dict(sorted(cutter.files.items())), cutter.far, image.band_names)
        return cut, cutter.preview() if alone else None


def arrange(image: Raster | SarReader, legend: Legend) -> None:
    """Has an image give its bands in the order in which the legend names them. InputError where it can't."""
    if not legend.bands:
        return
    if isinstance(image, Raster):
        image.arrange(legend.bands)
    if image.bands != len(legend.bands):
        problem = f"has {image.bands} bands, but the legend names {len(legend.bands)} ({in_words(legend.bands)})"
        raise InputError(image.path, problem, 'mend "bands" in the legend, or describe the bands in the file')


def _bands(image: Raster, label: Raster, rows: list[int], size: int) -> Iterator[tuple]:
    for first in rows:
        end = min(first + size, image.height)
        pixels, valid = image.read_rows(first, end)
        yield first, pixels, valid, label.read_label_rows(first, end)
