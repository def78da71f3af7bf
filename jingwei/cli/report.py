"""Step 7: the report."""

import sys
from pathlib import Path

from jingwei.cli import dry_run
from jingwei.cli.command import command
from jingwei.cli.parser import (
    Parser,
    chosen_cluster,
    chosen_legend,
    cluster_flag,
    drawing_flags,
    drawing_rules,
    gsd_flag,
    label_nodata_flag,
    legend_flag,
    warn_of_earlier_fill,
    workspace_flags,
)
from jingwei.cli.wording import command_line, say
from jingwei.labels.rules import ONLY_TEST
from jingwei.reporting.names import LANGUAGES
from jingwei.workspace import Workspace


@command
def report_command() -> str | None:
    """Step 7: writes the report."""
    parser = Parser("Writes a report that opens from disk: scenes and maps in deep zoom, scores, curves, areas.")
    workspace_flags(parser)
    text = "names of the scenes to show, such as image_3 (default: all cut test scenes)"
    parser.flag("scene", text, nargs="+", metavar="NAME")
    parser.flag("output", "folder of the report (default: DIR/report)", metavar="FOLDER")
    text = "language of the page: `auto` is the reader's own; the page can switch"
    parser.flag("language", text, choices=LANGUAGES, default="auto")
    gsd_flag(parser)
    legend_flag(parser)
    label_nodata_flag(parser)
    drawing_flags(parser)
    cluster_flag(parser)
    dry_run.dry_run_flag(parser)
    args = parser.parse_args()
    from jingwei.reporting.report import write_report

    workspace = Workspace(Path(args.data_dir), drawing_rules(args).only(ONLY_TEST))
    legend = chosen_legend(args, workspace).legend
    scenes = workspace.named_scenes(getattr(args, "scene", None))
    warn_of_earlier_fill(workspace, scenes)
    folder = Path(args.output) if "output" in args else workspace.root / "report"
    if args.dry_run:
        from jingwei.planning.rehearsal import report_steps

        return dry_run.tell(report_steps(workspace, scenes, legend, folder, args.workers), folder)
    with chosen_cluster(args) as cluster:
        how = {"language": args.language, "gsd": getattr(args, "gsd", None), "workers": args.workers}
        how["command"] = command_line("report.py", *sys.argv[1:])
        report = write_report(workspace, scenes, legend, folder, scheduler=cluster, **how)
    for verb, names in (("made", report.made), ("kept, up to date", report.kept)):
        if names:
            say(f"{verb}: {', '.join(names)}")
    for scene in scenes:
        if workspace.part_predictions(scene) and not workspace.has_map(scene):
            say(f"no map of {scene.name}: only a part of it is predicted; run predict.py without --part for the whole")
    return f"open {report.page} in a browser"
