"""The page for everybody: axe's rules, phones, paper, the dark, the keyboard, tables wider than the page."""

import shutil

import numpy as np
import pytest
from report_page import Opened, assert_color, mixed

from jingwei.grid import Window
from jingwei.legend import GF2, NODATA
from jingwei.raster.png import write_png
from jingwei.raster.writing import TiledWriter
from jingwei.reporting.report import write_report
from jingwei.workspace import Workspace

PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
A4_PX = 718  # the width of A4 upright less 12 mm margins, at 96 px an inch
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture(scope="module")
def axe():
    """axe-core's rules."""
    found = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    return found.Axe()


def violations(axe, page) -> list[str]:
    """What axe finds wrong: rule, and the elements."""
    result = axe.run(page, options=RULES | {"resultTypes": ["violations"]}).response
    assert len(result["passes"]) > 20  # it did look
    return [
        f"{found['id']}: {node['target']} {node['any'][0]['message'] if node['any'] else ''}"
        for found in result["violations"]
        for node in found["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_axe_finds_nothing(chromium, voted, axe, theme, locale):
    opened = Opened(chromium, voted.root / "report", locale, color_scheme=theme)
    page = opened.page
    assert page.get_attribute("html", "data-theme") == theme
    page.click("#how-made summary")
    assert violations(axe, page) == []
    page.check("#show-agreement")
    page.click("#compare")
    page.click("#next")
    page.mouse.move(500, 500)
    opened.settle()
    assert violations(axe, page) == []
    page.click("#help-button")
    assert violations(axe, page) == []


def test_axe_finds_nothing_on_a_phone(chromium, wide, axe):
    opened = Opened(chromium, wide.root / "report", **PHONE)
    assert opened.page.is_visible("#stage-table[tabindex]")  # it scrolls, so it takes the keyboard's focus
    assert violations(axe, opened.page) == []


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Workspace:
    """Nine classes, seven models of long names, no truth to the right, and one log of one epoch each."""
    workspace = Workspace(tmp_path_factory.mktemp("wide"))
    rng = np.random.default_rng(0)
    labels = np.repeat(np.repeat(rng.integers(0, len(GF2), (6, 8)), 50, axis=0), 50, axis=1).astype(np.uint8)
    height, width = labels.shape
    with TiledWriter(workspace.root / "test/image3/image_3.tif", height, width, bands=3) as writer:
        writer.write(Window(0, 0, height, width), np.full((3, height, width), 120, np.uint8))
    write_png(workspace.root / "truth" / "image_3_label.png", np.where(np.arange(width) > 300, NODATA, labels))
    scene = workspace.cut_scenes()[0]
    for number in range(7):
        name = f"attention_unet_experiment_{number}"
        guessed = np.where(rng.random(labels.shape) < 0.02 * number, (labels + number) % len(GF2), labels)
        with TiledWriter(workspace.masks(scene) / f"{name}.tif", height, width, nodata=NODATA) as writer:
            writer.write(Window(0, 0, height, width), guessed.astype(np.uint8))
        log = workspace.experiment("attention_unet", f"experiment_{number}") / "log.csv"
        log.parent.mkdir(parents=True)
        ious = ",".join(f"iou {name}" for name in GF2.names)
        log.write_text(f"epoch,loss,val_loss,miou,{ious}\n1,1.5,1.6,0.2{',0.5' * len(GF2)}\n")
    write_report(workspace, [scene], GF2, workspace.root / "report", command="python report.py --legend gf2")
    return workspace


def overflowing(page) -> list[str]:
    """The elements that stick out of the page to the right."""
    return page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right
            > document.documentElement.clientWidth + 1 && getComputedStyle(e).position !== "absolute"
            && !e.closest("#viewer") && getComputedStyle(e.closest(".wide") || e).overflowX !== "auto")
            .map((e) => `${e.tagName} ${e.id} ${e.className} ${e.textContent.slice(0, 30)}`)"""
    )


@pytest.mark.parametrize("legend", ["five classes", "nine classes"])
def test_on_paper_nothing_sticks_out(chromium, voted, wide, legend):
    folder = (voted if legend == "five classes" else wide).root / "report"
    opened = Opened(chromium, folder, color_scheme="dark")
    page = opened.page
    page.set_viewport_size({"width": A4_PX, "height": 1000})
    page.emulate_media(media="print", color_scheme="dark")
    opened.settle()
    assert overflowing(page) == []
    assert page.evaluate("() => getComputedStyle(document.querySelector('#tables section')).backgroundColor") == (
        "rgb(255, 255, 255)"  # dark is for the screen
    )
    for control in ("#theme", "#zoom-in", "#compare", "#goto", ".steps", "#opacity-map"):
        assert page.is_hidden(control), control
    assert page.is_visible("#show-map ~ span")


def test_the_pdf_has_the_numbers_in_light(chromium, voted, tmp_path):
    opened = Opened(chromium, voted.root / "report", color_scheme="dark")
    opened.page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    opened.page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")  # as before


def test_class_names_are_kept_whole(chromium, wide):
    """No class's name is broken inside a word or cut, however narrow its column."""
    for settings in (PHONE, {"viewport": {"width": 1024, "height": 768}}):
        opened = Opened(chromium, wide.root / "report", **settings)
        for place in ("#confusion-table", "#class-table", "#stage-table", "#area-table", "#legend"):
            broken = opened.page.eval_on_selector_all(
                f"{place} tbody .name, {place}:not(#stage-table) thead .name, {place} label span",
                """(all) => all.filter((e) => {
                    const lines = e.getClientRects().length, words = e.textContent.split(/[ /-]/).length;
                    return lines > words || e.scrollWidth > e.clientWidth + 1 && e.clientWidth;
                }).map((e) => e.textContent)""",
            )
            assert broken == [], place
        opened.context.close()


def test_wide_tables_scroll_and_say_so(chromium, wide):
    opened = Opened(chromium, wide.root / "report", **PHONE)
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    hint = page.locator("#scores .scroll-hint")
    assert hint.inner_text() == "Scroll sideways for more →"
    assert page.get_attribute("#stage-table", "tabindex") == "0"
    page.set_viewport_size({"width": 1800, "height": 900})
    page.wait_for_function("() => document.querySelector('#scores .scroll-hint').hidden")
    assert page.get_attribute("#stage-table", "tabindex") is None


def test_curves_of_one_epoch_are_numbers(chromium, wide):
    opened = Opened(chromium, wide.root / "report")
    page = opened.page
    assert page.locator("#training svg[role=img]").count() == 0
    assert "0.2000 after epoch 1" in page.inner_text("#charts figure:first-child")
    assert page.locator("#class-charts figure").count() == len(GF2)


def test_the_confusion_matrix_can_be_read_on_all_its_shades(chromium, wide):
    for theme in ("light", "dark"):
        opened = Opened(chromium, wide.root / "report", color_scheme=theme)
        contrasts = opened.page.eval_on_selector_all(
            "#confusion-table tbody td",
            """(all) => all.map((e) => {
                const [ink, below] = ["color", "backgroundColor"].map((name) =>
                    luminance(getComputedStyle(e)[name].match(/[0-9.]+/g).slice(0, 3).map(Number)));
                return (Math.max(ink, below) + 0.05) / (Math.min(ink, below) + 0.05);
            })""",
        )
        assert len(contrasts) == len(GF2) ** 2
        assert min(contrasts) >= 4.5
        opened.context.close()


def test_dark_and_light_by_the_system_the_button_and_a_key(chromium, voted):
    opened = Opened(chromium, voted.root / "report", color_scheme="dark")
    page = opened.page

    def paper_is(color: str) -> None:
        now = "(color) => getComputedStyle(document.documentElement).backgroundColor === color"
        page.wait_for_function(now, arg=color, timeout=5000)

    paper_is("rgb(18, 23, 29)")
    page.emulate_media(color_scheme="light")
    paper_is("rgb(241, 243, 245)")
    page.click("#theme")
    paper_is("rgb(18, 23, 29)")
    assert page.inner_text("#theme") == "Light"
    page.reload()
    paper_is("rgb(18, 23, 29)")  # remembered
    page.keyboard.press("d")
    paper_is("rgb(241, 243, 245)")
    assert opened.complaints == []


def test_letters_as_keys_can_be_switched_off(opened):
    page = opened.page
    page.keyboard.press("?")
    page.uncheck("#keys-on")
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    page.keyboard.press("2")
    assert page.get_attribute("#compare", "aria-pressed") == "false"
    page.focus("#goto-text")
    page.evaluate("byId('keys-on').checked = true")
    page.keyboard.type("c 1")
    assert page.input_value("#goto-text") == "c 1"
    assert page.get_attribute("#compare", "aria-pressed") == "false"


def test_the_way_to_the_other_language_needs_no_font(opened):
    assert opened.page.inner_text("#language") == "中文 / ZH"
    assert opened.page.get_attribute("#language", "lang") == "zh-CN"


def test_a_phone_in_chinese(chromium, voted):
    phone = Opened(chromium, voted.root / "report", "zh-CN", **PHONE)
    page = phone.page
    assert page.inner_text("h1").strip() == "制图报告"
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390  # nothing sticks out sideways
    assert overflowing(page) == []
    boxes = {place: page.locator(place).bounding_box() for place in ("#summary", "#viewer", ".panel", "#tables")}
    assert boxes["#viewer"]["width"] == 390
    below = [boxes["#summary"], boxes["#viewer"], boxes[".panel"], boxes["#tables"]]
    for upper, lower in zip(below, below[1:], strict=False):
        assert lower["y"] >= upper["y"] + upper["height"] - 1
    page.evaluate("look.shown.errors = false; panel.writeLayers(); look.apply(); scrollTo(0, 300)")
    phone.settle()
    corn = (450, 1200)
    assert_color(phone.colors(corn)[0], mixed((0xF7, 0xF2, 0x9B), (120, 120, 120), 0.65))
    page.touchscreen.tap(*phone.center(*corn))
    page.wait_for_function("() => document.getElementById('readout').textContent.includes('玉米')", timeout=5000)
    for target in ("#zoom-in", "#compare", "#worst button", "#next", "#goto button", "#copy-link"):
        assert page.locator(target).first.bounding_box()["height"] >= 40  # a finger's breadth
    phone.assert_clean()
    phone.context.close()


def test_the_first_view_fits_the_window(chromium, voted):
    for width, height in ((1440, 900), (1024, 768)):
        opened = Opened(chromium, voted.root / "report", viewport={"width": width, "height": height})
        for place in ("#summary", "#viewer", "#worst li:first-child"):
            box = opened.page.locator(place).bounding_box()
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= height + 1, (place, width)
        assert opened.page.locator("#viewer").bounding_box()["height"] > 0.6 * height
        opened.context.close()


def test_the_data_stay_in_the_folder(chromium, voted, tmp_path):
    """The report is moved to a place of an awkward name, without all that it was made from."""
    folder = tmp_path / "报告 #1 100%25?"
    shutil.copytree(voted.root / "report", folder)
    opened = Opened(chromium, folder)
    opened.page.uncheck("#show-errors")
    opened.settle()
    assert_color(opened.colors((450, 1200))[0], mixed((0xF7, 0xF2, 0x9B), (120, 120, 120), 0.65))
    opened.assert_clean()
