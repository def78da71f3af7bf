"""What a run left, to be compared with what another left."""

import functools
from pathlib import Path

import torch

from jingwei.models.checkpoints import Checkpoint, load_checkpoint
from jingwei.training.log_file import read_log


def same(one, two) -> bool:
    """Whether two nested contents are equal, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two


def rows_of(folder: Path) -> list[dict]:
    """The log without what depends on the clock."""
    clock = ("windows_per_s", "seconds")
    return [{k: v for k, v in row.items() if k not in clock} for row in read_log(folder / "log.csv")]


def kept_files(folder: Path) -> dict[str, bytes]:
    """The files that mean something: all but TensorBoard's."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith("events")}


def assert_same_result(folder: Path, other: Path) -> None:
    """Both runs ended with the same weights, optimizer, scores and log."""
    assert rows_of(folder) == rows_of(other)
    for name in ("last.pt", "best.pt"):
        ours, theirs = load_checkpoint(folder / name), _loaded(other / name, (other / name).stat().st_mtime_ns)
        assert same(dict(ours.weights), dict(theirs.weights)), f"the weights of {name} differ"
        assert same(ours.training, theirs.training), f"the optimizer state of {name} differs"
        assert ours.scores == theirs.scores


@functools.lru_cache(maxsize=2)
def _loaded(path: Path, mtime_ns: int) -> Checkpoint:
    """A checkpoint that many others are compared with, read once."""
    return load_checkpoint(path)
