"""What a job will take, before it begins: windows, memory, disk. Arithmetic alone; no file is opened.

Memory is what a stage holds beyond the program itself, at most, in bytes: it follows a scene's width, never its height.
On the disk, `..._at_least` are lower bounds, by which a job is refused before it begins; what it will really write
depends on how well the pixels compress, which only a sample of them tells (`cli/dry_run.py`).
"""

from typing import NamedTuple

from jingwei.grid import even_starts, starts

MIB = 2**20
GDAL_HOLDS = 160 * MIB  # its block cache of 96, as `raster/` sets it, and what its threads work on
MAP_TILE = 256  # px a side, of the GeoTIFFs that are written
REPORT_TILE = 512  # px a side, of a report's tiles
INDEX_ENTRY = 4  # bytes a tile of a GeoTIFF takes at least: two numbers of 16 bits
DEFLATE_MOST = 1032  # bytes that one byte of deflate can stand for (RFC 1951: a match of 258 bytes in 2 bits)
SOFT_BLOCK = 32 * MIB  # of probabilities, that a soft vote reads at a time
PREVIEW = 48 * MIB  # small pictures of a scene


class Size(NamedTuple):
    """Of a scene or a map: pixels a side, bands without alpha, bytes of a pixel in one band."""

    height: int
    width: int
    bands: int = 1
    itemsize: int = 1

    @property
    def px(self) -> int:
        return self.height * self.width

    @property
    def px_bytes(self) -> int:
        return self.bands * self.itemsize


def crop_count(size: Size, crop_size: int, stride: int) -> int:
    """Crops of a scene where all are kept: blank ones, and most of those of background, are not."""
    return len(starts(size.height, crop_size, stride)) * len(starts(size.width, crop_size, stride))


def window_count(size: Size, window: int, overlap: int) -> int:
    """Windows of a prediction, blank ones too."""
    return len(even_starts(size.height, window, overlap)) * len(even_starts(size.width, window, overlap))


# ---- memory, in bytes, at most, beyond the program itself ----


def cut_memory(size: Size, crop_size: int, workers: int) -> int:
    """Cutting crops: three bands of crop height, with validity and labels, and crops being written on every thread."""
    rows = min(crop_size, size.height)
    band = rows * size.width * (size.px_bytes + 4)
    crop = rows * min(crop_size, size.width) * (size.px_bytes + 2)
    return 3 * band + workers * 4 * crop + GDAL_HOLDS + PREVIEW


def tile_memory(size: Size, workers: int) -> int:
    """Tiling a scene: five strips of a tile's height, with validity, and the tiles that threads compress."""
    strip = MAP_TILE * size.width * (size.px_bytes + 1)
    return 5 * strip + 8 * workers * MAP_TILE * MAP_TILE * size.px_bytes + GDAL_HOLDS


def predict_memory(
    size: Size, window: int, overlap: int, classes: int, *, batch_size: int = 1, probabilities: bool = False
) -> int:
    """Predicting, beyond the network and its own need: the windows in work and what bands share.

    Bands run along the shorter side. Of each, the rows that the next one shares are kept, a float16 per class; finished
    bands are two bytes per pixel (and one per class, where probabilities are kept), three of them at a time. To put
    the map together takes strips of the full width.
    """
    shorter, longer = sorted(size[:2])
    rows = even_starts(longer, window, overlap)
    deepest = max((first + window - following for first, following in zip(rows, rows[1:], strict=False)), default=0)
    highest = max((following - first for first, following in zip(rows, [*rows[1:], longer], strict=True)))
    planes = 2 + (classes if probabilities else 0)  # labels and confidence
    carried = 2 * classes * deepest * shorter
    finished = 3 * planes * highest * shorter
    area = min(window, longer) * min(window, shorter)
    waiting = (3 * batch_size + 2) * area * (size.px_bytes + 1)
    blended = (batch_size + 4) * classes * area * 4
    mosaic = 4 * MAP_TILE * size.width * planes
    return carried + max(finished + waiting + blended, mosaic) + GDAL_HOLDS


def vote_memory(size: Size, voters: int, soft: bool = False) -> int:
    """Voting: strips of all maps, read ahead, and four results. `size` is of one voter; soft votes take blocks."""
    results = 16 * MAP_TILE * size.width
    if not soft:
        return 8 * voters * MAP_TILE * size.width + results + GDAL_HOLDS
    block = max(SOFT_BLOCK, voters * size.bands * MAP_TILE * MAP_TILE)
    return 6 * block + results + GDAL_HOLDS


def fill_memory(size: Size, min_area: int = 0, frame_sizes: tuple[int, ...] = ()) -> int:
    """Filling holes: strips of the map, and the records of regions that are still growing.

    Maps of noise have more regions at once than the records begin with, and these double: a map in which every second
    pixel is another region can take several times as much. With `frame_sizes` (px), the rows that frames cover.
    """
    strips = 12 * MAP_TILE * size.width
    if frame_sizes:
        changes = 24 * MAP_TILE * size.width  # where every pixel of a strip changes by itself
        return strips + changes + sum(2 * (side + MAP_TILE) for side in frame_sizes) * size.width + GDAL_HOLDS + PREVIEW
    records = 2 * 96 * max(2**17, 4 * size.width)
    links = 3 * 32 * max(2**18, 16 * size.width) if min_area > 1 else 0
    return strips + records + links + GDAL_HOLDS + PREVIEW


def evaluate_memory(size: Size) -> int:
    """Scoring: strips of the map and its truth, read ahead."""
    return 20 * MAP_TILE * size.width + GDAL_HOLDS


def report_memory(size: Size, workers: int) -> int:
    """Layers of a report: strips read ahead, rows of tiles of all levels, and the tiles that threads compress."""
    strips = 4 * MAP_TILE * size.width * (size.px_bytes + 5)
    return strips + 8 * REPORT_TILE * size.width + workers * 16 * REPORT_TILE**2 + GDAL_HOLDS


# ---- disk, in bytes, at least ----


def copy_at_least(stored: int, raw: int) -> int:
    """What a lossless copy of a scene takes, by the bytes of its file and of its pixels.

    A quarter of a file that is compressed, to less than nine tenths of its pixels: another lossless way hardly does
    four times better. But a two-hundredth of its pixels less, for that is what deflate takes for plain areas, which
    cost us nothing. A file that is not compressed tells nothing, so 0.
    """
    return max(0, stored // 4 - raw // 200) if stored < 0.9 * raw else 0


def tiles_at_least(size: Size) -> int:
    """A tiled GeoTIFF whose tiles all are empty: the index alone."""
    return -(-size.height // MAP_TILE) * -(-size.width // MAP_TILE) * INDEX_ENTRY


def png_at_least(size: Size) -> int:
    """A PNG whose pixels are all the same."""
    return size.px * size.px_bytes // DEFLATE_MOST


# ---- from a sample to the whole ----


def time_of_windows(few: tuple[int, float], many: tuple[int, float], windows: int) -> float:
    """Seconds for `windows`, from two runs (windows, seconds): what both runs took beside their windows counts once."""
    (few_windows, few_seconds), (many_windows, many_seconds) = few, many
    if many_windows <= few_windows:  # a scene of a window or two
        return windows * many_seconds / many_windows
    each = max(0.0, many_seconds - few_seconds) / (many_windows - few_windows)
    return max(0.0, few_seconds - few_windows * each) + windows * each
