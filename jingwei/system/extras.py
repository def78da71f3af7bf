"""Optional packages, and what installs them: from a clone, or where the package came from a wheel."""

import re
import shlex
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

DISTRIBUTION = "jingwei-maps"  # `jingwei` on the public index is somebody else's package
CLONE = Path(__file__).resolve().parents[2]  # where the package lies: a clone, or the environment's packages


def install_hint(extra: str) -> str:
    """What installs an extra of pyproject.toml: for the remedy of an error."""
    if (CLONE / "pyproject.toml").is_file():
        return f"run pip install -e '.[{extra}]'"
    try:
        requirements = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        requirements = []
    belongs = re.compile(rf"extra == ['\"]{extra}['\"]")
    packages = [line.partition(";")[0].strip() for line in requirements if belongs.search(line)]
    return f"run pip install {shlex.join(packages)}" if packages else f"install the extra {extra}: see docs/install.md"
