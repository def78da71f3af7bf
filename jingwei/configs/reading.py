"""Sections of JSON content as objects, and a list of all that is wrong with them."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, get_args

from jingwei.errors import SettingError, known
from jingwei.system.own_files import in_words, is_of, short

T = TypeVar("T")


class Reading:
    """Reads a file's content and notes all that is wrong; what is wrong is replaced by its default."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def section(self, kind: Any, content: Any, where: str = "") -> Any:
        """A section of the file as an object of its kind."""
        if not isinstance(content, dict):
            self.problems.append(f"{where or 'the file'} is {short(content)}, not a section {{...}}")
            return kind()
        before = f"{where}." if where else ""
        names = [each.name for each in fields(kind)]
        for key in content:
            if key not in names:
                self.problems.append(f"{before}{key} is not a key: {known(names, key)}")
        values = {}
        for each in fields(kind):
            key, inner = f"{before}{each.name}", _section_kind(each.type)
            if each.name not in content:
                if each.metadata.get("required"):
                    self.problems.append(f"{key} is missing ({each.metadata['help']})")
                if is_dataclass(each.type):
                    values[each.name] = self.section(each.type, {}, key)
                continue
            value = content[each.name]
            if inner and (value is not None or is_dataclass(each.type)):
                values[each.name] = self.section(inner, value, key)
            elif value == "" and each.metadata.get("required"):
                self.problems.append(f"{key} is empty ({each.metadata['help']})")
            elif is_of(each.type, value):
                values[each.name] = tuple(value) if isinstance(value, list) else value
            else:
                self.problems.append(f"{key} is {short(value)}, not {in_words(each.type)}")
        return kind(**values)

    @contextlib.contextmanager
    def noting(self, key: str) -> Iterator[None]:
        """Notes a SettingError as a problem of a key."""
        try:
            yield
        except SettingError as error:
            _, problem, remedy = error.args
            self.problems.append(f"{key}: {problem}, {remedy}")

    def at_least(self, key: str, number: float | None, least: int) -> None:
        """Notes a number that is too small; None is none."""
        if number is not None and number < least:
            self.problems.append(f"{key} is {number}, below {least}")

    def choice(self, key: str, value: str, choices: Mapping[str, T]) -> T | None:
        """The entry of a dict of choices that a value names; None, and a problem, where it is not one of them."""
        if value and value not in choices:  # an empty one is missing, and was noted
            self.problems.append(f"{key} is {short(value)}: {known(choices, value)}")
        return choices.get(value)


def _section_kind(kind: Any) -> Any:
    """The class of a section, of one that may be null too; None for what is not a section."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    return next((each for each in kinds if is_dataclass(each)), None)
