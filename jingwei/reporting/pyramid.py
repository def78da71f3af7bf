"""Tile pyramids for deep zoom, made in one pass from top to bottom.

A layer is a folder `<level>/<col>_<row>` of tiles, numbered as in Deep Zoom images: the finest level of a scene of N px
along its longer side is ceil(log2(N)), every other one has half the pixels of the next; the coarsest is the first that
fits one tile. Scenes are JPEGs. What a reader colours or reads out (class ids, percents) are scripts: a page that was
opened from disk may run a script beside it, but may neither fetch a file nor look at the pixels of a picture.
"""

import base64
import os
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from isal import isal_zlib

from jingwei.errors import InputError, OutputError
from jingwei.legend import NODATA
from jingwei.raster.pixel_area import Ground, add_strip
from jingwei.reporting.folder import ABOUT, ABOUT_SHAPE, remove_layer
from jingwei.system.atomic import FULL, room_at
from jingwei.system.compiled import compiled
from jingwei.system.own_files import misfit, read_json, sealed

TILE = 512  # px a side: a fourth of the files that Deep Zoom's usual 256 would be
PICTURE, LABELS, PERCENT = "picture", "labels", "percent"  # the kinds of layers
PAPER = (241, 243, 245)  # what lies outside the flight, RGB: the page's own colour behind the scene
JPEG_QUALITY = 82
BROKEN = "delete the folder that it is in, and run the report again"


