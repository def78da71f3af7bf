"""What `peers.py` found: how far the results of two programs agree, and the table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from measure import Measured
from rasterio.windows import Window

from jingwei.legend import NODATA


@dataclass(frozen=True)
class Row:
    """A line of the table; `measured` is None where the program is absent or failed, and the note says why."""

    name: str
    measured: Measured | None
    agreement: float | None
    note: str


def same_regions(ours: Sequence[tuple[int, float]], theirs: Sequence[tuple[int, float]]) -> float:
    """The share of regions (class, area) that both have, each counted as often as it is there, of the longer list."""
    names, counts = np.unique(np.concatenate([np.round(ours), np.round(theirs)]), axis=0, return_inverse=True)
    one = np.bincount(counts.ravel()[: len(ours)], minlength=len(names))
    other = np.bincount(counts.ravel()[len(ours) :], minlength=len(names))
    return float(np.minimum(one, other).sum() / max(len(ours), len(theirs)))


def regions_of(path: Path, field: str) -> np.ndarray:
    """Class and area in square metres of every polygon of a file: float64, N x 2."""
    layer = pyogrio.list_layers(path)[0][0]  # a second one is of styles
    _, _, wkb, (values,) = pyogrio.raw.read(path, layer=layer, columns=[field])
    return np.stack([values.astype(float), shapely.area(shapely.from_wkb(wkb))], axis=1)


def same_pixels(ours: Path, theirs: Path) -> float:
    """The share of the pixels with a class in our map that have the same one in another."""
    with rasterio.open(ours) as one, rasterio.open(theirs) as other:
        labels, others = one.read(1), other.read(1)
    return float((labels == others)[labels != NODATA].mean())


def same_areas(ours: np.ndarray, theirs: np.ndarray) -> float:
    """One less the sum of the differences, as a share of all area: tables of zones and classes."""
    return float(1 - np.abs(ours - theirs).sum() / ours.sum())


def same_tiles(scene: Path, folder: Path, names: Callable[[int, int], str], side: int) -> float:
    """The share of the valid pixels of every seventh tile that are as in our tiled scene."""
    same = count = 0
    with rasterio.open(scene) as ours:
        places = [(row, col) for row in range(0, ours.height, side) for col in range(0, ours.width, side)]
        for row, col in places[::7]:
            with rasterio.open(folder / names(row, col)) as tile:
                theirs, valid = tile.read()[:3], tile.read()[3] > 0
            window = Window(col, row, theirs.shape[2], theirs.shape[1])
            same += int((ours.read(window=window)[:3] == theirs)[:, valid].sum())
            count += 3 * int(valid.sum())
    return same / max(1, count)


def table(rows: Sequence[Row], megapixels: float) -> str:
    """A group's rows in Markdown; ratios are to the first one's CPU seconds."""
    lines = ["| program | wall s | CPU s | Mpx/s | CPU, x ours | peak MiB | agreement | |", "|---" * 8 + "|"]
    base = rows[0].measured
    for row in rows:
        if row.measured is None:
            lines.append(f"| {row.name} | - | - | - | - | - | - | {row.note} |")
            continue
        seconds, peak, cpu = row.measured
        ratio = f"{cpu / base.cpu_seconds:.2f}" if base else "-"
        same = "" if row.agreement is None else f"{row.agreement:.2%}"
        figures = f"{seconds:.1f} | {cpu:.1f} | {megapixels / seconds:.0f} | {ratio} | {peak:.0f}"
        lines.append(f"| {row.name} | {figures} | {same} | {row.note} |")
    return "\n".join(lines)
