"""JSON, tables and stamps that we, or people for us, have written: read, or refused in one line, whatever is in them.

    content = read_json(path, {"stamp": str, "crops": [{"name": str, "valid": int}]}, remedy="cut the scenes again")
    rows = read_table(path, {"name": str, "valid": whole, "class_*": whole}, remedy="cut the scenes again")

What a cache of ours holds is made again where it is broken: `kept_json` and `kept_lines` give None for it. JSON that
nobody edits is written `sealed`: a digit that has changed on the disk would be read as another number.
"""

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from jingwei.errors import InputError, JingweiError

LONGEST_INT = 19  # digits: what 64 bits hold
DEEPEST = 100  # sections within sections
SEAL = "seal"
MOST_SHOWN = 40  # characters of a value in a message


class _Refused(Exception):
    """What is wrong with a file's content, in words; `remedy`, where it is known better than by the caller."""

    remedy: str | None = None


# ---- JSON ----


def read_json(
    path: Path,
    shape: Any = object,
    *,
    remedy: str,
    missing: str = "check the path",
    error: type[JingweiError] = InputError,
) -> Any:
    """The content of a JSON file, checked against a shape.

    `shape` is a type (`str`, `int | None`, `tuple[float, ...]`; `float` takes whole numbers too, `object` anything), a
    list of one shape for a list of such, or a dict: of keys and the shapes of their values, where further keys may be
    there, or of `str` and one shape for all. A mark at the file's beginning, as editors of Windows write it, is no
    matter. Numbers must be finite and whole ones fit 64 bits, a key may stand once in a section, texts must be such
    that they can be written again. Raises `error` for all else, with `remedy`; `missing` is the one for no such file.
    """
    text = read_text(path, remedy=remedy, missing=missing, error=error)
    return parse_json(text, path, shape, remedy=remedy, error=error)


def parse_json(
    text: str, where: object, shape: Any = object, *, remedy: str, error: type[JingweiError] = InputError
) -> Any:
    """The content of a JSON text, of a shape as in `read_json`; `where` says what it was in."""
    try:
        content = json.loads(
            text, object_pairs_hook=_once, parse_int=_whole, parse_float=_finite, parse_constant=_finite
        )
        _check_depth(content)
        _check_seal(content)
        _check_texts(text, content)
        problem = misfit(shape, content)
    except json.JSONDecodeError as wrong:
        problem = f"is not JSON ({wrong})"
        if "escape" in wrong.msg:
            remedy = "write paths with /, as in D:/data"
    except RecursionError:
        problem = "is nested too deep"
    except _Refused as wrong:
        problem, remedy = str(wrong), wrong.remedy or remedy
    else:
        if problem is None:
            return content
    raise error(where, problem, remedy)


def kept_json(path: Path, shape: Any = object) -> Any:
    """The content of a JSON file that we keep for ourselves, as by `read_json`; None where it is missing or broken."""
    try:
        return read_json(path, shape, remedy="")
    except InputError:
        return None


def sealed(content: dict) -> str:
    """A JSON text with a digest of its content, which reading it checks and takes off."""
    return json.dumps(content | {SEAL: _digest(content)})


def misfit(shape: Any, value: Any, where: str = "") -> str | None:
    """What keeps a value from JSON from being of a shape (see `read_json`), in words; None where it fits."""
    before = f"{where}." if where else ""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where or 'the content'} is {short(value)}, not a section {{...}}"
        if str in shape:
            shape = dict.fromkeys(value, shape[str])
        lacking = next((key for key in shape if key not in value), None)
        if lacking is not None:
            return f"has no {before}{lacking}"
        return next((p for key, inner in shape.items() if (p := misfit(inner, value[key], before + key))), None)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where or 'the content'} is {short(value)}, not a list"
        return next((p for i, each in enumerate(value) if (p := misfit(shape[0], each, f"{where}[{i}]"))), None)
    return None if is_of(shape, value) else f"{where or 'the content'} is {short(value)}, not {in_words(shape)}"


def is_of(kind: Any, value: Any) -> bool:
    """Whether a value from JSON is of a type: numbers are finite, whole ones are numbers too, lists stand for tuples.

    A tuple's types are `tuple[T, ...]` or that of each place.
    """
    if isinstance(kind, UnionType):
        return any(is_of(each, value) for each in get_args(kind))
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if not isinstance(value, list | tuple):
            return False
        if Ellipsis in inner:
            return all(is_of(inner[0], each) for each in value)
        return len(value) == len(inner) and all(map(is_of, inner, value))
    if kind in (int, float):
        if isinstance(value, int):
            return not isinstance(value, bool) and abs(value) < 10**LONGEST_INT
        return isinstance(value, kind) and math.isfinite(value)
    return isinstance(value, kind)


def in_words(kind: Any) -> str:
    """A type as a person says it."""
    if isinstance(kind, UnionType):
        return " or ".join(in_words(each) for each in get_args(kind))
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        return f"a list, each {in_words(inner[0])}" if Ellipsis in inner else f"a list of {len(inner)}"
    words = {
        bool: "true or false", int: "a whole number", float: "a number", str: "a text", NoneType: "null",
        list: "a list",
    }  # fmt: skip
    return words.get(kind, "a section {...}")


