"""After the last map: its polygons."""

from pathlib import Path

from jingwei.cli.command import command
from jingwei.cli.parser import (
    Parser,
    chosen_legend,
    going_on,
    gsd_flag,
    label_nodata_flag,
    legend_flag,
    not_negative,
    warn_of_earlier_fill,
    workspace_flags,
)
from jingwei.cli.wording import say
from jingwei.errors import SettingError
from jingwei.legend import Legend
from jingwei.workspace import Workspace

FORMATS = ("gpkg", "geojson", "parquet")


@command
def polygons_command() -> str | None:
    """Label maps as polygons."""
    args = _parser().parse_args()
    from jingwei.polygons.polygons import write_polygons

    workspace = Workspace(Path(args.data_dir))
    legend = chosen_legend(args, workspace, of_map=Path(args.input) if "input" in args else None).legend
    if args.background and legend.background is None:
        raise SettingError("--background", f"legend {legend.name} has no background class", "leave it out")
    classes = {legend.id_of(name) for name in args.classes} if "classes" in args else set(legend.foreground)
    rules = {
        "legend": legend, "classes": classes | ({legend.background} if args.background else set()),
        "min_area": args.min_area, "simplify": args.simplify, "gsd": getattr(args, "gsd", None), "pixels": args.pixels,
    }  # fmt: skip
    if "input" in args:
        pairs = [(Path(args.input), Path(args.output))]
    else:
        scenes = workspace.cut_scenes()
        warn_of_earlier_fill(workspace, scenes)
        pairs = [(workspace.final_map(scene), workspace.polygons(scene, f".{args.format}")) for scene in scenes]
    for source, target in pairs:
        written = write_polygons(source, target, **rules)
        if written is None:
            say(f"kept, it is up to date: {target}")
            continue
        _print_polygons(written, legend)
        say(f"written: {target} ({source})")
        if written.lost:
            say(f"{source} is placed by {written.lost} alone: its polygons are in pixels, x = column, y = -row")
    legend_words = ("--legend", args.legend) if "legend" in args else ()
    return None if "input" in args else going_on(args, "report.py", *legend_words)


def _parser() -> Parser:
    parser = Parser("Turns label maps into polygons: a region of one class is one polygon, its holes are holes.")
    workspace_flags(parser, workers=False)
    text = "a label map (default: the final map of each scene: filled.tif, else vote.tif, else the best prediction)"
    parser.flag("input", text, metavar="FILE")
    parser.flag("output", "where the polygons of --input go: .gpkg, .geojson or .parquet", metavar="FILE")
    parser.flag("format", "of the files in DIR/polygons/", choices=FORMATS, default=FORMATS[0])
    text = "borders may move by this many px; neighbours keep their common border, and nothing overlaps"
    parser.flag("simplify", text, type=float, default=0.0, metavar="PX")
    text = "leave out smaller polygons (px); fill_hole.py --min_area gives them to their neighbours instead"
    parser.flag("min_area", text, type=not_negative, default=0, metavar="PX")
    parser.flag("classes", "only these, by name or id (default: all but the background)", nargs="+", metavar="CLASS")
    parser.flag("background", "polygons of the background class too", action="store_true")
    text = "write GeoJSON of a map without a CRS too: x is then the column, y the row, upwards, which GIS can't know"
    parser.flag("pixels", text, action="store_true")
    gsd_flag(parser)
    legend_flag(parser)
    label_nodata_flag(parser)
    parser.pair("input", "output")
    return parser


def _print_polygons(written, legend: Legend) -> None:
    """A line per class that has polygons."""
    width = max(len(name) for name in (*legend.names, "class"))
    print(f"{'class':{width}} {'polygons':>12} {'px':>15}" + ("" if written.hectares is None else f" {'ha':>15}"))
    for land_class in legend.classes:
        if count := written.counts[land_class.id]:
            ha = "" if written.hectares is None else f" {written.hectares[land_class.id]:15,.2f}"
            print(f"{land_class.name:{width}} {count:12,d} {written.areas[land_class.id]:15,d}{ha}")
