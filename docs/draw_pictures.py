"""Make the README's pictures from what `make demo` left: a scene beside its map, and the report in a browser.

    python docs/draw_pictures.py --data_dir data/sample

Reads data/sample/test/ and data/sample/report/; writes docs/pictures/scene_and_map.jpg and report.jpg. The report needs
the package playwright (`make setup` installs it) and Chromium (`make browser`); without them, only the first is drawn.
"""

import argparse
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs in a clone, installed or not

import numpy as np
import rasterio
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rasterio.windows import Window

from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.preview import painted
from jingwei.workspace import Workspace

PICTURES = Path(__file__).with_name("pictures")
SIDE = 900  # px of the scene that are shown
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
QUALITY = {"quality": 85}


def draw_scene_and_map(workspace: Workspace, path: Path) -> None:
    """A part of the first test scene beside its final map: the part with the most classes."""
    scene = workspace.cut_scenes()[0]
    with rasterio.open(workspace.final_map(scene)) as file:
        labels_HW = file.read(1)
    top, left = _liveliest(labels_HW)
    with rasterio.open(workspace.tiled(scene)) as file:
        pixels_HWC = file.read((1, 2, 3), window=Window(left, top, SIDE, SIDE)).transpose(1, 2, 0)
    shown = labels_HW[top : top + SIDE, left : left + SIDE]
    figure = Figure(figsize=(11, 5.9), layout="constrained")
    for axes, picture in zip(figure.subplots(1, 2), (pixels_HWC, painted(shown, JINGWEI)), strict=True):
        axes.imshow(picture, interpolation="antialiased")
        axes.set_axis_off()
    entries = [Patch(color=np.array(each.color) / 255, label=each.name) for each in JINGWEI.classes]
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), frameon=False, fontsize=12)
    figure.savefig(path, dpi=100, pil_kwargs=QUALITY)


def _liveliest(labels_HW: np.ndarray) -> tuple[int, int]:
    """The corner of the SIDE x SIDE part with the fewest invalid pixels and the most even shares of classes."""
    best, corner = -np.inf, (0, 0)
    for top in range(0, max(1, labels_HW.shape[0] - SIDE), 100):
        for left in range(0, max(1, labels_HW.shape[1] - SIDE), 100):
            part = labels_HW[top : top + SIDE, left : left + SIDE]
            shares = np.bincount(part[part != NODATA], minlength=len(JINGWEI)) / part.size
            spread = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
            score = spread - 10 * np.mean(part == NODATA)
            best, corner = max((best, corner), (score, (top, left)))
    return corner


def photograph_report(folder: Path, path: Path) -> None:
    """The report's first view, as a headless browser shows it."""
    from playwright.sync_api import sync_playwright

    browser_path = next(found for found in map(shutil.which, BROWSERS) if found)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(locale="en-GB", viewport={"width": 1280, "height": 860})
        page.goto((folder / "index.html").resolve().as_uri())
        page.wait_for_timeout(4000)  # tiles come one after another, from disk
        page.screenshot(path=path, type="jpeg", quality=80)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", type=Path, default=Path("data/sample"), help="the demo's data folder")
    parser.add_argument("--output", type=Path, default=PICTURES, help="folder of the pictures")
    args = parser.parse_args()
    workspace = Workspace(args.data_dir)
    draw_scene_and_map(workspace, args.output / "scene_and_map.jpg")
    try:
        photograph_report(workspace.root / "report", args.output / "report.jpg")
    except (ImportError, StopIteration):
        print("no playwright or no browser here: report.jpg is left as it is")


if __name__ == "__main__":
    main()
