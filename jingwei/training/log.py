"""What a training run leaves to look at: `log.csv`, `curves.png`, TensorBoard events."""

import csv
import io
import time
from pathlib import Path

import matplotlib
import numpy as np
from torch.utils.tensorboard import SummaryWriter

from jingwei.legend import Legend
from jingwei.raster.preview import natural, painted
from jingwei.system.atomic import whole_or_nothing
from jingwei.system.progress import Progress
from jingwei.training.log_file import read_log
from jingwei.training.losses import LOSSES

matplotlib.use("Agg")
from matplotlib import font_manager, pyplot

PICTURE_SIDE = 512  # px of a crop shown in TensorBoard
MEANS = ("val_loss", "miou", "miou_with_background", "fwiou", "mean_f1", "kappa", "accuracy")

# Fonts with the characters of Chinese, Japanese and Korean, of which matplotlib's own has none, as Linux, Windows and
# macOS name them. The first that is installed and has what is needed is taken.
CJK_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Microsoft YaHei", "SimHei", "SimSun",
    "PingFang SC", "PingFang HK", "Hiragino Sans GB", "Heiti TC", "STHeiti", "Arial Unicode MS",
)  # fmt: skip


class Journal:
    """The log of one experiment, a row per epoch. A context manager; `finished` epochs of an earlier run are kept.

    TensorBoard's events go to `events`; to nowhere where that is None.
    """

    def __init__(self, folder: Path, finished: int, legend: Legend, events: Path | None):
        self.folder, self.legend = folder, legend
        self.rows = read_log(folder / "log.csv")[:finished] if finished else []
        self.events = SummaryWriter(events, purge_step=finished + 1) if events else None
        self.step_events: SummaryWriter | None = None
        self._begun = time.perf_counter()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for events in (self.events, self.step_events):
            if events:
                events.close()

    def add_step(self, step: int, values: dict[str, float]) -> None:
        """Shows the values of a step (counted over all epochs, from 1) in TensorBoard.

        As a run of its own: what follows the step that a run went on from is dropped, and epochs are no steps.
        """
        if not self.events:
            return
        if not self.step_events:
            self.step_events = SummaryWriter(Path(self.events.log_dir) / "steps", purge_step=step)
        for name, value in values.items():
            self.step_events.add_scalar(name, value, step)

    def add(self, epoch: int, values: dict[str, float], judged: dict) -> None:
        """Notes an epoch: losses and speed, and the scores of its validation; {} where it has none."""
        row = {"epoch": epoch + 1, **{k: float(f"{v:.6g}") for k, v in values.items()}}
        if judged:
            row |= {name: judged[name] for name in MEANS}
            row |= {f"iou {name}": judged["classes"][name]["iou"] for name in self.legend.names}
        row["seconds"] = round(time.perf_counter() - self._begun, 1)
        self._begun = time.perf_counter()
        self.rows.append(row)
        for name, value in row.items() if self.events else ():
            if value is not None and name != "epoch":
                self.events.add_scalar(name.replace(" ", "/", 1), value, epoch + 1)
        self._write()
        Progress.write(self._line(row))

    def show(self, epoch: int, crops: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
        """Shows crops (pixels_HWC, labels_HW, prediction_HW) as pictures side by side: scene, labels, prediction."""
        for number, (pixels, labels, prediction) in enumerate(crops if self.events else ()):
            step = -(-max(labels.shape) // PICTURE_SIDE)
            every = (slice(None, None, step), slice(None, None, step))
            maps = [painted(each[every], self.legend) for each in (labels, prediction)]
            row = np.concatenate([natural(pixels[every]), *maps], axis=1)
            self.events.add_image(f"validation/{number + 1}", row, epoch + 1, dataformats="HWC")

    def _line(self, row: dict) -> str:
        parts = [f"epoch {row['epoch']:3d}", f"loss {row.get('loss', np.nan):.4f}", f"lr {row['lr']:.2e}"]
        if row.get("val_loss") is not None:
            parts.append(f"val_loss {row['val_loss']:.4f}")
        if row.get("miou") is not None:
            ious = " ".join("-" if row[f"iou {n}"] is None else f"{row[f'iou {n}']:.3f}" for n in self.legend.names)
            parts += [f"mIoU {row['miou']:.4f}", f"IoU {ious}"]
        return "  ".join([*parts, f"{row['windows_per_s']:.1f} windows/s", f"{row['seconds']:.0f} s"])

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, _columns(self.rows), lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(self.rows)
        with whole_or_nothing(self.folder / "log.csv") as part:
            part.write_text(text.getvalue(), encoding="utf-8")
        with whole_or_nothing(self.folder / "curves.png") as part:
            draw_curves(self.rows, self.legend, part)


def _columns(rows: list[dict]) -> list[str]:
    """The names of all values; an epoch may lack some, where all its steps were left out."""
    return list(dict.fromkeys(name for row in rows for name in row))


def draw_curves(rows: list[dict], legend: Legend, path: Path) -> None:
    """Draws losses and validation IoU over the epochs, the classes in the legend's colours."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    epochs = [row["epoch"] for row in rows]
    for name in _columns(rows):
        if name == "loss" or name in (*LOSSES, "auxiliary"):
            left.plot(epochs, [row.get(name) for row in rows], label=name, linewidth=2 if name == "loss" else 1)
    judged = [row for row in rows if row.get("val_loss") is not None]  # not every epoch may have had a validation
    if judged:
        epochs, values = [row["epoch"] for row in judged], [row["val_loss"] for row in judged]
        left.plot(epochs, values, label="val_loss", color="black", linestyle="--", linewidth=2)
    left.set(xlabel="epoch", title="loss")
    left.legend()
    scored = [row for row in rows if row.get("miou") is not None]
    if scored:
        epochs = [row["epoch"] for row in scored]
        labels, fonts = readable(legend)
        for land_class in legend.classes:
            values = [np.nan if (v := row.get(f"iou {land_class.name}")) is None else v for row in scored]
            color = tuple(channel / 255 for channel in land_class.color)
            right.plot(epochs, values, color=color, label=labels[land_class.id], linewidth=1)
        right.plot(epochs, [row["miou"] for row in scored], color="black", label="mIoU", linewidth=2.5)
        right.set(xlabel="epoch", title="validation IoU", ylim=(0, 1))
        right.legend(prop={"family": fonts})
    figure.savefig(path, format="png", dpi=100)
    pyplot.close(figure)


def readable(legend: Legend) -> tuple[list[str], list[str]]:
    """What to call each class in a drawing, and the fonts to write that in: `class 3` where none here has its name."""
    fonts = [*matplotlib.rcParams["font.family"]]
    missing = set().union(*legend.names) - _characters(fonts)
    there = set(font_manager.get_font_names())
    for name in CJK_FONTS if missing else ():
        if name in there and missing & _characters([name]):
            fonts.append(name)
            missing -= _characters([name])
    return [f"class {c.id}" if missing & set(c.name) else c.name for c in legend.classes], fonts


def _characters(fonts: list[str]) -> set[str]:
    """All that a font, the first of some families, can write."""
    path = font_manager.findfont(font_manager.FontProperties(family=fonts))
    return set(map(chr, font_manager.get_font(path).get_charmap()))
