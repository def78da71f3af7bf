"""A report to look at, and a browser to look at it with."""

import shutil

import numpy as np
import pytest
from report_page import HEIGHT, WIDTH, Opened

from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.png import write_png
from jingwei.raster.writing import TiledWriter
from jingwei.reporting.report import write_report
from jingwei.voting.vote import VoteFiles, vote
from jingwei.workspace import Workspace

BROWSERS = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"]  # root has no sandbox, in containers


@pytest.fixture(scope="session")
def headless():
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


@pytest.fixture
def chromium(headless):
    """The same for one test, whose pages are closed after it: a page that is left open draws on and on."""
    yield headless
    for context in list(headless.contexts):
        context.close()


@pytest.fixture(scope="session")
def truth_HW() -> np.ndarray:
    """Four fields of four classes, a strip of background between them; nothing is known at the left edge."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:540, :640], labels[:540, 660:], labels[560:, :640], labels[560:, 660:] = 1, 2, 3, 4
    labels[:, :40] = NODATA
    return labels


@pytest.fixture(scope="session")
def voted(tmp_path_factory, truth_HW) -> Workspace:
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
    head = "epoch,loss,val_loss,miou,iou corn,iou building\n"
    log.write_text(f"{head}1,1.5,1.6,0.2,0.1,\n2,0.8,,0.5,0.5,0.25\n3,0.6,0.9,0.6,,\n")
    write_report(workspace, workspace.cut_scenes(), JINGWEI, workspace.root / "report")
    return workspace


@pytest.fixture
def opened(chromium, voted):
    page = Opened(chromium, voted.root / "report")
    yield page
    page.assert_clean()
