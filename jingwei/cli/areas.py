"""The part of evaluate.py that needs no labels: areas of classes and zones, and samples for people to label."""

import argparse
import json
from pathlib import Path

from jingwei.cli.parser import Parser, gsd_flag, not_negative, positive, warn_of_earlier_fill
from jingwei.cli.wording import command_line, say
from jingwei.errors import InputError, SettingError
from jingwei.legend import Legend
from jingwei.workspace import Workspace, confidence_of


def area_flags(parser: Parser) -> None:
    """Adds the flags of areas and samples to evaluate.py."""
    text = "tell the area of each class instead: of --prediction, or of each scene's final map"
    parser.flag("areas", text, action="store_true")
    gsd_flag(parser)
    text = "tell the areas in each zone of a vector file too (districts, farms): any format that GDAL reads"
    parser.flag("zones", text, metavar="FILE")
    parser.flag("zone_name", "field with the zones' names (default: name, or the first text field)", metavar="FIELD")
    text = "draw this many points of each map, by class, for people to label: DIR/sample/image_N.gpkg, or --sample_file"
    parser.flag("sample", text, type=positive, metavar="N")
    parser.flag("seed", "of --sample", type=not_negative, default=0)
    text = "a labelled sample to score: accuracy and areas with 95 % intervals; with --sample, where it goes"
    parser.flag("sample_file", text, metavar="FILE")
    text = "with a labelled sample: certify the surest part of the map of which at most this share is wrong"
    parser.flag("alpha", text, type=float, default=0.05)
    text = (
        "how sure the map is, 0 to 100, for --alpha (default: the one beside it, confidence/MAP.tif, if there is one)"
    )
    parser.flag("confidence", text, metavar="FILE")
    parser.flag("other", "compare another map with this one on the labelled sample", metavar="MAP")


def asks_for_areas(args: argparse.Namespace) -> bool:
    """Whether evaluate.py is to tell areas, or to draw or score a sample, and not to compare maps with labels."""
    return args.areas or any(flag in args for flag in ("zones", "sample", "sample_file"))


def tell_areas(args: argparse.Namespace, workspace: Workspace, legend: Legend) -> str | None:
    """Does what `asks_for_areas` has found, and returns what is next."""
    if "label" in args or args.dry_run:
        flag = "--label" if "label" in args else "--dry_run"
        raise SettingError(flag, "goes with scores, not with areas or samples", "leave it out, or ask for scores alone")
    if "sample" in args:
        return _draw(args, workspace, legend)
    return (_score if "sample_file" in args else _measure)(args, workspace, legend)


def _maps(args: argparse.Namespace, workspace: Workspace) -> dict[str, Path]:
    """Name -> the map that was asked for, or the final map of each scene."""
    if "prediction" in args:
        return {Path(args.prediction).stem: Path(args.prediction)}
    scenes = workspace.cut_scenes()
    warn_of_earlier_fill(workspace, scenes)
    return {scene.name: workspace.final_map(scene) for scene in scenes}


def _measure(args: argparse.Namespace, workspace: Workspace, legend: Legend) -> None:
    from jingwei.evaluation.areas import area_numbers, area_table, measure_areas
    from jingwei.evaluation.zones import refuse_zones_elsewhere

    content, touched, tables = {}, {}, []
    zones = Path(args.zones) if "zones" in args else None
    for name, source in _maps(args, workspace).items():
        gsd, zone_field = getattr(args, "gsd", None), getattr(args, "zone_name", None)
        whole, by_zone = measure_areas(source, legend, gsd=gsd, zones=zones, zone_field=zone_field)
        content[name] = area_numbers(whole, legend) | {"map": str(source)}
        if zones:
            content[name]["zones"] = {zone: area_numbers(areas, legend) for zone, areas in by_zone.items()}
            touched[source] = any(areas.pixels.sum() + areas.nodata for areas in by_zone.values())
        tables.append(f"{source}\n{area_table([(name, whole), *by_zone.items()], legend)}")
        if not args.json and (not zones or any(touched.values())):
            print("\n".join(tables))
            tables.clear()
    if zones:
        refuse_zones_elsewhere(zones, touched)
    if args.json:
        print(json.dumps(content, indent=1, ensure_ascii=False))


def _draw(args: argparse.Namespace, workspace: Workspace, legend: Legend) -> str:
    from jingwei.evaluation.sampling_design import draw_sample

    if "sample_file" in args and "prediction" not in args:
        raise SettingError("--sample_file", "is one file, but every scene gets a sample", "give --prediction too")
    for name, source in _maps(args, workspace).items():
        target = Path(args.sample_file) if "sample_file" in args else workspace.sample(name)
        shares = draw_sample(source, target, legend, args.sample, seed=args.seed)
        listed = ", ".join(f"{shares[c.id]} {c.name}" for c in legend.classes if shares[c.id])
        say(f"written: {target} ({shares.sum()} points: {listed})")
    then = command_line("evaluate.py", "--sample_file", "FILE")
    return f"write a class into the field `label` of each point, then {then}"


def _score(args: argparse.Namespace, workspace: Workspace, legend: Legend) -> None:
    from jingwei.evaluation.sampling_design import accuracy_numbers, accuracy_table, score_sample
    from jingwei.evaluation.statement import state, statement_numbers, statement_table

    sample, maps = Path(args.sample_file), _maps(args, workspace)
    source = maps[next(iter(maps))] if "prediction" in args else maps.get(sample.stem)
    if source is None:
        raise InputError(sample, f"is not named like a scene ({', '.join(maps)})", "name its map with --prediction")
    scored = score_sample(sample, source, legend, gsd=getattr(args, "gsd", None))
    other = Path(args.other) if "other" in args else None
    statement = state(scored, source, legend, args.alpha, confidence=_confidence(args, workspace, source), other=other)
    if args.json:
        numbers = accuracy_numbers(scored, legend) | statement_numbers(statement, legend)
        print(json.dumps(numbers, indent=1, ensure_ascii=False))
    else:
        told = [accuracy_table(scored, legend), statement_table(statement, legend, other)]
        print("\n".join([f"{source} by {sample}", *told]))


def _confidence(args: argparse.Namespace, workspace: Workspace, source: Path) -> Path | None:
    """How sure a map is: the file named, the one beside it, or, of a scene's final map, that of what was filled."""
    if "confidence" in args:
        return Path(args.confidence)
    if confidence_of(source).exists():
        return confidence_of(source)
    scenes = [] if "prediction" in args else workspace.cut_scenes()
    return next((workspace.confidence(scene) for scene in scenes if workspace.final_map(scene) == source), None)
