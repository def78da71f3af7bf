"""`--dry_run`: what a command would take, as `planning/rehearsal.py` measures it, printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jingwei.cli.parser import Parser
from jingwei.cli.wording import spelled
from jingwei.planning.room import spell_bytes
from jingwei.raster.reading import Raster
from jingwei.system.machine import free_bytes
from jingwei.system.progress import spell_seconds

if TYPE_CHECKING:  # rehearsals load all stages: -h needs none
    from jingwei.planning.rehearsal import Cost, Step


def dry_run_flag(parser: Parser) -> None:
    """Adds --dry_run."""
    text = "tell sizes, windows, memory, disk and time, measured on a sample, and make nothing"
    parser.flag("dry_run", text, action="store_true")


def tell(steps: list[Step], place: Path | None) -> None:
    """Measures steps that follow each other and prints what they take. What they write goes to `place`, or nowhere."""
    costs = []
    for source, what, measure in steps:
        print(f"{source}: {_describe(source)}: {what}")
        costs.append(measure())
        _print_costs(costs[-1:], place)
    if len(steps) > 1:
        print(f"all {len(steps)}:")
        _print_costs(costs, place)
    print("dry run: nothing was made")


def _describe(path: Path) -> str:
    with Raster(path) as source:
        bands = "1 band" if source.bands == 1 else f"{source.bands} bands"
        return f"{source.width} x {source.height} px, {bands} of {source.dtype}"


def _print_costs(costs: list[Cost], place: Path | None) -> None:
    if len(costs) == 1 and costs[0].unmeasured:
        print(f"  not measured, for a sample of it can't be worked on: {spelled(str(costs[0].unmeasured))}")
    print(f"  memory {spell_bytes(max(cost.memory for cost in costs)):>10} at most")
    sizes = [cost.disk for cost in costs if cost.disk is not None]
    if place and len(sizes) == len(costs):
        disk, free = sum(sizes), free_bytes(place)
        print(f"  disk   {spell_bytes(disk):>10} about; {spell_bytes(free)} are free{': TOO LITTLE' * (disk > free)}")
    times = [cost.seconds for cost in costs if cost.seconds is not None]
    if len(times) == len(costs):
        print(f"  time   {spell_seconds(sum(times)):>10} about")
