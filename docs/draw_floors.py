"""Draw the house of `jingwei/`, floor over floor, as `docs/floors.svg`: the floors are those of tests/test_imports.py.

python docs/draw_floors.py
"""

import argparse
import sys
from html import escape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "road"))

from test_imports import FLOORS

PICTURE = Path(__file__).with_name("floors.svg")
WIDTH, EDGE, GAP = 620, 60, 6  # px: of the house, to the left of its rooms, between rooms
ROOM, LETTER = 28, 7.6  # px: height of a room, width of a letter
SHADES = ("#DCE6EE", "#D5E8DC", "#F2E8CC", "#F4DCC8", "#EBD3D3", "#E1D6EA", "#D8D8D8")


def draw() -> str:
    """The house as an SVG: a row or more of rooms for each floor, the roof above them for the scripts."""
    parts, y = [], 70
    left, right = EDGE - 20, WIDTH
    middle = (left + right) / 2
    parts.append(f'<path d="M {left} {y} L {middle:g} 8 L {right} {y} Z" fill="#7A8B99"/>')
    parts.append(_text(middle, y - 14, "scripts at the root: a docstring and one call", "#FFFFFF"))
    for number, rooms in reversed(list(enumerate(FLOORS))):
        rows = _rows(sorted(rooms))
        height = len(rows) * (ROOM + GAP) + GAP
        shade = SHADES[number % len(SHADES)]
        parts.append(f'<rect x="{EDGE - 10}" y="{y}" width="{WIDTH - EDGE}" height="{height}" fill="{shade}"/>')
        parts.append(_text(EDGE - 24, y + height / 2 + 5, str(number), "#445566"))
        for row, names in enumerate(rows):
            x, top = EDGE, y + GAP + row * (ROOM + GAP)
            for name in names:
                width = _width(name)
                parts.append(f'<rect x="{x}" y="{top}" width="{width}" height="{ROOM}" rx="4" fill="#FFFFFF"/>')
                parts.append(_text(x + width / 2, top + 19, name, "#223344"))
                x += width + GAP
        y += height + 4
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 4}" font-family="monospace" font-size="12">'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def _rows(names: list[str]) -> list[list[str]]:
    """Rooms in rows that fit the house."""
    rows, room = [[]], WIDTH - EDGE - 20
    for name in names:
        if sum(_width(n) + GAP for n in [*rows[-1], name]) > room:
            rows.append([])
        rows[-1].append(name)
    return rows


def _width(name: str) -> int:
    return round(LETTER * len(name)) + 20


def _text(x: float, y: float, words: str, color: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="middle" fill="{color}">{escape(words)}</text>'


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=PICTURE, help="the picture")
    parser.parse_args().output.write_text(draw(), encoding="utf-8")
