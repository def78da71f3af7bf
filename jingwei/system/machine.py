"""What this machine has: cores, memory, room on its disks."""

import os
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

from jingwei.errors import SettingError

resource: ModuleType | None
try:
    import resource
except ImportError:  # Windows
    resource = None


def cores() -> int:
    """The cores that this process may use; those of a machine are shared by the processes of torchrun."""
    all_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, all_cores // team_size())


def team_size() -> int:
    """How many processes of a training torchrun has started on this machine. SettingError where it is not a number."""
    text = os.environ.get("LOCAL_WORLD_SIZE", "1")
    if not re.fullmatch("[1-9][0-9]{0,5}", text):
        remedy = "unset it, or start with torchrun, which sets it"
        raise SettingError("LOCAL_WORLD_SIZE", f"is {text!r}, not a number of processes", remedy)
    return int(text)


def free_bytes(place: Path) -> int:
    """Bytes that are free on the disk of a path, or of the folder nearest above it that exists."""
    place = place.absolute()
    return shutil.disk_usage(next(p for p in (place, *place.parents) if p.exists())).free


def own_memory() -> int:
    """The bytes that this process has held at its peak; 0 where the system doesn't say."""
    peak = _kilobytes("/proc/self/status", "VmHWM")
    if peak or resource is None:
        # Not getrusage where there is /proc: there, a process begins with the peak of the one that started it.
        return peak
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def available_memory() -> int | None:
    """The bytes that programs may still take, or all that there are; None where the system says neither."""
    available = _kilobytes("/proc/meminfo", "MemAvailable")
    if available:
        return available
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows
        return None


def _kilobytes(file: str, name: str) -> int:
    """A line such as `VmHWM: 1234 kB` of a file of Linux, in bytes; 0 where it isn't there."""
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB", Path(file).read_text(), re.MULTILINE)
    except OSError:
        return 0
    return 1024 * int(found[1]) if found else 0
