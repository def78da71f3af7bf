"""The label loop of the public API: `label`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jingwei.api.arguments import StrPath
from jingwei.legend import Legend


def label(
    data_dir: StrPath = "data",
    scenes: Sequence[StrPath] | None = None,
    *,
    count: int = 50,
    window: int = 256,
    simplify: float = 1.0,
    seed: int = 0,
    add: StrPath | None = None,
    legend: Legend | StrPath | None = None,
    label_field: str | None = None,
    buffer: float | str | None = None,
    order: str | None = None,
    labelled: StrPath | None = None,
) -> list[Path]:
    """Writes where labels would teach most, as polygons to correct in QGIS: `label/SCENE/next.gpkg`; returns the files.

    What is labelled in such files of an earlier call becomes a round first, `label/SCENE/round_1.gpkg` and so on: `cut`
    takes it from there. With `add`, a vector file of labels becomes a round, and its path is returned; `label_field`,
    `buffer` and `order` say how it is read, as of `cut`.

    `count` places, `window` px wide, in the `scenes` (images; None: the cut test scenes, else those of DIR/*test*/).
    Places stand for many others like them: with maps there, for those where the maps are unsure most of all. Another
    `seed` draws others. Borders of regions may move by `simplify` px. No place is chosen in areas of `labelled` whose
    use is test. Raises InputError where there are such files and nothing is labelled in them.
    """
    from jingwei.inputs.legends import choose_legend
    from jingwei.inputs.scenes import check_names, labels_of, scene_of
    from jingwei.labelling.rounds import add_round, scene_meant, take_in
    from jingwei.labelling.suggest import check_wishes, suggest
    from jingwei.labels.rules import rules_of
    from jingwei.workspace import Workspace

    rules = rules_of(label_field, buffer, order, labelled)
    workspace = Workspace(Path(data_dir), rules)
    if scenes is not None:
        chosen = [scene_of(Path(image), labels_of(Path(image)), rules) for image in scenes]
        check_names(chosen)
    else:
        chosen = workspace.named_scenes(None) or workspace.test_scenes()
    classes = choose_legend(legend, cut=workspace.train, folder=workspace.root).legend
    if add is not None:
        return list(add_round(workspace, scene_meant(Path(add), chosen, scenes is not None), Path(add), classes, rules))
    how: dict[str, Any] = {"count": count, "window": window, "simplify": simplify}
    check_wishes(**how)
    take_in(workspace, chosen, classes)
    return list(suggest(workspace, chosen, classes, **how, seed=seed).files)
