"""The report in a real browser, opened from disk: it draws, it answers, and it asks for nothing outside its folder."""

import pytest
from report_page import HEIGHT, WIDTH, assert_color, mixed

from jingwei.legend import JINGWEI
from jingwei.reporting.screen import SCREEN

CORN, TOBACCO, WRONG_SQUARE, ROAD = (450, 1200), (270, 300), (200, 900), (550, 700)


GREY = (120, 120, 120)
CLASS = [tuple(bytes.fromhex(color[1:])) for color in SCREEN["jingwei"]]
RIGHT, PAPER = (205, 209, 213), (241, 243, 245)


@pytest.fixture
def map_alone(opened):
    """The page with the map over the scene, and nothing else."""
    opened.page.uncheck("#show-errors")
    opened.settle()
    return opened


def test_the_map_lies_over_the_scene_in_the_legends_colours(map_alone):
    corn, tobacco, road, square = map_alone.colors(CORN, TOBACCO, ROAD, WRONG_SQUARE)
    assert_color(corn, mixed(CLASS[2], GREY, 0.65))
    assert_color(tobacco, mixed(CLASS[1], GREY, 0.65))
    assert_color(road, GREY)  # the background is off at first
    assert_color(square, mixed(CLASS[3], GREY, 0.65))


def test_layers_and_opacity_change_what_is_seen(map_alone):
    opened, page = map_alone, map_alone.page
    page.uncheck("#show-map")
    opened.settle()
    assert_color(opened.colors(CORN)[0], GREY)
    page.check("#show-truth")
    page.fill("#opacity-truth", "100")
    opened.settle()
    corn, square = opened.colors(CORN, WRONG_SQUARE)
    assert_color(corn, CLASS[2])
    assert_color(square, CLASS[2])


def test_what_is_right_is_grey_and_what_is_wrong_has_the_colour_of_the_truth(opened):
    opened.page.fill("#opacity-errors", "100")
    opened.settle()
    corn, road, square = opened.colors(CORN, ROAD, WRONG_SQUARE)
    assert_color(corn, RIGHT)
    assert_color(road, RIGHT)
    assert_color(square, CLASS[2])  # corn: the map says barley-rice
    assert_color(opened.colors((550, 20))[0], PAPER)  # not labelled
    opened.zoom_to(100, 800)  # the square's corner
    inside, edge_above, edge_beside, outside = opened.colors((103, 803), (99.5, 803), (103, 799.5), (95, 790))
    assert_color(inside, CLASS[2])
    assert_color(edge_above, (20, 20, 24))
    assert_color(edge_beside, (20, 20, 24))
    assert_color(outside, RIGHT)


def test_what_the_map_is_sure_of_stays_clear_and_doubt_is_dark(map_alone):
    opened, page = map_alone, map_alone.page
    page.check("#show-agreement")
    page.fill("#opacity-agreement", "100")
    opened.settle()
    corn, square = opened.colors(CORN, WRONG_SQUARE)
    below = mixed(CLASS[2], GREY, 0.65)
    assert_color(corn, below)  # all agree: nothing lies over it
    assert_color(square, mixed((28, 8, 56), mixed(CLASS[3], GREY, 0.65), 0.33))  # two of three
    assert page.is_visible("#ramp")


def test_a_class_is_switched_off_and_on(map_alone):
    opened, page = map_alone, map_alone.page
    page.uncheck("#class-2")
    page.check("#class-0")
    opened.settle()
    corn, tobacco, road = opened.colors(CORN, TOBACCO, ROAD)
    assert_color(corn, GREY)
    assert_color(tobacco, mixed(CLASS[1], GREY, 0.65))
    assert_color(road, mixed(CLASS[0], GREY, 0.65))
    page.check("#class-2")
    page.uncheck("#class-0")
    opened.settle()
    assert_color(opened.colors(CORN)[0], mixed(CLASS[2], GREY, 0.65))
    # Tiles that come later know what is off, too.
    page.uncheck("#class-2")
    for _ in range(4):
        page.click("#zoom-in")
    opened.settle()
    assert_color(opened.colors((535, 700))[0], GREY)


