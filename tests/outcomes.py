"""What a run left, to be compared with what another left."""

from pathlib import Path

import torch

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
