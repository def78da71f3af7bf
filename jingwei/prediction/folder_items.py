"""What is to be predicted of a folder of samples: which a checkpoint fits, their files, and which are done."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jingwei.errors import CheckpointError, InputError, JingweiError, OutputError
from jingwei.inputs.samples import Sample, find_samples
from jingwei.inputs.sar import read_settings
from jingwei.models.checkpoints import Checkpoint, check_type
from jingwei.models.devices import find_device, find_precision
from jingwei.prediction.annotation_xml import Annotation, is_annotation
from jingwei.prediction.bands import Bands
from jingwei.prediction.fitting import open_fitting
from jingwei.prediction.prepare_sample import prepare_scene
from jingwei.prediction.settings import InferenceSettings, PredictSettings
from jingwei.prediction.views import STEP, TTA
from jingwei.raster.reading import Raster, read_tags
from jingwei.raster.stamps import is_stamped, stamp, up_to_date
from jingwei.workspace import confidence_of

SINGLE_MOST_PX = 4096 * 4096  # of a sample in one window: a network takes some 500 bytes a pixel


@dataclass(frozen=True)
class Inference:
    """What is to be done: the samples of `source` into `target` by the checkpoint `weights`.

    `ids` keeps class ids too, as `<id>_label.png`, 255 where there is no data; `confidence` how sure each pixel's class
    is, as `confidence/<id>_gt.tif`. `batch_size` 0 takes 1 window at a time on a CPU, 8 on a GPU.
    """

    source: Path
    target: Path
    weights: Path
    settings: InferenceSettings = InferenceSettings()
    annotation: Annotation = Annotation()
    ids: bool = False
    confidence: bool = False
    device: str = "auto"
    batch_size: int = 0
    workers: int = 1

    @property
    def work(self) -> Path:
        """The folder of what is not finished."""
        return self.target / ".inference"


@dataclass(frozen=True)
class Item:
    """A sample on its way: its size, its files, and the stamp that they get."""

    sample: Sample
    shape: tuple[int, int]
    settings: PredictSettings
    picture: Path
    mark: str
    scene: Path  # where it is prepared, where it has to be
    labels: Path  # its map, before it becomes a picture

    @property
    def annotation(self) -> Path:
        return self.picture.with_name(f"{self.sample.id}.xml")

    @property
    def id_mask(self) -> Path:
        return self.picture.with_name(f"{self.sample.id}_label.png")

    @property
    def confidence(self) -> Path:
        """In a folder of its own: whoever gathers the contest's results takes it for none of them."""
        return confidence_of(self.picture)

    def rasters(self, order: Inference) -> list[Path]:
        """Its rasters that an order asks for, the picture first."""
        wanted = {self.picture: True, self.id_mask: order.ids, self.confidence: order.confidence}
        return [path for path, kept in wanted.items() if kept]

    @property
    def px(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def window_shape(self) -> tuple[int, int]:
        """The shape of its windows, up to multiples of STEP, to which engines pad."""
        height, width = (-(-min(side, self.settings.window) // STEP) * STEP for side in self.shape)
        return height, width

    @property
    def window_px(self) -> int:
        """Pixels of all its windows, each view counted."""
        bands = Bands.of(self.shape, self.settings.window, self.settings.overlap)
        height, width = self.window_shape
        return len(bands.rows) * len(bands.cols) * height * width * len(TTA[self.settings.tta])


def find_items(order: Inference, checkpoint: Checkpoint, skip: Callable[[JingweiError], None]) -> list[Item]:
    """The samples that the checkpoint fits; `skip` gets what is wrong with the others."""
    samples, broken = find_samples(order.source)
    if not samples and not broken:
        remedy = "put N.tif, or N_HH.tiff, N_HV.tiff, N_VH.tiff and N_VV.tiff, there or into subfolders"
        raise InputError(order.source, "no samples there", remedy)
    device = find_device(order.device)
    computed = {"precision": str(find_precision(order.settings.precision, device)), "device": device.type}
    items, misfits = [], []
    for sample in samples:
        try:
            items.append(_item(order, checkpoint, sample, computed))
        except InputError as error:
            broken.append(error)
        except CheckpointError as error:
            misfits.append(error)
    if misfits and not items:
        raise misfits[0]
    for problem in (*broken, *misfits):
        skip(problem)
    return items


def _item(order: Inference, checkpoint: Checkpoint, sample: Sample, computed: dict) -> Item:
    kind = {True: "radar", False: "optical"}
    if sample.is_sar != bool(checkpoint.source):
        problem = f"was trained on {kind[not sample.is_sar]} scenes, but {sample.images[0]} is {kind[sample.is_sar]}"
        raise CheckpointError(order.weights, problem, "take a checkpoint of that kind")
    # Radar may be complex, which is not a picture.
    with Raster(sample.images[0]) if sample.is_sar else open_fitting(sample.images[0], checkpoint) as image:
        shape, bands, dtype = image.shape, image.bands, image.dtype.name
    if not sample.is_sar and bands != checkpoint.spec.bands:
        problem = f"was trained on {checkpoint.spec.bands} bands, but {sample.images[0]} has {bands}"
        raise CheckpointError(order.weights, problem, "take samples of the same bands, or train again")
    if not sample.is_sar:
        check_type(checkpoint, order.weights, sample.images[0], dtype)
    if order.settings.mode == "single" and shape[0] * shape[1] > SINGLE_MOST_PX:
        problem = f"{shape[1]} x {shape[0]} px are too many for one window"
        raise InputError(sample.images[0], problem, "take `mode` sliding")
    settings = order.settings.of(shape)
    place = sample.folder.relative_to(order.source)
    return Item(
        sample,
        shape,
        settings,
        order.target / place / f"{sample.id}_gt.png",
        stamp(*sample.images, order.weights, **settings.to_dict() | computed),
        order.work / "scenes" / place / f"{sample.id}.tif",
        order.work / "maps" / place / f"{sample.id}.tif",
    )


def check_free(order: Inference, items: list[Item]) -> None:
    """Raises OutputError where a file would replace one that is not ours: labels are named like pictures."""
    for item in items:
        if item.annotation.exists() and not is_annotation(item.annotation, item.picture.name):
            problem = "is there already, and is not an annotation by inference.py"
            raise OutputError(item.annotation, problem, "name another output folder, or move it away")
        for path in item.rasters(order):
            if path.exists() and not (is_stamped(path) or _is_broken(path)):
                problem = "is there already, and was not written by inference.py"
                raise OutputError(path, problem, "name another output folder, or move it away")


def _is_broken(picture: Path) -> bool:
    """Whether nothing can be read of a picture that is to be replaced: it is of no use to anybody."""
    try:
        read_tags(picture)
    except InputError:
        return True
    return False


def is_done(order: Inference, item: Item) -> bool:
    return all(up_to_date(path, item.mark) for path in item.rasters(order))


def prepared_raster(order: Inference, checkpoint: Checkpoint, item: Item) -> Path:
    """The raster to predict an item from. Raises InputError for samples that are broken."""
    remedy = "copy the checkpoint again, or train again"
    sar = read_settings(checkpoint.source, order.weights, remedy, CheckpointError) if checkpoint.source else None
    return prepare_scene(item.sample, sar, item.scene, order.workers)
