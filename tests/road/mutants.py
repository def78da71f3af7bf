"""Contents of files, changed at random: bytes, the words of a text, the chunks of a PNG with right checksums."""

import json
import random
import re
import struct
import zlib


def mutated(data: bytes, kind: str, seed: str) -> bytes:
    """The content of a file, changed in one to three places. `kind`: `bytes`, `text`, or `chunks` of a PNG."""
    rng = random.Random(seed)
    ways = {"bytes": BYTES, "chunks": (_chunks,), "text": (*TEXTS, *BYTES[:3])}[kind]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(ways)(data, rng)
    return data


def _place(data: bytes, rng: random.Random) -> int:
    """A place in a file; every other time in its first 600 bytes, where headers are."""
    return rng.randrange(max(1, min(len(data), 600) if rng.random() < 0.5 else len(data)))


def _flip(data, rng):
    at = _place(data, rng)
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :] if data else data


def _cut(data, rng):
    return data[: _place(data, rng)]


def _drop(data, rng):
    at = _place(data, rng)
    return data[:at] + data[at + rng.randint(1, 40) :]


def _noise(data, rng):
    at, count = _place(data, rng), rng.randint(1, 40)
    return data[:at] + rng.randbytes(count) + data[at + (count if rng.random() < 0.5 else 0) :]


def _zeros(data, rng):
    at, count = _place(data, rng), rng.choice((4, 64, 512, 4096))
    return data[:at] + bytes(min(count, len(data) - at)) + data[at + count :]


def _number(data, rng):
    """An extreme number where a header may have one."""
    at = _place(data, rng) & ~1
    value = rng.choice((0, 1, 2, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1))
    form = rng.choice(("<I", ">I", "<H", ">H"))
    return (
        data[:at]
        + struct.pack(form, value & (2**16 - 1 if "H" in form else 2**32 - 1))
        + data[at + struct.calcsize(form) :]
    )


def _repeat(data, rng):
    at, count = _place(data, rng), rng.randint(1, 200)
    return data[:at] + data[at : at + count] * 2 + data[at + count :]


def _append(data, rng):
    return data + rng.choice((bytes(1), b"\n", rng.randbytes(50), data[:100]))


BYTES = (_flip, _cut, _drop, _noise, _zeros, _number, _repeat, _append)


ODD = ("-1", "0", "1e999", "NaN", "1" * 5000, "2147483648", "99999999999999999999", "null", "[]", '""', "{}", "true",
       "0.5", "../../x", "/dev/null", "\x00", "烤烟", "http://0.0.0.0/x")  # fmt: skip
ODD_VALUES = (
    -1,
    0,
    0.5,
    1e300,
    2**31,
    2**62,
    None,
    True,
    "",
    "x",
    "x" * 300,
    "\u202e",
    "../x",
    [],
    [[]],
    {},
    [1, "a"],
    {"a": 1},
)


def _swap_token(data, rng):
    """A number or a word of a text becomes another."""
    parts = re.findall(rb"[\w.+-]+|[^\w.+-]", data)
    if parts:
        at = rng.choice([at for at, part in enumerate(parts) if len(part) > 1] or [0])
        parts[at] = rng.choice((rng.choice(ODD).encode(), b"\xff", rng.choice(parts)))
    return b"".join(parts)


def _swap_value(data, rng):
    """A value of a JSON text becomes another, or goes."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return _swap_token(data, rng)
    place = content
    while isinstance(place, dict | list) and place:
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.2:
            if rng.random() < 0.2:
                del place[key]
            else:
                place[key] = rng.choice(ODD_VALUES)
            break
        place = place[key]
    return json.dumps(content).encode()


def _nest(data, rng):
    at = _place(data, rng)
    return data[:at] + rng.choice((b"[", b"<a>", b'{"a":', b"(")) * rng.choice((1, 200, 100_000)) + data[at:]


def _line(data, rng):
    """A line that is there twice, goes, or is changed for another one."""
    lines = data.splitlines(keepends=True) or [b""]
    at = rng.randrange(len(lines))
    lines[at] = rng.choice((b"", lines[at] * 2, rng.choice(lines), lines[at].replace(b",", b",,", 1)))
    return b"".join(lines)


TEXTS = (_swap_token, _swap_token, _swap_value, _swap_value, _swap_value, _line, _nest)


EXTRA = (
    (b"tEXt", b"a\0b"), (b"gAMA", b"\0\0\xb1\x8f"), (b"tRNS", b"\0\1\0\2\0\3"), (b"PLTE", b"\1\2\3"),
    (b"pHYs", bytes(9)), (b"eXIf", b"MM\0*\0\0\0\10\0\0"), (b"ZzZz", b"?"), (b"zzZz", b"!"),
)  # fmt: skip


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _chunks(data: bytes, rng: random.Random) -> bytes:
    """A PNG whose chunks are changed with right checksums, as a program that writes PNGs badly would."""
    found, at = [], 8
    while at + 8 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    pixels = b"".join(content for kind, content in found if kind == b"IDAT")
    way = rng.randrange(7)
    if way == 0:  # the data in other pieces, some of them empty
        places = sorted(rng.randrange(len(pixels) + 1) for _ in range(rng.randint(1, 6)))
        pieces = [pixels[a:b] for a, b in zip([0, *places], [*places, len(pixels)], strict=True)]
        found = [found[0], *((b"IDAT", piece) for piece in pieces), (b"IEND", b"")]
    elif way == 1:  # surplus rows, or too few
        try:
            rows = zlib.decompress(pixels)
        except zlib.error:
            return data
        rows = rows + rng.randbytes(rng.randint(1, 2000)) if rng.random() < 0.5 else rows[: rng.randrange(len(rows))]
        found = [found[0], (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    elif way == 2:  # surplus bytes behind the data
        found = [found[0], (b"IDAT", pixels + rng.randbytes(rng.randint(1, 9))), (b"IEND", b"")]
    elif way == 3 and len(found) > 1:  # a chunk less, or twice
        at = rng.randrange(len(found))
        found[at : at + 1] = [] if rng.random() < 0.5 else [found[at]] * 2
    elif way == 4:  # one that nobody needs, or that says more
        extra = rng.choice(EXTRA)
        found.insert(rng.randint(1, len(found)), extra)
    elif way == 5:  # another head
        head = bytearray(found[0][1])
        if head:
            head[rng.randrange(len(head))] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
        found[0] = (found[0][0], bytes(head))
    else:  # a byte of a chunk
        at = rng.randrange(len(found))
        if found[at][1]:
            found[at] = (found[at][0], _flip(found[at][1], rng))
    return data[:8] + b"".join(_chunk(*each) for each in found)
