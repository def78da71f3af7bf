"""`log.csv`, a row per epoch, as it is read: by a training that goes on, and by the report."""

from pathlib import Path

from jingwei.system.own_files import number, read_table, whole


def read_log(path: Path) -> list[dict]:
    """The rows of a `log.csv`, numbers as floats, empty cells as None. No file, no rows; InputError for another one."""
    if not Path(path).exists():
        return []
    what, remedy = "is not the log of a training", "move it away: a training that goes on begins a new one"
    return read_table(path, {"epoch": whole, "*": number}, what=what, remedy=remedy)
