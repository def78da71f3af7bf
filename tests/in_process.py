"""Commands of the command line run in the process of a test."""

import sys
from collections.abc import Callable

import pytest

from jingwei.system.progress import Progress


def status_of(command: Callable[[], None], *flags: str) -> int:
    """The exit status of a command with some flags."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["program", *map(str, flags)])
        patch.setattr(Progress, "hidden", Progress.hidden)  # so that --quiet ends with the command
        try:
            command()
        except SystemExit as stopped:
            return stopped.code or 0
    return 0
