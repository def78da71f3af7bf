"""Majority votes over any number of label maps, strip by strip."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numba import njit
from tqdm import tqdm

from jingwei import raster
from jingwei.errors import SettingError
from jingwei.grid import Window, strips
from jingwei.legend import NODATA, Legend
from jingwei.png import PngWriter
from jingwei.streaming import ahead
from jingwei.workspace import STAMP, stamp

WEIGHT_UNIT = (
    1_000_000  # weights are counted in whole millionths, so that ties are exact and sums don't depend on order
)


def tie_ranks(ties: str, legend: Legend) -> np.ndarray:
    """The rank of each class in a tie, int64 of 256, lowest first. Equal ranks: the first voter's class wins.

    `first`: all equal. `background`: background first. `corn,1,...`: these classes first, in this order.
    """
    ranks = np.full(256, 256, np.int64)
    if ties == "background":
        if legend.background is None:
            raise SettingError(
                "--ties background", f"legend {legend.name} has no background", "name classes, or `first`"
            )
        ranks[legend.background] = 0
    elif ties != "first":
        for rank, name in enumerate(ties.split(",")):
            ranks[legend.id_of(name.strip())] = rank
    return ranks


def vote_weights(weights: list[float] | None, voters: int) -> np.ndarray:
    """Weights as int64 counts of WEIGHT_UNIT, 1 each by default. SettingError where they don't fit the voters."""
    weights = weights or [1.0] * voters
    if len(weights) != voters:
        problem = f"{len(weights)} weights for {voters} maps"
        raise SettingError("--weights", problem, "give one weight per map, in the order of --inputs")
    if not all(0 <= weight <= 1e6 for weight in weights) or max(weights) * WEIGHT_UNIT < 1:
        raise SettingError("--weights", f"{weights}", "weights are 0 to 1,000,000, one at least a millionth")
    return np.round(np.array(weights) * WEIGHT_UNIT).astype(np.int64)


@njit(cache=True, nogil=True)
def count_votes(maps, weights, ranks, labels, agreement):
    """Fills labels_HW and agreement_HW (uint8) from maps_KHW (uint8), weights (int64 of K), ranks (int64 of 256).

    NODATA abstains; where all abstain, both results are NODATA. Agreement is the winner's share of the votes cast, in
    percent.
    """
    voters, height, width = maps.shape
    for r in range(height):
        for c in range(width):
            best, best_votes, cast = np.uint8(NODATA), np.int64(0), np.int64(0)
            for k in range(voters):
                choice = maps[k, r, c]
                if choice == NODATA:
                    continue
                cast += weights[k]
                if choice == best:
                    continue
                votes = np.int64(0)
                for other in range(voters):
                    if maps[other, r, c] == choice:
                        votes += weights[other]
                if votes > best_votes or (votes == best_votes and votes > 0 and ranks[choice] < ranks[best]):
                    best, best_votes = choice, votes
            labels[r, c] = best
            agreement[r, c] = (200 * best_votes + cast) // (2 * cast) if cast > 0 else NODATA


def vote(
    inputs: list[Path],
    target: Path,
    agreement_target: Path,
    legend: Legend,
    *,
    weights: list[float] | None = None,
    ties: str = "first",
    submission: Path | None = None,
    workers: int = 1,
) -> None:
    """Majority of label maps -> `target` (labels), `agreement_target` (0 to 100) and, where wanted, the contest's PNG.

    Raises InputError where the maps differ in size, SettingError for weights and ties that make no sense.
    """
    ranks, counts = tie_ranks(ties, legend), vote_weights(weights, len(inputs))
    for path in (target, agreement_target, submission):
        if path is not None and path.resolve() in [other.resolve() for other in inputs]:
            raise SettingError(path, "is an input and an output at once", "write the result elsewhere")
    mark = stamp(*inputs, weights=counts.tolist(), ties=ties)
    with ExitStack() as stack:
        maps = [stack.enter_context(raster.open_labels(path)) for path in inputs]
        for other in maps[1:]:
            raster.check_same_size(other, maps[0])
        height, width = maps[0].shape
        common = {"like": maps[0], "nodata": NODATA, "workers": workers, "tags": {STAMP: mark}}
        writer = raster.TiledWriter(target, height, width, colormap=legend.colormap(), **common)
        writer = stack.enter_context(writer)
        agreeing = stack.enter_context(raster.TiledWriter(agreement_target, height, width, **common))
        png = stack.enter_context(PngWriter(submission, height, width)) if submission else None
        bar = tqdm(total=height * width, unit="px", unit_scale=True, desc=f"vote of {len(inputs)}", disable=None)
        with bar:
            for first, ballots in ahead(_ballots(maps)):
                labels = np.empty(ballots.shape[1:], np.uint8)
                agreement = np.empty_like(labels)
                count_votes(ballots, counts, ranks, labels, agreement)
                window = Window(first, 0, *labels.shape)
                writer.write(window, labels)
                agreeing.write(window, agreement)
                if png:
                    png.write(raster.without_nodata(labels))
                bar.update(labels.size)


def _ballots(maps: list[raster.Raster]) -> Iterator[tuple[int, np.ndarray]]:
    for first, end in strips(maps[0].height, raster.TILE):
        yield first, np.stack([m.read_label_rows(first, end) for m in maps])
