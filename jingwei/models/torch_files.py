"""Files that torch.save wrote: read without running code, and with their checksums checked, which torch does not do."""

import math
import textwrap
import zipfile
from pathlib import Path

import torch

from jingwei.errors import CheckpointError

MOST_SAID = 160  # characters of a library's own words in a message
AGAIN = "copy it again or train again"
FOLDER = 0x10  # the mark of a folder, among the attributes of a zip's entry


def read_torch_file(path: Path):
    """What torch.save wrote, tensors and plain values only: code in the file is refused, never run."""
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(path, "is a folder", "name a checkpoint in it, such as best.pth or best.pt")
    if not path.is_file():
        raise CheckpointError(path, "no such file", "check the path, or train first")
    try:
        with open(path, "rb") as file:
            head = file.read(2)
    except OSError as error:
        raise CheckpointError(path, f"can't be read ({error.strerror})", "check the file's rights and disk") from error
    if not head.startswith((b"PK", b"\x80")):  # torch.save writes a zip, long ago a pickle; torch takes text for code
        problem = "is not a checkpoint file" if head else "is not a checkpoint file, but empty"
        raise CheckpointError(path, problem, "give one that train.py or torch.save wrote")
    if head == b"PK":
        _check_sums(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if "weights_only" in str(error) or "Unsupported" in str(error):
            problem = "carries code, not only tensors, and was not opened"
            raise CheckpointError(path, problem, "save its state_dict() alone where you trust it") from error
        raise _unreadable(path, error) from error


def _check_sums(path: Path) -> None:
    """CheckpointError where a byte in a zip is not the one that was written: torch reads on, and has other weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            # torch takes a file with a folder's mark for empty, and its tensor for whatever lay in memory.
            folder = next((info.filename for info in archive.infolist() if info.external_attr & FOLDER), None)
            broken = folder or archive.testzip()
    except Exception as error:  # a broken directory has many ways to fail
        raise _unreadable(path, error) from error
    if broken is not None:
        raise CheckpointError(path, f"is damaged: the checksum of {broken} in it is wrong", AGAIN)


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(path, f"is not a checkpoint file, or cut off ({first_line(error)})", AGAIN)


def check_finite(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """CheckpointError where a tensor holds NaN, infinity or a negative variance, or is sparse, complex and the like."""
    for name, tensor in tensors.items():
        try:
            finite = not tensor.is_floating_point() or _is_finite(tensor)
            plain = tensor.layout is torch.strided and not tensor.is_complex() and not tensor.is_quantized
        except RuntimeError:  # a type that can't be added up
            plain = False
        if not plain:
            raise CheckpointError(path, f"holds tensors that are not plain weights ({name})", "take another file")
        if not finite:
            raise CheckpointError(path, f"holds weights that are not finite ({name})", "take another, or train again")
        if name.endswith("running_var") and bool((tensor < 0).any()):  # its root is not a number
            raise CheckpointError(path, f"holds a variance below 0 ({name})", "take another, or train again")


def _is_finite(tensor: torch.Tensor) -> bool:
    # A sum takes a tenth of the time; it may overflow where all values are finite.
    return math.isfinite(float(tensor.sum())) or bool(tensor.isfinite().all())


def first_line(error: Exception) -> str:
    """The first line of what a library says, cut between words where it is long; else the error's kind."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return textwrap.shorten(lines[0], MOST_SAID, placeholder=" ...")
