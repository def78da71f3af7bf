"""Colours on the screen, as people with any colour vision see them."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

import jingwei.reporting
from jingwei.legend import JINGWEI, LEGENDS, LandClass, Legend, hex_of
from jingwei.reporting.screen import SCREEN, screen_legend

VIEWER = Path(jingwei.reporting.__file__).parent / "viewer"
# Machado, Oliveira and Fernandes (2009), severity 1.0: what is left of linear RGB without one kind of cones.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


def linear(color: str) -> np.ndarray:
    share = np.array(list(bytes.fromhex(color[1:]))) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def seen(color: str, vision: str) -> np.ndarray:
    """What somebody sees of #RRGGBB, in CIE Lab."""
    left = np.clip(VISION[vision] @ linear(color), 0, 1)
    return rgb2lab(np.where(left <= 0.0031308, 12.92 * left, 1.055 * left ** (1 / 2.4) - 0.055))


def nearest(colors, vision: str) -> tuple[float, str, str]:
    """The two colours that look most alike, and their CIEDE2000."""
    pairs = itertools.combinations(dict.fromkeys(colors), 2)
    return min((float(deltaE_ciede2000(seen(a, vision), seen(b, vision))), a, b) for a, b in pairs)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast of two colours, 1 to 21."""
    low, high = sorted(float(linear(color) @ (0.2126, 0.7152, 0.0722)) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def test_the_simulation_is_right():
    """Red and green of one lightness are alike without red or green cones, blue and green without blue ones."""
    assert nearest(["#D10000", "#5A5A00"], "protanopia")[0] < nearest(["#D10000", "#5A5A00"], "normal")[0] / 2
    assert nearest(["#B25D5D", "#7A7A5D"], "deuteranopia")[0] < nearest(["#B25D5D", "#7A7A5D"], "normal")[0] / 2
    assert nearest(["#00FF00", "#00FFFF"], "tritanopia")[0] < nearest(["#00FF00", "#00FFFF"], "normal")[0] / 2
    # The contest's own colours are what this is about.
    assert nearest([hex_of(c.color) for c in LEGENDS["gf2"].classes], "protanopia")[0] < 5


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("legend", LEGENDS)
def test_any_two_classes_on_the_screen_can_be_told_apart(legend, vision):
    distance, one, other = nearest(SCREEN[legend], vision)
    assert distance >= 18, (one, other)


@pytest.mark.parametrize("vision", VISION)
def test_what_is_wrong_stands_out_from_what_is_right(vision):
    """The grey of what is right, from each class's colour and from the outline of what is wrong."""
    script = (VIEWER / "colors.js").read_text(encoding="utf-8")
    right, edge = ("#" + bytes(map(int, re.search(rf"{name} = \[([\d, ]+)\]", script)[1].split(","))).hex()
                   for name in ("RIGHT_COLOR", "EDGE_COLOR"))  # fmt: skip
    for color in (edge, *(color for colors in SCREEN.values() for color in colors)):
        assert nearest([right, color], vision)[0] >= 10, color


def variables(theme: str) -> dict[str, str]:
    """The style sheet's colours in a theme."""
    style = (VIEWER / "page.css").read_text(encoding="utf-8")
    light, dark = style.split('[data-theme="dark"]')
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    return found if theme == "light" else found | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_curves_can_be_told_apart(theme, vision):
    lines = [color for name, color in variables(theme).items() if name.startswith("line-")]
    assert len(lines) == 6
    distance, one, other = nearest(lines, vision)
    assert distance >= 15, (one, other)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_curves_and_the_focus_ring_stand_out_from_what_they_lie_on(theme):
    found = variables(theme)
    for text in ("ink", "soft", "accent"):
        for paper in ("card", "paper"):
            assert contrast(found[text], found[paper]) >= 4.5, (text, paper)
    assert contrast(found["on-accent"], found["accent"]) >= 4.5
    assert contrast(found["ink"], found["accent-soft"]) >= 4.5
    assert contrast(found["soft"], found["accent-soft"]) >= 4.5
    assert contrast(found["warn"], found["warn-paper"]) >= 4.5
    for shape in ("edge", "focus", *(f"line-{i}" for i in range(6))):
        assert contrast(found[shape], found["card"]) >= 3, shape
    for paper in ("card", "paper", "halo"):  # the halo lies between a button and its ring
        assert contrast(found["focus"], found[paper]) >= 3, paper


def test_files_and_own_legends_keep_their_colours():
    for legend in LEGENDS.values():
        content = screen_legend(legend)
        assert [c["color"] for c in content["classes"]] == [hex_of(c.color) for c in legend.classes]
        assert [c["screen"] for c in content["classes"]] == list(SCREEN[legend.name])
    own = Legend("own", (LandClass(0, "land", (1, 2, 3)), LandClass(1, "sea", (4, 5, 6))), None)
    assert [c["screen"] for c in screen_legend(own)["classes"]] == ["#010203", "#040506"]
    # One that is named like ours, but is another.
    repainted = replace(JINGWEI, classes=(*JINGWEI.classes[:4], replace(JINGWEI.classes[4], color=(9, 9, 9))))
    assert screen_legend(repainted)["classes"][4]["screen"] == "#090909"
    assert screen_legend(repainted)["classes"][1]["screen"] == hex_of(JINGWEI.classes[1].color)
