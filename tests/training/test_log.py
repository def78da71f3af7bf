"""The curves of a run whose classes have Chinese names, on systems with fonts for them and without."""

import warnings
from pathlib import Path

import matplotlib
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from jingwei.legend import JINGWEI, LandClass, Legend
from jingwei.training.curves import CJK_FONTS, draw_curves, readable

NAMES = ("water", "水体", "耕地 a")
LEGEND = Legend("own", tuple(LandClass(i, name, (0, 80 * i, 200)) for i, name in enumerate(NAMES)), None)
ROWS = [
    {"epoch": epoch, "loss": 1 / epoch, "miou": 0.4, **{f"iou {name}": 0.1 * epoch for name in NAMES}}
    for epoch in (1, 2)
]


def font(path: Path, name: str, characters: str) -> None:
    """Writes a font in which some characters are squares, and tells matplotlib of it."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 800), (900, 800), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    glyphs = [".notdef", *(f"uni{ord(character):04X}" for character in characters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap(dict(zip(map(ord, characters), glyphs[1:], strict=True)))
    builder.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 100)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    font_manager.fontManager.addfont(path)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Makes some of CJK_FONTS the only ones here: (name, characters)..."""
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*font_manager.fontManager.ttflist])

    def install(*fonts: tuple[str, str]) -> None:
        known = [entry for entry in font_manager.fontManager.ttflist if entry.name not in CJK_FONTS]
        font_manager.fontManager.ttflist[:] = known
        for name, characters in fonts:
            font(tmp_path / f"{name}.ttf", name, characters)

    return install


@pytest.mark.parametrize(
    ("fonts", "labels", "taken"),
    [
        ([], ["water", "class 1", "class 2"], []),
        ([("SimHei", "水体耕地")], list(NAMES), ["SimHei"]),
        ([("SimHei", "水体")], ["water", "水体", "class 2"], ["SimHei"]),
        ([("SimHei", "水体耕地"), ("Noto Sans CJK SC", "水体耕地")], list(NAMES), ["Noto Sans CJK SC"]),
        ([("SimHei", "水体耕地"), ("Noto Sans CJK SC", "水耕")], list(NAMES), ["Noto Sans CJK SC", "SimHei"]),
        ([("PingFang SC", "あ")], ["water", "class 1", "class 2"], []),
    ],
    ids=["none", "one", "one with some", "the first", "two together", "one without any"],
)
def test_class_names_are_drawn_in_a_font_that_has_them_or_replaced(installed, tmp_path, capfd, fonts, labels, taken):
    installed(*fonts)
    assert readable(LEGEND) == (labels, [*matplotlib.rcParams["font.family"], *taken])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_curves(ROWS, LEGEND, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert capfd.readouterr() == ("", "")


def test_names_that_the_usual_font_has_need_no_other(installed):
    installed(("SimHei", "水体耕地"))
    assert readable(JINGWEI) == (list(JINGWEI.names), [*matplotlib.rcParams["font.family"]])
