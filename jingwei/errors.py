"""The errors a user can cause. The command line prints each as one line and exits with status 2.

Every message has the same three parts: the file (or argument), what is wrong with it, and what to do about it.
`Backticks` mark arguments of this library's functions, and nothing else: the command line shows them as its flags.
Any other exception is a bug of ours and keeps its traceback.
"""

import difflib
from collections.abc import Iterable, Sequence

LONGEST = 4000  # characters of a part of a message: what a broken file takes for a name may be endless
MOST_LISTED = 8  # things that a message names


class JingweiError(Exception):
    """Base of all errors that are the input's fault, not ours: `WHERE: PROBLEM: REMEDY`, the first two on one line."""

    def __init__(self, where: object, problem: str, remedy: str):
        super().__init__(where, problem, remedy)  # as it was called: so that it can be sent from process to process

    def __str__(self) -> str:
        where, problem, remedy = (_shortened(str(part)) for part in self.args)
        return f"{' '.join(f'{where}: {problem}'.splitlines())}: {remedy}"  # a name may have line breaks in it


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


class InputError(JingweiError):
    """A scene, a label or a prediction that can't be used as it is."""


class OutputError(JingweiError):
    """An output that can't be written: a full disk, a read-only folder."""


class SettingError(JingweiError):
    """An argument, a recipe field or a legend file with a value that makes no sense."""


class CheckpointError(JingweiError):
    """A checkpoint that can't be read, or doesn't fit the data."""


class TrainingError(JingweiError):
    """A training run that can't go on: its loss is no longer a number."""


def known(names: Iterable[str], *given: str) -> str:
    """The remedy for names that are unknown: `known are a, b, c`, before it what was probably meant."""
    names = list(names)
    return f"{meant(names, given)}known are {', '.join(names) or 'none yet'}"


def meant(names: Sequence[str], given: Iterable[str]) -> str:
    """What was probably meant by names that are unknown, before a remedy: `did you mean a, b? `, or nothing."""
    by_lower = {name.lower(): name for name in reversed(names)}  # of equals the first
    alike = [by_lower[match] for name in given for match in difflib.get_close_matches(name.lower(), by_lower, 1, 0.75)]
    return f"did you mean {', '.join(dict.fromkeys(alike))}? " if alike else ""


def listed(names: Sequence[str]) -> str:
    """Names in a message, however many there are: `a, b, c`, of more than MOST_LISTED `a, b, ... and 3 more`."""
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + more
