"""Stages in this process, given a broken file: what came of it, and whether that is right.

Every stage of the file's subject must

* end with status 0 and make what the subject's rule says, or
* end with status 2 and one line that begins with `error: `, and leave nothing (inference.py, which goes on with the
  other samples: status 1).

Rules: SAME - what the unbroken file gives: for PNGs, which have checksums, and for all rasters, records and checkpoints
that we write. CONTENT - what rasterio by itself reads of the broken file: other people's TIFFs and VRTs have no
checksum, so a changed pixel is a pixel. ANY - text and vectors that people edit: another number is another number.

For `test_fuzz.py`, and at length for `benchmarks/fuzz.py` and `benchmarks/bit_flips.py`.
"""

import io
import json
import os
import runpy
import shutil
import signal
import sys
import traceback
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from subjects import ANY, CONTENT, NET, SAME, SUBJECTS, Subject, write_inputs

from jingwei.cli.command import command
from jingwei.configs.config import read_config
from jingwei.raster.gdal import PNG_OPTIONS

ROOT = Path(__file__).resolve().parents[2]
# What would train for hours where a number has become larger is only read.
READERS = {"read_config": lambda path: print(read_config(path)) or None}
# What makes the rest of the workspace.
ROAD = ("generate_train_data.py --data_dir {} --crop_size 64", "generate_test_data.py --data_dir {}",
        f"predict.py --data_dir {{}} --probabilities {NET}", "report.py --data_dir {}")  # fmt: skip


class Base(NamedTuple):
    """A workspace, and what each subject's stages leave and print there; filled when a subject is first asked for."""

    root: Path
    left: dict[str, dict]
    printed: dict[str, list[str]]


def make_base(root: Path, height: int = 150, width: int = 130) -> Base:
    """A workspace with files of all kinds, those that stages make made by them."""
    write_inputs(root, height, width)
    for line in ROAD:
        outcome = run(line, root)
        assert outcome.status == 0, outcome
    return Base(root, {}, {})


class Outcome(NamedTuple):
    """How a stage ended, and what it said."""

    status: int | str
    out: str
    err: str


def run(line: str, folder: Path, seconds: int = 60) -> Outcome:
    """Runs a root script in this process. The status of what nobody caught is the traceback's last line."""
    script, *arguments = line.format(*[folder] * line.count("{}")).split(" ")
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors="surrogateescape") for _ in range(2))
    argv, sys.argv = sys.argv, [script, *arguments]
    status = 0
    try:
        with redirect_stdout(out), redirect_stderr(err), _at_most(seconds):
            if script in READERS:
                command(READERS[script])(*arguments)
            else:
                runpy.run_path(str(ROOT / script), run_name="__main__")
    except SystemExit as stopped:
        status = stopped.code or 0
    except BaseException as error:
        trace = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in trace if "jingwei" in frame.filename]
        place = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
        status = f"{type(error).__name__}: {str(error)[:150]}{place}"
    finally:
        sys.argv = argv
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8", "replace"))
    return Outcome(status, *texts)


@contextmanager
def _at_most(seconds: int):
    def stop(*_):
        raise TimeoutError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _left_by(subject: Subject, folder: Path) -> dict[str, object]:
    """What a subject's stages have left: pixels of rasters, where they lie, and bytes of all else."""
    found = {}
    for pattern in subject.results:
        for path in sorted(folder.glob(pattern)):
            hidden = any(name.startswith(".") for name in path.relative_to(folder).parts)
            if path.is_dir() or (hidden and ".parts" not in pattern):  # bands of a run that was stopped
                continue
            if path.suffix == ".tif":
                found[str(path.relative_to(folder))] = _content(path)
            elif path.suffix == ".geojson":  # but for its stamp, which knows its source's size
                found[str(path.relative_to(folder))] = json.loads(path.read_bytes())["features"]
            else:  # a report names the folder that it is about
                found[str(path.relative_to(folder))] = path.read_bytes().replace(os.fsencode(folder), b"{}")
    return found


def _content(path: Path) -> tuple:
    """(transform, CRS, mask, valid pixels) of a raster, all read at once, as rasterio reads it by itself.

    Of a PNG row by row, as libpng does: GDAL's shortcut refuses some that libpng and Pillow read alike.
    """
    with rasterio.Env(**PNG_OPTIONS), rasterio.open(path) as source:
        mask = source.dataset_mask() > 0
        bands = [i for i, color in enumerate(source.colorinterp, 1) if color != ColorInterp.alpha]  # that is the mask
        pixels = np.where(mask, source.read(bands), 0)
        return tuple(source.transform), source.crs, mask.tobytes(), pixels.shape, pixels.dtype.str, pixels.tobytes()