def short(value: object) -> str:
    """A value as JSON has it, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def _check_seal(content: Any) -> None:
    if isinstance(content, dict) and SEAL in content and content.pop(SEAL) != _digest(content):
        raise _Refused("has changed since it was written")


def _digest(content: dict) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _once(pairs: list[tuple[str, object]]) -> dict:
    """A section; JSON's readers would take the last of two equal keys and say nothing."""
    section = dict(pairs)
    if len(section) < len(pairs):
        names = [name for name, _ in pairs]
        refused = _Refused(f"has the key {next(name for name in names if names.count(name) > 1)} twice")
        refused.remedy = "keep one of them"
        raise refused
    return section


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > LONGEST_INT:  # Python itself refuses more than 4,300, and floats end at 309
        raise _Refused(f"has a number of {len(text.lstrip('-'))} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Refused(f"has the number {text[:MOST_SHOWN]}, which is not finite")
    return value


def _check_depth(content: Any) -> None:
    level = [content]
    for _ in range(DEEPEST):
        level = [each for each in level if isinstance(each, dict | list)]
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
        if not level:
            return
    raise RecursionError


def _check_texts(text: str, content: object) -> None:
    """Refuses halves of characters and NUL in texts: no file could be named so, and nothing printed."""
    if re.search(r"\\u(d[89a-f]|0000)", text, re.IGNORECASE):
        plain = json.dumps(content, ensure_ascii=False)
        if "\\u0000" in plain.replace(r"\\", "") or re.search("[\ud800-\udfff]", plain):
            raise _Refused("has a text with a character that can't be written")


# ---- tables ----


def read_table(
    path: Path,
    columns: Mapping[str, Callable[[str], Any]],
    *,
    what: str = "is not a table",
    remedy: str,
    missing: str = "check the path",
) -> list[dict[str, Any]]:
    """The rows of a CSV file whose first line names its columns.

    `columns` says by name what makes a cell's value of its text: `str`, `whole`, `finite`, or whatever raises
    ValueError in words. A name with a * stands for all columns of such names, of which none need be there; columns
    under no name are left out. Raises InputError, which begins with `what`, for anything but a whole table.
    """
    text = read_text(path, remedy=remedy, missing=missing)
    try:
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        names = next(rows, [])
        _check_names(names, columns)
        kinds = [next((kind for name, kind in columns.items() if fnmatchcase(each, name)), None) for each in names]
        return [_row(names, kinds, cells, rows.line_num) for cells in rows if cells]
    except csv.Error as wrong:
        problem = f"line {rows.line_num}: {wrong}"
    except _Refused as wrong:
        problem = str(wrong)
    raise InputError(path, f"{what} ({problem})", remedy)


def whole(text: str) -> int:
    """A cell's whole number. ValueError for anything else."""
    if not re.fullmatch(rf"-?[0-9]{{1,{LONGEST_INT}}}", text):
        raise ValueError("not a whole number")
    return int(text)


def finite(text: str) -> float:
    """A cell's number. ValueError for anything else."""
    value = number(text)
    if value is None or not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def number(text: str) -> float | None:
    """A cell's number, NaN and infinity too; None where it is empty. ValueError for anything else."""
    try:
        return float(text) if text else None
    except ValueError:
        raise ValueError("not a number") from None


def _check_names(names: list[str], columns: Mapping[str, object]) -> None:
    if not names:
        raise _Refused("it is empty")
    lacking = [name for name in columns if "*" not in name and name not in names]
    if lacking:
        raise _Refused(f"has no column {', '.join(lacking)}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise _Refused(f"has the column {short(twice)} twice")


def _row(names: list[str], kinds: list, cells: list[str], line: int) -> dict[str, object]:
    if len(cells) != len(names):
        raise _Refused(f"line {line} has {len(cells)} cells, not {len(names)}")
    row = {}
    for name, kind, cell in zip(names, kinds, cells, strict=True):
        if kind is not None:
            try:
                row[name] = kind(cell)
            except ValueError as wrong:
                raise _Refused(f"line {line}: {name} is {short(cell)}, {wrong}") from None
    return row


# ---- plain text ----


def read_text(
    path: Path, *, remedy: str, missing: str = "check the path", error: type[JingweiError] = InputError
) -> str:
    """The text of a UTF-8 file, without a mark at its beginning. Raises `error` for what is none."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise error(path, "no such file", missing) from None
    except OSError as wrong:
        raise error(path, f"can't be read ({wrong.strerror})", "check the path and the rights to it") from wrong
    except UnicodeDecodeError as wrong:
        raise error(path, f"is not UTF-8 text ({wrong.reason} at byte {wrong.start})", remedy) from wrong
    except ValueError as wrong:  # a NUL in the path
        raise error(path, "no such file", missing) from wrong
    if "\0" in text:
        raise error(path, "is not text: there are bytes of zero in it", remedy)
    return text


def kept_lines(path: Path, count: int) -> list[str] | None:
    """The lines of a small file that we keep for ourselves; None where it is missing or broken, or has fewer."""
    try:
        lines = read_text(path, remedy="").split("\n")
    except InputError:
        return None
    return lines if len(lines) >= count else None
