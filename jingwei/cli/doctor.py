"""Before all steps: what is in a data folder, and what it will take."""

import sys
from pathlib import Path

from jingwei.cli.command import command
from jingwei.cli.parser import Parser, drawing_flags, drawing_rules, label_nodata_flag, positive
from jingwei.cli.wording import spelled
from jingwei.planning.room import spell_bytes
from jingwei.system.machine import available_memory, free_bytes
from jingwei.system.progress import spell_seconds

MAX_LINES = 30  # scenes that are listed one by one


@command
def doctor_command() -> None:
    """Looks at a data folder before a long job. Exit code 1 where the job would fail."""
    parser = Parser("Looks at a data folder before a long job: what is in it, what is wrong, and what it will take.")
    parser.add_argument("folder", nargs="?", default="data", help="folder of scenes or samples")
    text = "jingwei, gf2, gf3 or a legend's JSON file (default: the folder's legend.json, else the contest's)"
    parser.flag("legend", text)
    label_nodata_flag(parser)
    drawing_flags(parser)
    parser.flag("model", "network family that hours are estimated for", default="deeplabv3")
    parser.flag("backbone", "its encoder (default: its usual one)")
    parser.flag("epochs", "epochs that hours are estimated for", type=positive, default=20)
    parser.flag("list", "name every file with a problem, and every scene", action="store_true")
    parser.flag("quick", "leave out the network's timing", action="store_true")
    args = parser.parse_args()
    from jingwei.planning.checkup import examine
    from jingwei.planning.findings import grouped, in_lines

    if not args.quick:  # before every pixel is read, which may take hours
        from jingwei.models.families import find_backbone, find_family

        find_backbone(getattr(args, "backbone", ""), find_family(args.model))
    checkup = examine(Path(args.folder), getattr(args, "legend", None), getattr(args, "label_nodata", None),
                      drawing_rules(args))  # fmt: skip
    _tell_scenes(checkup, len(checkup.scenes) if args.list else MAX_LINES)
    _tell_classes(checkup)
    if checkup.scenes:
        _tell_costs(checkup, args)
    grave = [finding for finding in checkup.findings if finding.grave]
    slight = [finding for finding in checkup.findings if not finding.grave]
    for title, findings in (("problems", grave), ("warnings", slight)):
        kinds = [[finding] for finding in findings] if args.list else grouped(findings)
        if findings:
            more = " (--list names every file)" if len(kinds) < len(findings) else ""
            print(f"\n{title}{more}")
            print("\n".join(f"  {spelled(in_lines(kind))}" for kind in kinds))
    if grave:
        count = len(grouped(grave))
        of_kinds = f", of {_count(count, 'kind')}," if count < len(grave) else ""
        print(f"\nverdict: NOT READY: {_count(len(grave), 'problem')}{of_kinds} to mend first")
        sys.exit(1)
    print("\nverdict: ready" + (f", with {_count(len(slight), 'warning')}" if slight else ""))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _tell_scenes(checkup, most: int) -> None:
    scenes = checkup.scenes
    megapixels = sum(scene.px for scene in scenes) / 1e6
    print(f"{checkup.layout}: {_count(len(scenes), 'scene')} that can be read, {megapixels:,.1f} Mpx")
    for scene in scenes[:most]:
        what = [scene.use or "scene", f"{scene.width} x {scene.height} px", f"{scene.bands} x {scene.dtype}"]
        what += [f"{scene.valid / scene.px:.1%} valid", "labelled" if scene.counts is not None else "no label"]
        print(f"  {scene.path.name}: {', '.join([*what, scene.crs or 'no georeference'])}")
    if len(scenes) > most:
        print(f"  and {len(scenes) - most} more (--list names all)")


def _tell_classes(checkup) -> None:
    pixels = checkup.class_pixels
    if not pixels.any():
        return
    print(f"classes of legend {checkup.legend.name}, share of {pixels.sum():,d} labelled px")
    for land_class, count in zip(checkup.legend.classes, pixels, strict=True):
        print(f"  {land_class.id} {land_class.name:20} {count / pixels.sum():8.3%}")


def _tell_costs(checkup, args) -> None:
    """Memory, disk and hours, from the sizes and from what this machine has just been measured at."""
    from jingwei.planning.outlook import Hours, Outlook

    outlook = Outlook.of(checkup)
    print("what it will take, on this machine")
    cut, predict = outlook.cut_memory, outlook.predict_memory
    needs = f"cutting {spell_bytes(cut)}, predicting {spell_bytes(predict)} and the network's own"
    print(f"  memory  {needs}{_beside(max(cut, predict), available_memory(), 'available')}")
    needs = f"crops and tiled scenes some {spell_bytes(outlook.copies)}, maps some {spell_bytes(outlook.maps)} each"
    print(f"  disk    {needs}{_beside(outlook.copies + outlook.maps, free_bytes(Path(args.folder)), 'free')}")
    print(f"  time    cutting about {spell_seconds(checkup.seconds)}, which reading all just took")
    if args.quick:
        return
    hours = Hours.of(checkup, args.model, getattr(args, "backbone", ""), args.epochs)
    training, predicting = spell_seconds(hours.training), spell_seconds(hours.predicting)
    trained = f"training {args.epochs} epochs about {training}, " if hours.training else ""
    print(f"          {trained}predicting {predicting}, by {args.model} "
          f"({hours.px_per_second / 1e6:.2f} Mpx/s forward) and plain torch; other engines predict faster")  # fmt: skip


def _beside(needed: float, there: float | None, what: str) -> str:
    """What there is of it, where that is known, and whether it is enough."""
    return f"; {spell_bytes(there)} are {what}{': TOO LITTLE' * (needed > there)}" if there else ""
