"""Step 6: scoring maps against labels. Areas and samples, which need none, are in `areas.py`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from jingwei.cli import dry_run
from jingwei.cli.areas import area_flags, asks_for_areas, tell_areas
from jingwei.cli.command import command
from jingwei.cli.parser import (
    Parser,
    chosen_cluster,
    chosen_legend,
    cluster_flag,
    drawing_flags,
    drawing_rules,
    label_nodata_flag,
    legend_flag,
    tell_legend,
    warn_of_earlier_fill,
    workspace_flags,
)
from jingwei.errors import InputError, SettingError
from jingwei.inputs.label_files import LabelFiles, label_files
from jingwei.labels.rules import ONLY_TEST, DrawingRules
from jingwei.legend import Legend
from jingwei.workspace import Workspace


@command
def evaluate_command() -> str | None:
    """Step 6: scores maps against labels."""
    parser = _parser()
    args = parser.parse_args()
    workspace = Workspace(Path(args.data_dir), drawing_rules(args).only(ONLY_TEST))
    if asks_for_areas(args):
        of_map = Path(args.prediction) if "prediction" in args else None
        return tell_areas(args, workspace, chosen_legend(args, workspace, of_map=of_map).legend)
    if ("prediction" in args) != ("label" in args):
        raise SettingError(parser.prog, "--prediction and --label go together", "give both or neither")
    (_score_prediction if "prediction" in args else _score_stages)(args, workspace)
    return None


def _parser() -> Parser:
    parser = Parser("Scores label maps: IoU per class, mIoU with and without background, FWIoU, F1, kappa.")
    workspace_flags(parser, workers=False)
    text = "a label map, or a folder of masks as inference.py writes them (default: all maps of scenes with labels)"
    parser.flag("prediction", text, metavar="FILE")
    parser.flag(
        "label",
        "its truth: a map, drawn labels (.gpkg ...), or a folder of masks N_gt.png, N_label.png or N.png",
        metavar="FILE",
    )
    parser.flag("json", "print JSON instead of tables", action="store_true")
    area_flags(parser)
    legend_flag(parser)
    label_nodata_flag(parser)
    drawing_flags(parser)
    cluster_flag(parser)
    dry_run.dry_run_flag(parser)
    return parser


def _score_prediction(args: argparse.Namespace, workspace: Workspace) -> None:
    """Scores --prediction, a map or a folder of masks, against --label."""
    from jingwei.evaluation.folders import score_pair
    from jingwei.evaluation.metrics import scores, table
    from jingwei.evaluation.scenes import refuse_unlabelled
    from jingwei.raster.map_legend import legend_of_map

    prediction, truth = Path(args.prediction), Path(args.label)
    _refuse_unlike(prediction, truth)
    # Last, since the folder's legend may have the values of labels, which a map's has not.
    own = None if prediction.is_dir() or truth.is_dir() else legend_of_map(prediction)
    chosen = chosen_legend(args, workspace, label=truth, of_network=own)
    legend = chosen.legend
    if not args.json:
        tell_legend(chosen)
    if prediction.is_dir() or truth.is_dir():
        return _score_folders(args, legend, workspace.rules)
    labels = label_files(truth, workspace.rules)
    if args.dry_run:
        return _rehearse([(prediction, labels)], legend)
    matrix = score_pair(prediction, labels, legend)
    refuse_unlabelled(matrix, truth)
    print(json.dumps(scores(matrix, legend), indent=1) if args.json else table(matrix, legend))
    return None


def _score_stages(args: argparse.Namespace, workspace: Workspace) -> None:
    """Scores the maps of every stage, of the scenes that have labels."""
    from jingwei.evaluation.metrics import few_note, scores
    from jingwei.evaluation.scenes import labelled_scenes, score_stages, stage_maps, stage_note, stage_table

    legend = chosen_legend(args, workspace).legend
    warn_of_earlier_fill(workspace, labelled_scenes(workspace))
    if args.dry_run:
        scored = stage_maps(workspace, labelled_scenes(workspace))
        return _rehearse([(path, scene.label_files) for path, scene in scored if scene.label], legend)
    with chosen_cluster(args) as cluster:
        stages = score_stages(workspace, legend, cluster)
    if args.json:
        print(json.dumps({name: scores(matrix, legend) for name, matrix in stages.items()}, indent=1))
        return None
    print(stage_table(stages, legend))
    last = next(reversed(stages.values()), None)
    for note in (stage_note(stages, legend), few_note(last, legend) if last else None):
        if note:
            print(note)
    return None


def _rehearse(pairs: Sequence[tuple[Path, LabelFiles]], legend: Legend) -> None:
    from jingwei.planning.rehearsal import score_step

    dry_run.tell([score_step(prediction, labels, legend) for prediction, labels in pairs], None)


def _refuse_unlike(prediction: Path, label: Path) -> None:
    """Raises InputError for a folder and a file."""
    for one, other in ((prediction, label), (label, prediction)):
        if one.is_file() and other.is_dir():
            raise InputError(one, f"is a file, but {other} is a folder", "give two files or two folders")


def _score_folders(args: argparse.Namespace, legend: Legend, rules: DrawingRules) -> None:
    """Scores a folder of masks. Ends with status 1 where labels have no prediction."""
    from jingwei.evaluation.folders import score_folders
    from jingwei.evaluation.metrics import scores, table

    if args.dry_run:
        raise SettingError("--dry_run", "tells nothing of folders of masks", "leave it out: they are scored in no time")
    with chosen_cluster(args) as cluster:
        score = score_folders(Path(args.prediction), Path(args.label), legend, cluster, rules)
    if args.json:
        counted = {"labels": score.labels, "missing": score.missing, "without_label": score.extra}
        print(json.dumps(scores(score.matrix, legend) | counted, indent=1))
    else:
        extra = f"; predictions without a label, left out: {score.extra}" if score.extra else ""
        print(f"{score.labels} labels{extra}\n{table(score.matrix, legend)}")
    if score.missing:
        names = ", ".join(score.missing)
        print(f"no prediction, so all wrong: {len(score.missing)} of {score.labels}: {names}", file=sys.stderr)
        sys.exit(1)
