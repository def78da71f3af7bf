"""Which sample scenes of a folder we made, and with which settings."""

import hashlib
import json
from pathlib import Path
from typing import Any

from jingwei.errors import OutputError
from jingwei.inputs.scenes import SCENE_TYPES
from jingwei.system.atomic import whole_or_nothing
from jingwei.system.own_files import read_json

NO_DRAWING = ("manifest", "county_sample", "gf_sample")  # modules that change no pixel


def landscape_digest() -> str:
    """A hash of the code that draws: scenes of other code are other scenes."""
    sources = sorted(path for path in Path(__file__).parent.glob("*.py") if path.stem not in NO_DRAWING)
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


class Manifest:
    """`sample.json`: which files of the folder we made, and with which settings. Guards a user's own scenes.

    OutputError where a file is in the folder's place.
    """

    def __init__(self, root: Path):
        self.root, self.path = root, root / "sample.json"
        self._files: dict[str, dict] = {}
        if root.exists() and not root.is_dir():
            raise OutputError(root, "is a file, not a folder", "name another place: `data_dir`")
        if self.path.exists():
            how: dict[str, Any] = {"remedy": "delete it with the samples beside it", "error": OutputError}
            self._files = read_json(self.path, {str: {"settings": object, "bytes": int | None}}, **how)

    def refuse_foreign_scenes(self, *patterns: str) -> None:
        """Raises OutputError where the patterns find scenes of someone else: samples never mix with real data."""
        for pattern in patterns:
            for path in sorted(self.root.glob(pattern)):
                if path.suffix.lower() in SCENE_TYPES and not self._is_ours(path):
                    raise OutputError(path, "is not a sample of ours", "make the samples elsewhere: `data_dir`")

    def has(self, name: str, settings: dict) -> bool:
        """Whether a file is there, complete, and made with these settings."""
        entry, path = self._files.get(name), self.root / name
        return (
            entry is not None
            and entry["settings"] == settings
            and path.exists()
            and path.stat().st_size == entry["bytes"]
        )

    def keep_only(self, names: set[str]) -> None:
        """Deletes our files of other names: a smaller sample must not mix with what is left of a larger one."""
        for name in self._files.keys() - names:
            (self.root / name).unlink(missing_ok=True)
        self._files = {name: entry for name, entry in self._files.items() if name in names}
        self._write()

    def begin(self, *names: str) -> None:
        """Claims files before they are written: one that a killed run leaves behind is still known as ours."""
        self._files |= {name: {"settings": None, "bytes": None} for name in names}
        self._write()

    def finish(self, settings: dict, *names: str) -> None:
        """Notes files as complete."""
        sizes = {name: (self.root / name).stat().st_size for name in names}
        self._files |= {name: {"settings": settings, "bytes": size} for name, size in sizes.items()}
        self._write()

    def _is_ours(self, path: Path) -> bool:
        entry = self._files.get(path.relative_to(self.root).as_posix())
        return entry is not None and entry["bytes"] in (None, path.stat().st_size)

    def _write(self) -> None:
        with whole_or_nothing(self.path) as part:
            part.write_text(json.dumps(self._files, indent=1), encoding="utf-8")
