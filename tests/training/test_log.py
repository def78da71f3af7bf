"""The log of a run and its curves: with Chinese class names too, on systems with fonts for them and without."""

import resource
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from jingwei.errors import InputError, OutputError
from jingwei.legend import JINGWEI, LandClass, Legend
from jingwei.training.curves import CJK_FONTS, draw_curves, readable
from jingwei.training.log import TrainingLog
from jingwei.training.log_file import read_log, write_log

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


DRAWS = """
import sys, warnings
import matplotlib
names = [name for name in matplotlib.rcParams if name != "backend"]  # to ask for that is to choose one
before = {name: matplotlib.rcParams[name] for name in names}
from pathlib import Path
from jingwei.legend import JINGWEI
from jingwei.training.curves import draw_curves
draw_curves([{"epoch": 1, "loss": 1.0, "miou": 0.5}], JINGWEI, Path(sys.argv[1]))
changed = [name for name, value in before.items() if matplotlib.rcParams[name] != value]
print(changed, "matplotlib.pyplot" in sys.modules)
"""


def test_drawing_leaves_matplotlib_as_it_was(tmp_path):
    """No backend is chosen for the whole process, which a notebook may have chosen for itself."""
    done = subprocess.run(
        [sys.executable, "-c", DRAWS, str(tmp_path / "curves.png")], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "[] False\n", done.stderr
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_a_log_is_written_and_read_back(tmp_path):
    rows = [{"epoch": 1, "loss": 0.5, "miou": None}, {"epoch": 2, "loss": 0.25, "miou": 0.75}]
    write_log(tmp_path / "log.csv", rows)
    assert read_log(tmp_path / "log.csv") == rows
    assert read_log(tmp_path / "none.csv") == []
    lacking = [{"epoch": 1}, {"epoch": 2, "loss": 1.0}]
    write_log(tmp_path / "log.csv", lacking)
    assert read_log(tmp_path / "log.csv") == [{"epoch": 1, "loss": None}, {"epoch": 2, "loss": 1.0}]


def test_rows_of_epochs_that_come_again_are_dropped(tmp_path):
    """By their numbers: the first rows may have been lost with a log that was moved away."""
    write_log(tmp_path / "log.csv", [{"epoch": epoch, "loss": 1.0} for epoch in (3, 4, 5)])
    assert [row["epoch"] for row in TrainingLog(tmp_path, 4, LEGEND, None).rows] == [3, 4]
    assert TrainingLog(tmp_path, 0, LEGEND, None).rows == []


@pytest.mark.parametrize(
    "content", ["loss\n1\n", "epoch,loss\n1,2,3\n", "epoch,loss\n1\n", "epoch,loss\none,1\n", "epoch,loss\n1,x\n", "\0"]
)
def test_a_log_of_something_else_gives_one_line(tmp_path, content):
    (tmp_path / "log.csv").write_text(content)
    with pytest.raises(InputError) as caught:
        TrainingLog(tmp_path, 4, LEGEND, None)
    assert str(caught.value).startswith(f"{tmp_path / 'log.csv'}: ")
    assert "\n" not in str(caught.value)


@contextmanager
def no_file_beyond(size: int):
    """What a full disk does, seen from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_events_that_cannot_be_written_give_one_line(tmp_path, capfd):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file.runs: can't be written"):
        TrainingLog(tmp_path, 0, LEGEND, tmp_path / "file" / "runs")
    pixels = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    pictures = [(pixels, pixels[..., 0] % 3, pixels[..., 0] % 3)] * 3
    usual = threading.excepthook

    def show(error: Exception | None = None) -> None:
        with TrainingLog(tmp_path, 0, LEGEND, tmp_path / "events") as log:
            log.show(0, pictures[:1] if error else pictures)
            if error:
                raise error

    with no_file_beyond(4000):
        with pytest.raises(OutputError, match="events: can't be written .*free some space"):
            show()
        with pytest.raises((ZeroDivisionError, OutputError)):  # whichever comes first
            show(ZeroDivisionError())
    assert threading.excepthook is usual
    assert capfd.readouterr().err == ""
