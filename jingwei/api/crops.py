"""Step 1 of the public API: `cut` and `tile`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jingwei.api.arguments import StrPath, worker_count
from jingwei.errors import SettingError
from jingwei.legend import Legend

if TYPE_CHECKING:
    from jingwei.crops.table import Crop


def cut(
    scenes: Sequence[tuple[StrPath, ...]] | None = None,
    data_dir: StrPath = "data",
    *,
    crop_size: int = 1024,
    stride: int | None = None,
    val_fraction: float = 0.2,
    keep_background: float = 0.1,
    legend: Legend | StrPath | None = None,
    label_nodata: str | None = None,
    label_field: str | None = None,
    buffer: float | str | None = None,
    order: str | None = None,
    labelled: StrPath | None = None,
    background_outside: bool = False,
    workers: int | None = None,
) -> list[Crop]:
    """Cuts labelled scenes into crops to train on, in DIR/train/, split into training and validation.

    `scenes` are pairs (image, label); None takes those of DIR/*train*/. A label is a raster, or drawn: a vector file
    (.gpkg, .geojson, .shp, .fgb), of which there may be several, (image, label, label). `label_field` is its field of
    classes, `buffer` how far lines and points reach (metres, or "3px"), `order` a field: the higher lies above.
    What is not drawn has no label, but is background inside the polygons of `labelled`, or with `background_outside`
    everywhere: see docs/labels.md. `crop_size` and `stride` (as large, where it is
    left out) in px; `val_fraction` of each class goes to validation; `keep_background` of the crops of nothing but
    background are kept. Without `label_nodata`, labels whose nodata tag is a class are refused. Without a `legend`,
    DIR/legend.json counts, else the contest's. Scenes that were cut before in the same way are not cut again. Returns
    the crops, as crops.csv lists them.
    """
    from jingwei.crops.cut import cut_train
    from jingwei.crops.settings import CutSettings
    from jingwei.inputs.legends import choose_legend
    from jingwei.inputs.scenes import check_names, scene_of
    from jingwei.labels.rules import TRAINING, rules_of
    from jingwei.workspace import Workspace

    rules = rules_of(label_field, buffer, order, labelled, background_outside).only(TRAINING)
    workspace = Workspace(Path(data_dir), rules)
    if scenes is None:
        chosen = workspace.train_scenes()
    else:
        pairs: list[Any] = [scenes] if isinstance(scenes, str | Path) else list(scenes)
        if not pairs or any(isinstance(pair, str | Path) or len(pair) < 2 for pair in pairs):
            raise SettingError("`scenes`", f"is {scenes!r}, not a list of pairs", "give [(image, label), ...]")
        chosen = [scene_of(Path(image), [Path(label) for label in labels], rules) for image, *labels in pairs]
        check_names(chosen)
    settings = CutSettings(crop_size, crop_size if stride is None else stride, val_fraction, keep_background)
    classes = choose_legend(legend, folder=workspace.root, label_nodata=label_nodata).legend
    return cut_train(workspace, chosen, settings, classes, worker_count(workers))


def tile(scene: StrPath, output: StrPath, *, workers: int | None = None) -> Path:
    """Copies a scene into a tiled GeoTIFF, of which any window can be read at once; returns its path.

    `predict` does it by itself where a scene needs it; it pays to keep the copy of a scene that is predicted often.
    """
    from jingwei.crops.tile import tile_scene

    tile_scene(Path(scene), Path(output), worker_count(workers))
    return Path(output)