def test_swiping_between_two_layers_by_mouse_and_by_keys(opened):
    page = opened.page
    page.keyboard.press("c")
    opened.settle()
    corn, tobacco = opened.colors(CORN, TOBACCO)
    assert_color(tobacco, GREY)  # the scene, on the left
    assert_color(corn, mixed(CLASS[2], GREY, 0.65))
    box = page.locator("#viewer").bounding_box()
    knob = page.locator("#divider .knob").bounding_box()
    page.mouse.move(knob["x"] + 18, knob["y"] + 18)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.1 * box["width"], knob["y"] + 18, steps=5)
    page.mouse.up()
    opened.settle()
    assert_color(opened.colors(TOBACCO)[0], mixed(CLASS[1], GREY, 0.65))
    page.focus("#divider")
    page.keyboard.press("End")
    opened.settle()
    assert page.get_attribute("#divider", "aria-valuenow") == "100"
    corn, tobacco = opened.colors(CORN, TOBACCO)
    assert_color(corn, GREY)
    assert_color(tobacco, GREY)
    page.keyboard.press("Home")
    opened.settle()
    assert_color(opened.colors(TOBACCO)[0], mixed(CLASS[1], GREY, 0.65))
    page.select_option("#left", "truth")
    page.select_option("#right", "errors")
    for _ in range(25):
        page.locator("#divider").press("ArrowRight")
    assert page.get_attribute("#divider", "aria-valuenow") == "50"
    opened.settle()
    corn, tobacco, square = opened.colors(CORN, TOBACCO, WRONG_SQUARE)
    assert_color(tobacco, mixed(CLASS[1], GREY, 0.65))  # truth, on the left
    assert_color(corn, mixed(RIGHT, GREY, 0.9))
    assert_color(square, mixed(CLASS[2], GREY, 0.9))


UNDER_THE_CURSOR = {
    WRONG_SQUARE: ("map barley-rice", "truth corn", "agreement 67 %", "row 200", "column 900"),
    CORN: ("map corn", "truth corn", "agreement 100 %", "row 450", "column 1,200"),
    (HEIGHT - 2, WIDTH - 3): ("map building", "truth building", "agreement 100 %", "row 1,098", "column 1,297"),
    (511, 512): ("map cured tobacco", "truth cured tobacco", "agreement 100 %", "row 511", "column 512"),
    (30, 10): ("map –", "truth –", "row 30", "column 10"),
}


def test_the_readout_names_what_is_under_the_cursor(opened):
    for place, expected in UNDER_THE_CURSOR.items():
        # Zoomed in on it: then the page's pixels are finer than the scene's, and the cursor can hit one.
        opened.zoom_to(*place)
        opened.page.mouse.move(*opened.center(*place))
        there = "(text) => document.getElementById('readout').textContent.includes(text)"
        opened.page.wait_for_function(there, arg=expected[-1], timeout=5000)
        shown = opened.page.eval_on_selector_all("#readout > span", "spans => spans.map((span) => span.textContent)")
        assert tuple(shown) == expected


def test_the_list_leads_to_the_worst_place(opened):
    page = opened.page
    page.uncheck("#show-errors")
    assert "corn taken for barley-rice" in page.inner_text("#worst li:first-child")
    assert "40,000 px" in page.inner_text("#worst li:first-child")
    page.keyboard.press("n")
    opened.settle()
    page.wait_for_timeout(700)
    x, y = opened.center(200, 900)
    box = page.locator("#viewer").bounding_box()
    assert abs(x - box["x"] - box["width"] / 2) < 5
    assert abs(y - box["y"] - box["height"] / 2) < 5
    below = mixed(CLASS[3], GREY, 0.65)
    assert_color(opened.colors(WRONG_SQUARE)[0], mixed(CLASS[2], below, 0.9))  # errors are shown, to see what is wrong
    assert page.get_attribute("#worst li:first-child button", "aria-current") == "true"


