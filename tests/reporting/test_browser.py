"""The report in a real browser, opened from disk: it draws, it answers, and it asks for nothing outside its folder."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.png import write_png
from jingwei.raster.writing import TiledWriter
from jingwei.reporting.report import write_report
from jingwei.voting.vote import VoteFiles, vote
from jingwei.workspace import Workspace

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
FLAGS = ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"]  # root has no sandbox, in containers
HEIGHT, WIDTH = 1100, 1300  # three levels of tiles
EN, ZH = "en-GB", "zh-CN"


@pytest.fixture(scope="module")
def chromium():
    """A headless browser of this machine."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if found is None:
        pytest.skip(f"no browser here, none of {', '.join(BROWSERS)}: `make browser` installs one where it can")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def truth_HW() -> np.ndarray:
    """Four fields of four classes, a strip of background between them; nothing is known at the left edge."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:540, :640], labels[:540, 660:], labels[560:, :640], labels[560:, 660:] = 1, 2, 3, 4
    labels[:, :40] = NODATA
    return labels


@pytest.fixture(scope="module")
def project(tmp_path_factory, truth_HW) -> Workspace:
    """A grey scene, its truth, and a vote of three maps: one is right, two take a square of corn for barley-rice."""
    workspace = Workspace(tmp_path_factory.mktemp("browser"))
    image = workspace.root / "test" / "image3" / "image_3.tif"
    where = {"height": HEIGHT, "width": WIDTH}
    valid = truth_HW != NODATA
    with TiledWriter(image, **where, bands=3, mask=True) as writer:
        writer.write(Window(0, 0, HEIGHT, WIDTH), np.full((3, HEIGHT, WIDTH), 120, np.uint8), valid)
    write_png(workspace.root / "truth" / "image_3_label.png", truth_HW)
    wrong = truth_HW.copy()
    wrong[100:300, 800:1000] = 3
    scene = workspace.cut_scenes()[0]
    maps = []
    for name, labels in (("a_1", wrong), ("b_1", wrong), ("c_1", truth_HW)):
        maps.append(workspace.masks(scene) / f"{name}.tif")
        with TiledWriter(maps[-1], **where, nodata=NODATA) as writer:
            writer.write(Window(0, 0, HEIGHT, WIDTH), labels)
    vote(maps, VoteFiles(workspace.vote(scene), workspace.agreement(scene), workspace.entropy(scene)), JINGWEI)
    log = workspace.experiment("swa", "one") / "log.csv"
    log.parent.mkdir(parents=True)
    log.write_text("epoch,loss,val_loss,miou\n1,1.5,1.6,0.2\n2,0.8,,0.5\n3,0.6,0.9,0.6\n")
    write_report(workspace, workspace.cut_scenes(), JINGWEI, workspace.root / "report")
    return workspace


class Opened:
    """The page of a report, and what went wrong in it."""

    def __init__(self, browser, folder: Path, locale: str, **settings):
        self.folder, self.complaints, self.asked = folder, [], []
        self.context = browser.new_context(locale=locale, **settings)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto((folder / "index.html").as_uri())
        self.settle()

    def settle(self) -> None:
        """Waits until all tiles are there and nothing moves any more."""
        self.page.wait_for_function(
            """() => !look.viewer || (look.items.scene
                && look.viewer.imageLoader.jobsInProgress === 0 && !look.viewer.isAnimating?.()
                && Object.values(look.items).every((item) => item.opacity === 0 || item.getFullyLoaded()))""",
            timeout=20_000,
        )
        self.page.wait_for_timeout(120)  # the last frames of a movement

    def on_page(self, *places: tuple[float, float]) -> list[tuple[float, float]]:
        """Where points (row, column) of the scene are on the page: (x, y), px."""
        return self.page.evaluate(
            """(places) => places.map(([row, col]) => {
                const at = look.items.scene.imageToViewerElementCoordinates(new OpenSeadragon.Point(col, row));
                const box = document.getElementById("viewer").getBoundingClientRect();
                return [at.x + box.left, at.y + box.top];
            })""",
            [list(place) for place in places],
        )

    def colors(self, *places: tuple[int, int]) -> list[list[int]]:
        """What a person sees at pixels (row, column) of the scene: RGB of the page's screenshot."""
        points = self.on_page(*places)
        shot = cv2.imdecode(np.frombuffer(self.page.screenshot(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        scale = shot.shape[1] / self.page.viewport_size["width"]
        return [shot[int(y * scale), int(x * scale)].tolist() for x, y in points]

    def center(self, row: int, col: int) -> tuple[float, float]:
        """Where the centre of a pixel of the scene is on the page, px."""
        return self.on_page((row + 0.5, col + 0.5))[0]

    def assert_clean(self) -> None:
        assert self.complaints == []
        inside = self.folder.resolve().as_uri() + "/"
        assert [url for url in self.asked if not url.startswith((inside, "data:", "blob:"))] == []
        assert any("/tiles/" in url for url in self.asked)


@pytest.fixture
def opened(chromium, project):
    page = Opened(chromium, project.root / "report", EN, viewport={"width": 1400, "height": 900})
    yield page
    page.assert_clean()
    page.context.close()


CORN, TOBACCO, WRONG_SQUARE, ROAD = (450, 1200), (270, 300), (200, 900), (550, 700)


def mixed(color, below, share: float) -> np.ndarray:
    """A colour laid over another."""
    return np.round(share * np.array(color) + (1 - share) * np.array(below))


def assert_color(seen, expected, tolerance: int = 4) -> None:
    assert np.abs(np.array(seen, int) - np.array(expected)).max() <= tolerance, f"{seen}, expected {expected}"


GREY = (120, 120, 120)
CLASS = [land_class.color for land_class in JINGWEI.classes]


def test_the_map_lies_over_the_scene_in_the_legends_colours(opened):
    corn, tobacco, road, square = opened.colors(CORN, TOBACCO, ROAD, WRONG_SQUARE)
    assert_color(corn, mixed(CLASS[2], GREY, 0.65))
    assert_color(tobacco, mixed(CLASS[1], GREY, 0.65))
    assert_color(road, GREY)  # the background is off at first
    assert_color(square, mixed(CLASS[3], GREY, 0.65))


def test_layers_and_opacity_change_what_is_seen(opened):
    page = opened.page
    page.uncheck("#show-map")
    opened.settle()
    assert_color(opened.colors(CORN)[0], GREY)
    page.check("#show-truth")
    page.fill("#opacity-truth", "100")
    opened.settle()
    corn, square = opened.colors(CORN, WRONG_SQUARE)
    assert_color(corn, CLASS[2])
    assert_color(square, CLASS[2])
    page.check("#show-errors")
    opened.settle()
    corn, square = opened.colors(CORN, WRONG_SQUARE)
    assert_color(corn, CLASS[2])
    assert_color(square, (214, 0, 110))
    page.check("#show-agreement")
    page.uncheck("#show-errors")
    page.fill("#opacity-agreement", "100")
    opened.settle()
    corn, square = opened.colors(CORN, WRONG_SQUARE)
    assert min(corn) > 245  # all agree: nearly white
    assert square[1] < 230  # two of three: darker


def test_a_class_is_switched_off_and_on(opened):
    page = opened.page
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
    assert_color(corn, GREY)  # no error there
    assert_color(square, (214, 0, 110))


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
        opened.page.evaluate(
            """([row, col]) => look.viewer.viewport.fitBounds(
                look.items.scene.imageToViewportRectangle(new OpenSeadragon.Rect(col - 30, row - 30, 61, 61)), true)""",
            list(place),
        )
        opened.settle()
        opened.page.mouse.move(*opened.center(*place))
        told = "(text) => document.getElementById('readout').textContent.includes(text)"
        opened.page.wait_for_function(told, arg=expected[-1], timeout=5000)
        shown = opened.page.eval_on_selector_all("#readout > span", "spans => spans.map((span) => span.textContent)")
        assert tuple(shown) == expected


def test_the_list_leads_to_the_worst_place(opened):
    page = opened.page
    assert "corn taken for barley-rice" in page.inner_text("#worst li:first-child")
    assert "40,000 px" in page.inner_text("#worst li:first-child")
    page.keyboard.press("n")
    opened.settle()
    page.wait_for_timeout(700)
    x, y = opened.center(200, 900)
    box = page.locator("#viewer").bounding_box()
    assert abs(x - box["x"] - box["width"] / 2) < 5
    assert abs(y - box["y"] - box["height"] / 2) < 5
    assert_color(opened.colors(WRONG_SQUARE)[0], (214, 0, 110))  # errors are shown, to see what is wrong
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
    assert page.inner_text("#stage-table tbody tr:last-child th") == "vote"
    assert "a_1" in page.inner_text("#stage-table")
    assert page.locator("#confusion-table tbody tr").count() == len(JINGWEI)
    page.select_option("#stage", "c_1")
    assert page.inner_text("#confusion-table tbody tr:nth-child(3) td:nth-child(4)") == "100.0"
    assert page.locator("#charts svg").count() == 3
    assert page.locator("#charts svg").first.locator("circle").count() == 3
    assert page.locator("#charts svg").last.locator("circle").count() == 2  # epochs with a validation loss
    assert "swa/one" in page.inner_text("#experiment-table")
    assert "0.6000" in page.inner_text("#experiment-table")
    assert page.is_hidden("#filling")


def test_a_phone_in_chinese(chromium, project):
    phone = Opened(chromium, project.root / "report", ZH, viewport={"width": 390, "height": 844},
                   device_scale_factor=2, is_mobile=True, has_touch=True)  # fmt: skip
    page = phone.page
    assert page.inner_text("h1").strip() == "制图报告"
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390  # nothing sticks out sideways
    viewer, panel = page.locator("#viewer").bounding_box(), page.locator(".panel").bounding_box()
    assert viewer["width"] == 390
    assert panel["y"] >= viewer["y"] + viewer["height"]
    assert_color(phone.colors(CORN)[0], mixed(CLASS[2], GREY, 0.65))
    page.touchscreen.tap(*phone.center(*CORN))
    page.wait_for_function("() => document.getElementById('readout').textContent.includes('玉米')", timeout=5000)
    for target in ("#zoom-in", "#compare", "#worst button"):
        assert page.locator(target).first.bounding_box()["height"] >= 40  # a finger's breadth
    phone.assert_clean()
    phone.context.close()


def test_a_report_without_scenes_is_numbers_alone(chromium, project, tmp_path):
    write_report(project, [], JINGWEI, tmp_path / "report", language="zh")
    report = Opened(chromium, tmp_path / "report", EN)
    assert report.page.inner_text("h1").strip() == "制图报告"  # as asked for, whatever the reader's own is
    assert report.page.is_hidden("#look")
    assert report.page.is_visible("#training")
    assert report.page.is_hidden("#scores")
    assert report.complaints == []
    report.context.close()
