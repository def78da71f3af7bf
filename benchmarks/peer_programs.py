"""Other programs that `peers.py` runs: those of the system, and packages in environments of their own."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path


class Absent(Exception):
    """A program that is not here, and why."""


def program(name: str) -> str:
    """The path of one of the system's programs."""
    found = shutil.which(name)
    if not found:
        raise Absent(f"{name} is not installed")
    return found


def environment(folder: Path, package: str, *needed: str) -> str:
    """Python in an environment with a package of PyPI, before all that is installed here; made in `folder`.

    The package comes alone; `needed` are those of which it takes more than is here, and come with what they need.
    """
    place = folder / package
    python = place / "bin" / "python"
    if not (place / "ready").exists():
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
        packages = next(place.glob("lib/python*/site-packages"))
        (packages / "beside.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
        for words in (["--no-deps", package], needed):
            done = subprocess.run([*pip, *words], capture_output=True, text=True) if words else None
            if done and done.returncode:
                raise Absent(f"pip can't install it: {' '.join(done.stderr.split())[-120:]}")
        (place / "ready").touch()
    return str(python)


def versions(python: str, package: str) -> str:
    """A package and its version in an environment."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return f"{package} {done.stdout.strip() or '?'}"


def gdal_version() -> str:
    """The version of the system's GDAL, `?` where there is none."""
    try:
        text = subprocess.run([program("gdalinfo"), "--version"], capture_output=True, text=True).stdout
    except Absent:
        return "?"
    return text.removeprefix("GDAL ").split(",")[0]


def named(folder: Path, package: str, *needed: str) -> str:
    """A package with its version, where it can be had."""
    try:
        return versions(environment(folder, package, *needed), package)
    except Absent:
        return package