class Verdict(NamedTuple):
    """What came of a changed file: `as it was`, `refused`, `changed` (where its rule allows that) or `fault`."""

    word: str
    fault: str | None = None


def content_of(base: Base, name: str) -> bytes:
    """A subject's file as it is."""
    (path,) = base.root.glob(SUBJECTS[name].file)
    return path.read_bytes()


def judge(base: Base, name: str, data: bytes, folder: Path) -> Verdict:
    """Gives all stages of a subject a file with other content, in a copy of the workspace."""
    subject = SUBJECTS[name]
    if name not in base.left:
        look(base, name, folder)
    path = _prepared(base, subject, folder)
    try:
        before = path.stat()
        path.write_bytes(data)
        # A disk that breaks a file changes no date: nothing may be taken for up to date that is not.
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return _judged(subject, folder, path, base.left[name], base.printed[name])
    finally:
        shutil.rmtree(folder)


def _prepared(base: Base, subject: Subject, folder: Path) -> Path:
    """A copy of the workspace without what a subject's stages may not find; the subject's file in it."""
    shutil.copytree(base.root, folder)  # with the dates of files, which stamps know
    for each in subject.fresh:
        shutil.rmtree(folder / each)
    (path,) = folder.glob(subject.file)
    return path


def look(base: Base, name: str, folder: Path) -> None:
    """Runs a subject's stages with the file as it is, and keeps what they make of it."""
    subject = SUBJECTS[name]
    _prepared(base, subject, folder)
    outcomes = [run(stage, folder) for stage in subject.stages]
    assert all(outcome.status == 0 for outcome in outcomes), (name, outcomes)
    base.printed[name] = [_told(outcome, folder) for outcome in outcomes]
    base.left[name] = _left_by(subject, folder)
    assert base.left[name] or not subject.results, name
    shutil.rmtree(folder)


def _told(outcome: Outcome, folder: Path) -> str:
    """What a stage printed, but for times and its folder."""
    lines = outcome.out.replace(str(folder), "{}").splitlines()
    return "\n".join(line for line in lines if not line.startswith(("done in", "made", "kept")))


def _judged(subject: Subject, folder: Path, path: Path, expected: dict, printed: list[str]) -> Verdict:
    outcomes = [run(stage, folder) for stage in subject.stages]
    refused = any(outcome.status != 0 for outcome in outcomes)
    for stage, outcome, told in zip(subject.stages, outcomes, printed, strict=True):
        fault = _misbehaves(outcome, stage.startswith("inference.py"))
        if fault is None and outcome.status == 0 and subject.rule == SAME and _told(outcome, folder) != told:
            fault = f"prints something else: {_told(outcome, folder)[:200]!r}"
        if fault:
            return Verdict("fault", f"{stage.split()[0]} {fault}")
    begun = [p.name for p in folder.rglob(".*") if p.suffix in (".part", ".lock")]
    if begun:
        return Verdict("fault", f"half-done files are left: {', '.join(begun)}")
    if subject.rule == ANY:
        return Verdict("refused" if refused else "changed")
    left = _left_by(subject, folder)
    others = [key for key, content in left.items() if expected.get(key) != content]
    if subject.rule == CONTENT and others and not refused:
        try:
            truth = _content(path)
        except Exception as error:  # whatever rasterio raises
            return Verdict("fault", f"is read, where GDAL says {str(error)[:100]!r}")
        return Verdict("changed", None if all(left[key] == truth for key in others) else "other pixels than GDAL reads")
    if others:
        return Verdict("fault", f"another {others[0]} {'though it was refused' if refused else 'with status 0'}")
    if not refused and left.keys() != expected.keys():
        return Verdict("fault", f"status 0 without {', '.join(expected.keys() - left.keys())}")
    return Verdict("refused" if refused else "as it was")


def _misbehaves(outcome: Outcome, goes_on: bool) -> str | None:
    """What is wrong with how a stage ended, whatever it has made."""
    lines = outcome.err.strip().splitlines() or [""]
    if outcome.status not in (0, 1, 2) or outcome.status == 1 and not goes_on:
        return f"ends with {outcome.status}"
    if "Traceback" in outcome.err:
        return f"prints a traceback: {lines[-1]}"
    while lines[1:] and lines[-1].startswith("  * "):  # several problems of one file, as those of a config
        lines.pop()
    if outcome.status == 2 and not lines[-1].startswith("error: "):
        return f"ends with status 2 and no line of its own: {outcome.err[-200:]!r}"
    return None
