"""`curves.png` of an experiment: losses and validation scores over its epochs."""

from pathlib import Path

import numpy as np
from matplotlib import font_manager, rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jingwei.legend import Legend
from jingwei.system.atomic import whole_or_nothing
from jingwei.training.log_file import columns
from jingwei.training.losses import LOSSES

# Fonts with the characters of Chinese, Japanese and Korean, of which matplotlib's own has none, as Linux, Windows and
# macOS name them. The first that is installed and has what is needed is taken. A table, because the font packages for
# matplotlib bring 16 MB and more, fonts that may not be passed on, or change its settings when they are imported.
CJK_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Microsoft YaHei", "SimHei", "SimSun",
    "PingFang SC", "PingFang HK", "Hiragino Sans GB", "Heiti TC", "STHeiti", "Arial Unicode MS",
)  # fmt: skip


def draw_curves(rows: list[dict], legend: Legend, path: Path) -> None:
    """Draws the rows of a log (see `read_log`) as a PNG, whole or not at all; classes have the legend's colours."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)  # not pyplot: that would keep the figure, and choose a backend for the whole process
    losses, scores = figure.subplots(1, 2)
    _draw_losses(losses, rows)
    _draw_scores(scores, [row for row in rows if row.get("miou") is not None], legend)
    with whole_or_nothing(path) as part:
        figure.savefig(part, format="png", dpi=100)


def _draw_losses(axes, rows: list[dict]) -> None:
    epochs = [row["epoch"] for row in rows]
    for name in columns(rows):
        if name == "loss" or name in (*LOSSES, "auxiliary"):
            axes.plot(epochs, [row.get(name) for row in rows], label=name, linewidth=2 if name == "loss" else 1)
    validated = [row for row in rows if row.get("val_loss") is not None]  # not every epoch may have had a validation
    if validated:
        epochs, values = [row["epoch"] for row in validated], [row["val_loss"] for row in validated]
        axes.plot(epochs, values, label="val_loss", color="black", linestyle="--", linewidth=2)
    axes.set(xlabel="epoch", title="loss")
    axes.legend()


def _draw_scores(axes, rows: list[dict], legend: Legend) -> None:
    if not rows:
        return
    epochs = [row["epoch"] for row in rows]
    labels, fonts = readable(legend)
    for land_class in legend.classes:
        values = [np.nan if (v := row.get(f"iou {land_class.name}")) is None else v for row in rows]
        color = tuple(channel / 255 for channel in land_class.color)
        axes.plot(epochs, values, color=color, label=labels[land_class.id], linewidth=1)
    axes.plot(epochs, [row["miou"] for row in rows], color="black", label="mIoU", linewidth=2.5)
    axes.set(xlabel="epoch", title="validation IoU", ylim=(0, 1))
    axes.legend(prop={"family": fonts})


def readable(legend: Legend) -> tuple[list[str], list[str]]:
    """What to call each class in a drawing, and the fonts to write that in: `class 3` where none here has its name."""
    fonts = [*rcParams["font.family"]]
    missing = set().union(*legend.names) - _characters(fonts)
    installed = set(font_manager.get_font_names())
    for name in CJK_FONTS if missing else ():
        if name in installed and missing & _characters([name]):
            fonts.append(name)
            missing -= _characters([name])
    return [f"class {c.id}" if missing & set(c.name) else c.name for c in legend.classes], fonts


def _characters(fonts: list[str]) -> set[str]:
    """All that a font, the first of some families, can write."""
    path = font_manager.findfont(font_manager.FontProperties(family=fonts))
    return set(map(chr, font_manager.get_font(path).get_charmap()))
