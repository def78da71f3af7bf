"""How good maps are, by the public API: `evaluate` (step 6) and `report` (step 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jingwei.api.arguments import StrPath, legend_for, worker_count
from jingwei.errors import SettingError
from jingwei.legend import Legend


def evaluate(
    prediction: StrPath,
    label: StrPath | None = None,
    *,
    sample: StrPath | None = None,
    alpha: float = 0.05,
    confidence: StrPath | None = None,
    other: StrPath | None = None,
    legend: Legend | StrPath | None = None,
    label_nodata: str | None = None,
    label_field: str | None = None,
    buffer: float | str | None = None,
    order: str | None = None,
    labelled: StrPath | None = None,
    background_outside: bool = False,
) -> dict[str, Any]:
    """Scores a label map, or a folder of masks, against its truth; or a map by a `sample` that people have labelled.

    Without a `legend`, the one beside the label counts, else the map's own. How drawn labels are read is as of `cut`;
    but where an area of `labelled` has the `use` test, only these are scored.

    Gives miou (without the background), miou_with_background, fwiou, accuracy, kappa, mean_f1, pixels, missed; under
    classes, by name: iou, f1, precision, recall, pixels; and confusion, a list of rows: pixels by label (row) and
    prediction (column), the last column those that have no prediction. A score that doesn't exist is None. Of folders,
    also labels, missing (names of labels without a prediction) and without_label (how many predictions have none).

    By a `sample` (points with a field `label`, as `evaluate.py --sample` draws them): accuracy and areas with 95 %
    intervals; accuracy_bounds, users_bounds and error_at_most, exact at any number of points; and certified, the surest
    part of the map of which at most `alpha` is wrong: its share and the `confidence` from which it begins (a raster of
    0 to 100; None: confidence/MAP.tif beside the map, if it is there). `other` is a map to compare on the same points.
    """
    from jingwei.errors import InputError
    from jingwei.evaluation.folders import score_folders, score_pair
    from jingwei.evaluation.metrics import scores
    from jingwei.evaluation.scenes import refuse_unlabelled
    from jingwei.inputs.label_files import label_files
    from jingwei.inputs.legends import choose_legend
    from jingwei.labels.rules import ONLY_TEST, rules_of

    if (label is None) == (sample is None):
        raise SettingError("evaluate", "needs a `label` or a `sample`", "give one of them")
    if sample is not None:
        how = {"confidence": confidence, "other": other}
        return _evaluate_sample(Path(prediction), Path(sample), legend, label_nodata, alpha, how)
    assert label is not None
    rules = rules_of(label_field, buffer, order, labelled, background_outside).only(ONLY_TEST)
    maps = Path(prediction), Path(label)
    for one, other in (maps, maps[::-1]):
        if one.is_file() and other.is_dir():
            raise InputError(one, f"is a file, but {other} is a folder", "give two files or two folders")
    of_map = None if maps[0].is_dir() else maps[0]
    known = choose_legend(legend, label=maps[1], of_map=of_map, label_nodata=label_nodata).legend
    if maps[0].is_dir():
        score = score_folders(*maps, known, rules=rules)
        counted = {"labels": score.labels, "missing": list(score.missing), "without_label": score.extra}
        return scores(score.matrix, known) | counted
    matrix = score_pair(maps[0], label_files(maps[1], rules), known)
    refuse_unlabelled(matrix, maps[1])
    return scores(matrix, known)


def _evaluate_sample(
    source: Path,
    sample: Path,
    legend: Legend | StrPath | None,
    label_nodata: str | None,
    alpha: float,
    files: Mapping[str, StrPath | None],
) -> dict[str, Any]:
    """A map by its labelled sample, in plain numbers."""
    from jingwei.evaluation.sampling_design import accuracy_numbers, score_sample
    from jingwei.evaluation.statement import state, statement_numbers
    from jingwei.workspace import confidence_of

    known = legend_for(legend, source, label_nodata)
    named: dict[str, Any] = {name: None if file is None else Path(file) for name, file in files.items()}
    if named["confidence"] is None and confidence_of(source).exists():
        named["confidence"] = confidence_of(source)
    scored = score_sample(sample, source, known)
    said = state(scored, source, known, alpha, confidence=named["confidence"], other=named["other"])
    return accuracy_numbers(scored, known) | statement_numbers(said, known)


def report(
    data_dir: StrPath = "data",
    output: StrPath | None = None,
    *,
    scenes: Sequence[str] | None = None,
    language: str = "auto",
    gsd: float | None = None,
    legend: Legend | StrPath | None = None,
    label_nodata: str | None = None,
    label_field: str | None = None,
    buffer: float | str | None = None,
    order: str | None = None,
    labelled: StrPath | None = None,
    background_outside: bool = False,
    workers: int | None = None,
) -> Path:
    """Writes the report of a project folder, which opens from disk in any browser; returns its page.

    It goes to DIR/report/, or to the folder `output`. `scenes` are names of cut test scenes, such as image_3 (None:
    all). `language` is en, zh, or auto for the reader's own; `gsd` the side of a pixel on the ground in metres.
    Drawn labels are read as by `evaluate`.
    """
    from jingwei.inputs.legends import choose_legend
    from jingwei.labels.rules import ONLY_TEST, rules_of
    from jingwei.reporting.report import write_report
    from jingwei.workspace import Workspace

    rules = rules_of(label_field, buffer, order, labelled, background_outside).only(ONLY_TEST)
    workspace = Workspace(Path(data_dir), rules)
    folder = workspace.root / "report" if output is None else Path(output)
    how: dict[str, Any] = {"language": language, "gsd": gsd, "workers": worker_count(workers)}
    chosen = workspace.named_scenes(scenes)
    where: dict[str, Any] = {"cut": workspace.train, "folder": workspace.root}
    classes = choose_legend(legend, label_nodata=label_nodata, **where).legend
    return write_report(workspace, chosen, classes, folder, **how).page
