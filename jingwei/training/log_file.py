"""`log.csv`, a row per epoch: written by a training, read by one that goes on, and by the report."""

import csv
import io
from pathlib import Path

from jingwei.system.atomic import whole_or_nothing
from jingwei.system.own_files import number, read_table, whole


def write_log(path: Path, rows: list[dict]) -> None:
    """Writes the rows of a log, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with whole_or_nothing(path) as part:
        part.write_text(text.getvalue(), encoding="utf-8")


def columns(rows: list[dict]) -> list[str]:
    """The names of all values, in order; an epoch may lack some, where all its steps were left out."""
    return list(dict.fromkeys(name for row in rows for name in row))


def read_log(path: Path) -> list[dict]:
    """The rows of a `log.csv`, numbers as floats, empty cells as None. No file, no rows; InputError for another one."""
    if not Path(path).exists():
        return []
    what, remedy = "is not the log of a training", "move it away: a training that goes on begins a new one"
    return read_table(path, {"epoch": whole, "*": number}, what=what, remedy=remedy)
