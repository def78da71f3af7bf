"""Progress: bars with a rate and the time left, for people at a terminal. Logs get none, and --quiet hides all."""

from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm


class Progress(tqdm):
    """tqdm's bar, shown only where the output is a terminal. Called and closed as tqdm is; `write` prints above it."""

    hidden = False  # all bars of this process
    spell: Callable[[str], str] = staticmethod(lambda text: text)  # what becomes of each text: see errors.py

    def __init__(self, *args: Any, disable: bool = False, **kwargs: Any):
        super().__init__(*args, disable=True if disable or Progress.hidden else None, **kwargs)

    @classmethod
    def write(cls, text: str, file: TextIO | None = None, **kwargs: Any) -> None:
        """tqdm's; what goes to no file of its own is good to know and no result, so hidden bars hide it too."""
        if file is not None or not cls.hidden:
            super().write(cls.spell(text), file=file, **kwargs)


def spell_seconds(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
