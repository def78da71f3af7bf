"""Which legend is meant: one order for all commands and functions. The first that there is:

1. the one that is named: `legend`, or `legend` in a config's loader
2. that of the kind of data, where a config names one: GF2, GF3
3. `legend.json` beside the label to be scored, or one or two folders above: the root of a data set is above `test/lbl`
   (not in the data folder itself: there, 5 goes before 6)
4. the one that a map carries, of a map that is named
5. the one that the scenes were cut with: DIR/train/legend.json
6. the data folder's own: DIR/legend.json; of a folder named `train`, or in its place that beside it
7. that of the network that predicts, or has predicted the map that is scored
8. the contest's: `jingwei`; of folders of samples `gf2`, of radar `gf3`

What a command does not have (no label, no map) it leaves out.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from jingwei.inputs.samples import TRAIN_FOLDERS
from jingwei.legend import Legend, find_legend
from jingwei.raster.map_legend import legend_of_map

FILE = "legend.json"
StrPath = str | Path
ABOVE = ("", "..", "../..")  # where the legend of labels lies, from their folder


@dataclass(frozen=True)
class ChosenLegend:
    """A legend, and where it is from: its name or its file."""

    legend: Legend
    source: str


@overload
def choose_legend(named: StrPath | Legend | None = None, *, usual: str = "jingwei", **where: Any) -> ChosenLegend: ...
@overload
def choose_legend(named: StrPath | Legend | None = None, *, usual: None, **where: Any) -> ChosenLegend | None: ...
def choose_legend(  # type: ignore[misc]  # the overloads are about `usual` alone
    named: StrPath | Legend | None = None,
    *,
    of_kind: str | None = None,
    label: Path | None = None,
    of_map: Path | None = None,
    cut: Path | None = None,
    folder: Path | None = None,
    of_network: Legend | None = None,
    usual: str | None = "jingwei",
    label_nodata: str | None = None,
) -> ChosenLegend | None:
    """The legend that is meant, by the order above; None where `usual` is None and there is no other.

    `label` is a label or a folder of labels, `cut` the folder of the crops (DIR/train), `folder` the data folder.
    `label_nodata` goes before what the legend says of that. Raises SettingError for a legend that is missing or wrong,
    InputError where `of_map` can't be read.
    """
    chosen = _first(named, of_kind, label, of_map, cut, folder, of_network, usual)
    return replace(chosen, legend=chosen.legend.with_label_nodata(label_nodata)) if chosen else None


def _first(
    named: StrPath | Legend | None,
    of_kind: str | None,
    label: Path | None,
    of_map: Path | None,
    cut: Path | None,
    folder: Path | None,
    of_network: Legend | None,
    usual: str | None,
) -> ChosenLegend | None:
    """The first legend of those arguments of `choose_legend`."""
    if isinstance(named, Legend):
        return ChosenLegend(named, named.name)
    source = str(named) if named is not None else of_kind or (_above(label, folder) if label else None)
    if source is None and of_map is not None and (own := legend_of_map(of_map)):
        return ChosenLegend(own, str(of_map))
    source = source or (_in(cut) if cut else None) or (_of_folder(folder) if folder else None)
    if source is None and of_network is not None:
        return ChosenLegend(of_network, of_network.name)
    source = source or usual
    return ChosenLegend(find_legend(source), source) if source else None


def _in(folder: Path) -> str | None:
    path = Path(folder) / FILE
    return str(path) if path.is_file() else None


def _of_folder(folder: Path) -> str | None:
    beside = [folder, folder.parent] if folder.name.lower() in TRAIN_FOLDERS else [folder]
    return next(filter(None, map(_in, beside)), None)


def _above(label: Path, folder: Path | None) -> str | None:
    start = label if label.is_dir() else label.parent
    for up in ABOVE:
        place = Path(os.path.normpath(start / up))
        if folder is not None and place.absolute() == folder.absolute():
            return None
        if found := _in(place):
            return found
    return None