@dataclass(frozen=True)
class Layer:
    """A finished layer: its folder, its size in pixels, and which tiles are there.

    `tiles` is level -> bool array (rows of tiles, columns of tiles); blank tiles have no file. `counts` has the pixels
    of each value at full size (256 of them, NODATA among them), `metres` the ground under them in square metres; both
    are empty for pictures, and `metres` where nothing is known of the ground.
    """

    folder: Path
    kind: str
    height: int
    width: int
    tiles: dict[int, np.ndarray]
    counts: tuple[int, ...]
    metres: tuple[float, ...] = ()

    def size(self, level: int) -> tuple[int, int]:
        """(height, width) of a level."""
        factor = 1 << (finest_level(self.height, self.width) - level)
        return -(-self.height // factor), -(-self.width // factor)

    def read(self, level: int) -> np.ndarray:
        """A whole level of a layer of labels or percents, uint8 HW; NODATA where no tile is."""
        height, width = self.size(level)
        pixels = np.full((height, width), NODATA, np.uint8)
        for row, col in np.argwhere(self.tiles[level]):
            part = pixels[row * TILE : (row + 1) * TILE, col * TILE : (col + 1) * TILE]
            path = _tile_path(self.folder, level, row, col, self.kind)
            try:
                content = zlib.decompress(base64.b64decode(path.read_bytes().split(b'"')[1]))
                part[:] = np.frombuffer(content, np.uint8).reshape(part.shape)
            except (OSError, IndexError, ValueError, zlib.error) as error:
                raise InputError(path, "is broken or missing", BROKEN) from error
        return pixels


def finest_level(height: int, width: int) -> int:
    """The number of a scene's finest level in Deep Zoom's count, where level 0 is a single pixel."""
    return (max(height, width) - 1).bit_length()


def write_layer(
    folder: Path,
    parts: Iterable[np.ndarray],
    height: int,
    width: int,
    kind: str,
    workers: int = 1,
    ground: Ground | None = None,
) -> Layer:
    """Makes a layer from parts that follow each other from the top: uint8 arrays of any height and the full width.

    A picture comes as RGBA (HWC, alpha 0 outside the flight), labels and percents as HW with NODATA. On the way up,
    2 x 2 pixels become one: the mean of the valid ones, or of labels the most frequent one (of equals the first). In
    memory is a row of tiles of each level, which is less than two rows of tiles of the scene. The folder is there
    whole, or not at all; nothing in it depends on `workers` or on the parts' heights.
    """
    with _whole_folder(folder) as place, ThreadPoolExecutor(workers) as pool:
        levels = _levels(place, height, width, kind)
        counts, metres = np.zeros(0 if kind == PICTURE else 256, np.int64), np.zeros(256 if ground else 0)
        top = 0
        for part in parts:
            if ground:
                add_strip(part, top, ground, counts, metres)
            elif len(counts):
                counts += np.bincount(part.reshape(-1), minlength=256)
            top += len(part)
            while len(part):
                part = part[levels[0].take(part) :]
                if levels[0].full:
                    levels[0].flush(pool)
        assert levels[0].done, "fewer rows than the scene has"
        about = {
            "kind": kind, "height": height, "width": width, "counts": counts.tolist(),
            "metres": metres.tolist(),
            "tiles": {level.number: np.packbits(level.tiles).tobytes().hex() for level in levels},
        }  # fmt: skip
        (place / ABOUT).write_text(sealed(about), encoding="ascii")
    return read_layer(folder)


def kept_layer(folder: Path) -> Layer | None:
    """The finished layer of a folder; None where there is none, or one whose description is broken."""
    if not (folder / ABOUT).exists():
        return None
    try:
        return read_layer(folder)
    except InputError:
        return None


def read_layer(folder: Path) -> Layer:
    """A finished layer. Raises InputError where somebody has broken it."""
    about = {"metres": []} | read_json(folder / ABOUT, ABOUT_SHAPE, remedy=BROKEN)  # earlier versions have none
    if problem := misfit({"metres": tuple[float, ...]}, about):
        raise InputError(folder / ABOUT, problem, BROKEN)
    sizes = about["kind"], about["height"], about["width"]
    layer = Layer(folder, *sizes, {}, tuple(about["counts"]), tuple(about["metres"]))
    try:
        for number, bits in about["tiles"].items():
            rows, cols = (-(-side // TILE) for side in layer.size(int(number)))
            flags = np.unpackbits(np.frombuffer(bytes.fromhex(bits), np.uint8), count=rows * cols)
            layer.tiles[int(number)] = flags[: rows * cols].reshape(rows, cols).astype(bool)
    except ValueError as error:
        raise InputError(folder / ABOUT, "is not the size of its layer", BROKEN) from error
    return layer


def _levels(folder: Path, height: int, width: int, kind: str) -> list["_Level"]:
    """The levels of a new layer, the finest first, each knowing the one above it."""
    number, levels = finest_level(height, width), []
    while True:
        levels.append(_Level(folder, number, height, width, kind))
        if len(levels) > 1:
            levels[-2].above = levels[-1]
        if max(height, width) <= TILE:
            return levels
        number, height, width = number - 1, -(-height // 2), -(-width // 2)


class _Level:
    """One level while it is made: a row of tiles, filled from the top."""

    def __init__(self, folder: Path, number: int, height: int, width: int, kind: str):
        self.folder, self.number, self.height, self.width, self.kind = folder, number, height, width, kind
        self.above: _Level | None = None
        self.tiles = np.zeros((-(-height // TILE), -(-width // TILE)), bool)
        self._rows = np.empty(
            (min(TILE, height), width, 4) if kind == PICTURE else (min(TILE, height), width), np.uint8
        )
        self._filled = self._tile_row = 0
        (folder / str(number)).mkdir()

    @property
    def full(self) -> bool:
        """Whether the row of tiles has all its rows."""
        return not self.done and self._filled == min(TILE, self.height - self._tile_row * TILE)

    @property
    def done(self) -> bool:
        return self._tile_row == len(self.tiles)

    def take(self, part: np.ndarray) -> int:
        """Takes as many rows of a part as there is room for, and returns their number."""
        assert not self.done, "more rows than the scene has"
        count = min(len(part), min(TILE, self.height - self._tile_row * TILE) - self._filled)
        self._rows[self._filled : self._filled + count] = part[:count]
        self._filled += count
        return count

    def flush(self, pool: ThreadPoolExecutor) -> None:
        """Writes the row of tiles, and hands it on to the level above at half its size."""
        self.tiles[self._tile_row] = list(pool.map(self._make, range(self.tiles.shape[1])))
        if self.above:
            self.above._filled += -(-self._filled // 2)
            if self.above.full:
                self.above.flush(pool)
        self._filled, self._tile_row = 0, self._tile_row + 1

    def _make(self, col: int) -> bool:
        """Writes a tile, and its half into the level above. False for a blank one, which has no file."""
        pixels = np.ascontiguousarray(self._rows[: self._filled, col * TILE : (col + 1) * TILE])
        if self.above:
            row, left = self.above._filled, col * TILE // 2
            small = self.above._rows[row : row + -(-len(pixels) // 2), left : left + -(-pixels.shape[1] // 2)]
            _HALVE[self.kind](pixels, small)
        content = _encoded(pixels, self.kind)
        if content:
            _tile_path(self.folder, self.number, self._tile_row, col, self.kind).write_bytes(content)
        return bool(content)


def _tile_path(folder: Path, level: int, row: int, col: int, kind: str) -> Path:
    return folder / str(level) / f"{col}_{row}.{'jpg' if kind == PICTURE else 'js'}"


def _encoded(pixels: np.ndarray, kind: str) -> bytes:
    """A tile's file, empty for a blank tile."""
    if kind == PICTURE:
        outside = pixels[..., 3] == 0
        if outside.all():
            return b""
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGR)
        pixels[outside] = PAPER[::-1]
        return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    if (pixels == NODATA).all():
        return b""
    return b'tile("%b");\n' % base64.b64encode(isal_zlib.compress(pixels, 3))


@compiled
def _most_frequent(labels, small):
    """Of each 2 x 2 labels the most frequent one; of equals the first, row by row."""
    height, width = labels.shape
    for r in range(small.shape[0]):
        top, bottom = 2 * r, min(2 * r + 1, height - 1)
        for c in range(small.shape[1]):
            left, right = 2 * c, min(2 * c + 1, width - 1)
            a, b, x, y = labels[top, left], labels[top, right], labels[bottom, left], labels[bottom, right]
            if a in (b, x, y):
                small[r, c] = a
            elif b in (x, y):
                small[r, c] = b
            else:
                small[r, c] = x if x == y else a


@compiled
def _mean_percent(values, small):
    """Of each 2 x 2 values the mean of those that are not NODATA, halves rounded up."""
    height, width = values.shape
    for r in range(small.shape[0]):
        for c in range(small.shape[1]):
            total, count = 0, 0
            for i in range(2 * r, min(2 * r + 2, height)):
                for j in range(2 * c, min(2 * c + 2, width)):
                    if values[i, j] != NODATA:
                        total += values[i, j]
                        count += 1
            small[r, c] = (2 * total + count) // (2 * count) if count else NODATA


@compiled
def _mean_color(pixels, small):
    """Of each 2 x 2 pixels RGBA the mean of those with alpha, halves rounded up; alpha where one has it."""
    height, width, _ = pixels.shape
    for r in range(small.shape[0]):
        for c in range(small.shape[1]):
            red, green, blue, count = 0, 0, 0, 0
            for i in range(2 * r, min(2 * r + 2, height)):
                for j in range(2 * c, min(2 * c + 2, width)):
                    if pixels[i, j, 3]:
                        red += pixels[i, j, 0]
                        green += pixels[i, j, 1]
                        blue += pixels[i, j, 2]
                        count += 1
            half, twice = count, max(2 * count, 1)
            small[r, c, 0] = (2 * red + half) // twice
            small[r, c, 1] = (2 * green + half) // twice
            small[r, c, 2] = (2 * blue + half) // twice
            small[r, c, 3] = 255 if count else 0


_HALVE = {PICTURE: _mean_color, LABELS: _most_frequent, PERCENT: _mean_percent}


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`, renamed to it when the block ends well and deleted when it doesn't."""
    part = part_of(folder)
    try:
        if part.is_symlink():
            part.unlink()
        remove_layer(part)  # of a run that was stopped
        part.mkdir(parents=True)
        yield part
        os.replace(part, folder)
    except OSError as error:
        remedy = room_at(folder) if error.errno in FULL else "check the folder and its permissions, or write elsewhere"
        raise OutputError(folder, f"can't be written ({error.strerror or error})", remedy) from error
    finally:
        with suppress(OSError):
            remove_layer(part)


def part_of(folder: Path) -> Path:
    """Where a layer is while it is not finished."""
    return folder.with_name(f".{folder.name}.part")
