"""Single bits that change on the disk, in files that Jingwei wrote: whether any stage takes one without a word.

    python benchmarks/bit_flips.py [--tiffs 400] [--checkpoints 50]

Of the tiled scene, the label map and the probabilities, one half of the flips is in the data of tiles, the other in all
else: header, directories, tags, georeference. Each file goes through every stage that reads it, in a process of its
own, and is judged as in tests/road/hostile.py: the pixels, the place and the validity of an unbroken file, or one line
and status 2. Prints a table. Ends with status 1 where there are faults.
"""

import argparse
import random
import struct
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import torch
from fuzz import judged_apart, print_table
from hostile import content_of, look, make_base  # fuzz.py says where these are

SIDES = 520, 600  # px: several tiles of 256
STAGES = {  # what is told -> the subjects of tests/road/subjects.py that read it
    "tiled scene": ("tiled scene",),
    "map": ("map", "map to polygons"),
    "probabilities": ("probabilities",),
}
OFFSETS, COUNTS = 324, 325  # tags of a TIFF: where its tiles are, and their bytes
FORMS = {4: "I", 16: "Q"}  # of the numbers in those


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiffs", type=int, default=400, help="flips over all TIFFs")
    parser.add_argument("--checkpoints", type=int, default=50, help="flips over a checkpoint")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        base = make_base(Path(folder) / "base", *SIDES)
        counts = {}
        for name, subjects in STAGES.items():
            data = content_of(base, subjects[0])
            parts = dict(zip(("tiles", "all else"), bytes_of_tiles_and_others(data), strict=True))
            for part, places in parts.items():
                title = f"{name}, {part}"
                chosen = [(rng.choice(places), rng.randrange(8)) for _ in range(args.tiffs // (2 * len(STAGES)))]
                counts[title] = try_all(base, title, subjects, data, chosen, Path(folder))
        data = content_of(base, "checkpoint")
        chosen = [(rng.randrange(len(data)), rng.randrange(8)) for _ in range(args.checkpoints)]
        counts["checkpoint"] = try_all(base, "checkpoint", ("checkpoint",), data, chosen, Path(folder))
    print_table(counts, ("refused", "as it was", "fault"))
    sys.exit(any(count["fault"] for count in counts.values()))


def try_all(base, title: str, subjects: tuple[str, ...], data: bytes, flips: list, folder: Path) -> Counter:
    """How the stages of some subjects take each flip (byte, bit): the worst of their verdicts counts."""
    words = Counter()
    for name in subjects:
        look(base, name, folder / "work")
    for place, bit in flips:
        broken = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
        verdicts = [judged_apart(base, name, broken, folder / "work") for name in subjects]
        found = {verdict.word for verdict in verdicts}
        words[next(word for word in ("fault", "refused", "as it was") if word in found)] += 1
        for fault in filter(None, (verdict.fault for verdict in verdicts)):
            print(f"{title}: bit {bit} of byte {place}: {fault}", flush=True)
    return words


def bytes_of_tiles_and_others(data: bytes) -> tuple[list[int], list[int]]:
    """The places of all bytes of a little-endian BigTIFF: those in tiles of any of its pictures, and all others."""
    in_tiles = bytearray(len(data))
    (place,) = struct.unpack_from("<Q", data, 8)
    while place:
        (entries,) = struct.unpack_from("<Q", data, place)
        numbers = {}
        for at in range(place + 8, place + 8 + 20 * entries, 20):
            tag, kind, count = struct.unpack_from("<HHQ", data, at)
            if tag in (OFFSETS, COUNTS):
                form = f"<{count}{FORMS[kind]}"
                inside = struct.calcsize(form) <= 8
                numbers[tag] = struct.unpack_from(form, data, at + 12 if inside else _number(data, at + 12))
        for begin, size in zip(numbers[OFFSETS], numbers[COUNTS], strict=True):
            in_tiles[begin : begin + size] = b"\1" * size
        place = _number(data, place + 8 + 20 * entries)
    places = [[i for i, inside in enumerate(in_tiles) if inside == wanted] for wanted in (1, 0)]
    return places[0], places[1]


def _number(data: bytes, place: int) -> int:
    return struct.unpack_from("<Q", data, place)[0]


if __name__ == "__main__":
    main()
