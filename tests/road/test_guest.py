"""A good guest: to import any module changes nothing in the process, and runs where modules of Unix are missing."""

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from jingwei.grid import Window
from jingwei.raster.png import write_png
from jingwei.raster.reading import Raster

PACKAGE = Path(__file__).resolve().parents[2] / "jingwei"
MODULES = sorted(
    ".".join(("jingwei", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py"
)
# What a process looks like, after the third parties were imported alone, and after our modules.
STATE = """
import json, locale, logging, os, signal, socket, sys, warnings

def state():
    import cv2, matplotlib, torch
    from rasterio._env import get_gdal_config
    loggers = {name: [each.level, each.propagate, len(each.handlers), each.disabled]
               for name, each in logging.root.manager.loggerDict.items() if isinstance(each, logging.Logger)}
    found = {
        "environment": dict(os.environ),
        "warning filters": [str(entry) for entry in warnings.filters],
        "root logger": [logging.root.level, len(logging.root.handlers)],
        "matplotlib": [matplotlib.get_backend(auto_select=False),
                       {name: str(matplotlib.rcParams[name]) for name in matplotlib.rcParams if name != "backend"}],
        "opencv threads": cv2.getNumThreads(),
        "torch": [torch.get_num_threads(), str(torch.get_default_dtype()), torch.is_grad_enabled(),
                  torch.backends.cudnn.benchmark],
        "gdal": [get_gdal_config(name) for name in ("GDAL_CACHEMAX", "CPL_LOG", "GDAL_PNG_WHOLE_IMAGE_OPTIM")],
        "hooks": [str(hook) for hook in (sys.excepthook, sys.unraisablehook, sys.displayhook)],
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "streams": [str(type(stream)) for stream in (sys.stdout, sys.stderr)],
        "placeholders": sorted(name for name, module in sys.modules.items() if module is None),
        "working folder": os.getcwd(), "path": list(sys.path), "locale": list(locale.getlocale()),
        "timeout": socket.getdefaulttimeout(), "recursion": sys.getrecursionlimit(),
    }
    return json.loads(json.dumps(found, default=str)), loggers
"""
ALONE = """
import sys
for name in sys.argv[1].split():
    try:
        __import__(name)
    except ImportError:
        pass
"""
THEN = """
before, loggers_before = state()
for name in sys.argv[2].split():
    __import__(name)
after, loggers_after = state()
changed = {name: [before[name], after[name]] for name in before if before[name] != after[name]}
for name, kept in loggers_before.items():
    if loggers_after[name] != kept:
        changed[f"logger {name}"] = [kept, loggers_after[name]]
for name, now in loggers_after.items():
    if name not in loggers_before and name.startswith("jingwei") and now != [0, True, 0, False]:
        changed[f"logger {name}"] = ["not there", now]
print(json.dumps(changed))
"""
# All that our modules import of others, so that what these do by themselves is done before. torchvision, timm and smp
# come by models.libraries: without its remedy for mixed wheels, the only thing that it does, they may not come at all.
THIRD_PARTIES = (
    "numpy cv2 numba rasterio rasterio.shutil rasterio.warp rasterio.io rasterio.vrt pyogrio pyogrio.raw shapely isal "
    "isal.isal_zlib zstandard tqdm filelock matplotlib matplotlib.figure torch torch.utils.tensorboard "
    "torch.distributed jingwei.models.libraries timm segmentation_models_pytorch torch.nn.parallel"
)


def fresh(code: str, *arguments: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_to_import_any_module_changes_nothing():
    assert len(MODULES) > 100
    assert json.loads(fresh(STATE + ALONE + THEN, THIRD_PARTIES, " ".join(MODULES))) == {}


def test_the_comparison_would_see_a_change():
    changes = "import os, warnings, cv2, logging; os.environ['X'] = '1'; warnings.simplefilter('ignore'); "
    changes += "cv2.setNumThreads(1); logging.getLogger('rasterio').setLevel(5)"
    code = STATE + ALONE + THEN.replace("    __import__(name)\nafter", f"    exec({changes!r})\nafter")
    found = json.loads(fresh(code, "cv2 rasterio torch matplotlib", "jingwei"))
    assert {"environment", "warning filters", "opencv threads", "logger rasterio"} <= set(found)


# ---- where modules of Unix are missing ----

HIDDEN = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in NAMES:
            frame = sys._getframe(1)
            while frame is not None:
                asking = frame.f_globals.get("__name__", "")
                if asking.startswith("jingwei"):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
                if not asking.startswith(("importlib", "_frozen")):
                    return None  # others know what they need
                frame = frame.f_back
        return None

NAMES = ("resource", "fcntl", "pwd", "grp", "termios", "readline", "posix", "syslog")
for name in NAMES:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Hidden())
for name in sys.argv[1].split():
    __import__(name)
from jingwei.system.machine import own_memory
assert own_memory() > 0 or sys.platform != "linux"
print("imported")
"""


def test_every_module_is_imported_where_those_of_unix_are_missing():
    assert fresh(HIDDEN, " ".join(MODULES)).strip() == "imported"


def test_hidden_modules_are_hidden_from_ours_alone():
    code = HIDDEN.replace("from jingwei.system.machine import own_memory\nassert own_memory() > 0", "assert True")
    with pytest.raises(AssertionError, match="No module named 'resource'"):
        fresh(code.replace("for name in sys.argv[1].split():\n    __import__(name)",
                           "exec(compile('import resource', 'x', 'exec'), {'__name__': 'jingwei.x'})"))  # fmt: skip


LIKE_WINDOWS = """
import mmap, os, signal, sys, tempfile
for name in sys.argv[2].split():
    __import__(name)
for module, names in ((signal, "SIGHUP SIGKILL SIGPIPE SIGUSR1 SIGALRM"), (mmap, "MADV_DONTNEED"),
                      (os, "sched_getaffinity sysconf getuid geteuid getgid fork getpgid killpg uname statvfs")):
    for name in names.split():
        delattr(module, name)
"""


def test_what_the_modules_of_windows_lack_is_not_needed():
    """Names that signal, os and mmap don't have there: as third parties may need them, these are imported before."""
    code = LIKE_WINDOWS + HIDDEN.replace(
        "from jingwei.system.machine import own_memory\n",
        """
from jingwei.system.interrupts import Interrupts
from jingwei.system.machine import available_memory, cores, own_memory
from jingwei.system.spill import Table
with Interrupts() as interrupts, Table(None) as table:
    table.grow(1 << 20)
    table.passed(1 << 27)
    assert not interrupts.asked
assert cores() >= 1
assert available_memory() is None or available_memory() > 0
""",
    )
    assert fresh(code, " ".join(MODULES), THIRD_PARTIES).strip() == "imported"


# ---- while we work, and after ----


def test_reading_leaves_cache_filters_loggers_and_hooks_as_they_were(tmp_path):
    from rasterio._env import get_gdal_config

    write_png(tmp_path / "a.png", np.zeros((90, 80), np.uint16))
    logger = logging.getLogger("rasterio")

    def state():
        return get_gdal_config("GDAL_CACHEMAX"), list(warnings.filters), logger.level, logger.propagate, sys.excepthook

    before = state()
    with Raster(tmp_path / "a.png") as raster:
        assert get_gdal_config("GDAL_CACHEMAX") <= 96 << 20
        raster.read(Window(0, 0, 90, 80))
    assert state() == before


def test_the_users_own_cache_size_stays(tmp_path):
    write_png(tmp_path / "a.png", np.zeros((9, 8), np.uint8))
    code = "import os, sys; os.environ['GDAL_CACHEMAX'] = '300'; from rasterio._env import get_gdal_config; "
    code += (
        "from jingwei.raster.reading import Raster\nwith Raster(sys.argv[1]): print(get_gdal_config('GDAL_CACHEMAX'))"
    )
    assert int(fresh(code, str(tmp_path / "a.png"))) == 300 << 20


def test_a_users_log_shows_no_more_of_rasterio_than_before(tmp_path, caplog):
    write_png(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (300, 200, 3), np.uint8))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40000])
    from jingwei.errors import InputError

    with caplog.at_level(logging.NOTSET):
        logging.getLogger("rasterio").setLevel(logging.WARNING)
        with pytest.raises(InputError), Raster(tmp_path / "b.png") as raster:
            raster.read(Window(0, 0, 300, 200))
        logging.getLogger("rasterio").setLevel(logging.NOTSET)
    assert not [record for record in caplog.records if record.levelno < logging.WARNING and "rasterio" in record.name]


@pytest.mark.parametrize("rows", [1, 299, 300])
def test_a_png_without_its_end_is_never_read_in_silence(tmp_path, rows):
    """GDAL's shortcut for whole pictures gives wrong pixels: on this thread and on another."""
    from concurrent.futures import ThreadPoolExecutor

    from jingwei.errors import InputError

    write_png(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (300, 200, 3), np.uint8))
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])

    def read():
        with Raster(tmp_path / "b.png") as raster:
            return raster.read(Window(300 - rows, 0, rows, 200))

    with pytest.raises(InputError, match="broken or truncated"):
        read()
    with ThreadPoolExecutor(1) as pool, pytest.raises(InputError, match="broken or truncated"):
        pool.submit(read).result()
