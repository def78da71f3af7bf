"""What is good to know of files of labels."""

from pathlib import Path
from typing import NamedTuple


class Note(NamedTuple):
    """Something about a file that people should know, though work goes on: as an error has it, in three parts."""

    where: Path
    problem: str
    remedy: str

    def __str__(self) -> str:
        return ": ".join(map(str, self))