def test_both_languages_and_no_word_is_missing(opened):
    page = opened.page
    words = {name: page.evaluate(f"() => Object.keys(WORDS.{name})") for name in ("en", "zh")}
    assert words["en"] == words["zh"]
    assert page.inner_text("h1").strip() == "Map report"
    page.keyboard.press("l")
    assert page.get_attribute("html", "lang") == "zh-CN"
    assert page.inner_text("h1").strip() == "制图报告"
    assert "薏仁米" in page.inner_text("#legend")
    assert "undefined" not in page.inner_text("body")
    page.click("#language")
    assert page.inner_text("h1").strip() == "Map report"
    empty = page.eval_on_selector_all("[data-word]", "all => all.filter((e) => !e.textContent).map((e) => e.outerHTML)")
    assert empty == []


def test_the_numbers_are_there(opened):
    page = opened.page
    assert page.inner_text("#stage-table thead th:last-child") == "vote"
    assert "a_1" in page.inner_text("#stage-table")
    assert page.locator("#confusion-table tbody tr").count() == len(JINGWEI)
    page.select_option("#stage", label="c_1")
    assert page.inner_text("#confusion-table tbody tr:nth-child(3) td:nth-child(4)") == "100.0"
    assert page.locator("#charts svg[role=img]").count() == 3
    assert page.locator("#charts svg[role=img]").first.locator("circle").count() == 3
    assert page.locator("#charts svg[role=img]").last.locator("circle").count() == 2  # epochs with a validation loss
    assert "swa/one" in page.inner_text("#experiment-table")
    assert "0.6000" in page.inner_text("#experiment-table")
    assert page.is_hidden("#filling")


def test_iou_by_class_over_the_epochs(opened):
    page = opened.page
    titles = page.eval_on_selector_all("#class-charts figcaption", "all => all.map((e) => e.textContent.trim())")
    assert titles == ["corn", "building"]  # those that the log has
    assert page.locator("#class-charts figure").first.locator("circle").count() == 2
    label = page.get_attribute("#class-charts figure:first-child svg[role=img]", "aria-label")
    assert label == "corn: swa/one 0.5000"
    assert page.inner_text("#class-charts figure:last-child dd") == "0.2500 after epoch 2"  # one epoch is no curve


@pytest.mark.parametrize("layer", ["map", "errors"])
def test_native_pixels_are_crisp(opened, layer):
    """At 16 screen pixels a pixel: its colour right up to its edge, in layers that are not opaque too."""
    page = opened.page
    page.add_style_tag(content="#pins { display: none }")  # the numbers of the worst places lie over the pixels
    for other in ("map", "errors"):
        page.set_checked(f"#show-{other}", other == layer)
    row, col = (450, 660) if layer == "map" else (100, 800)  # a corner of corn, and of what is wrong
    opened.zoom_to(row, col, 40)
    zoom = page.evaluate("look.zoom()")
    assert zoom >= 8
    near = 1.5 / zoom  # of a pixel of the scene
    beside, *inside = opened.colors((row + 0.5, col - near), *((row + y, col + x) for y in (near, 1 - near)
                                                             for x in (near, 1 - near)))  # fmt: skip
    assert_color(beside, GREY if layer == "map" else mixed((20, 20, 24), GREY, 0.9), 2)
    for seen in inside:
        assert_color(seen, mixed(CLASS[2], GREY, 0.65 if layer == "map" else 0.9), 2)
    assert page.evaluate("look.viewer.drawer.sketchContext.imageSmoothingEnabled") is False
    page.click("#zoom-home")
    opened.settle()
    page.wait_for_timeout(600)
    assert page.evaluate("look.viewer.drawer.sketchContext.imageSmoothingEnabled") is True
