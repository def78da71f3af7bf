"""A report that is open in a browser, and what the tests ask of it."""

from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH = 1100, 1300  # of the scene that `voted` has: three levels of tiles
EN = "en-GB"


class Opened:
    """The page of a report, and what went wrong in it."""

    def __init__(self, browser, folder: Path, locale: str = EN, hash: str = "", **settings):
        self.folder, self.complaints, self.asked = folder, [], []
        self.context = browser.new_context(**{"locale": locale, "viewport": {"width": 1400, "height": 900}} | settings)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto((folder / "index.html").as_uri() + hash)
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

    def colors(self, *places: tuple[float, float]) -> list[list[int]]:
        """What a person sees at pixels (row, column) of the scene: RGB of the page's screenshot."""
        points = self.on_page(*places)
        shot = cv2.imdecode(np.frombuffer(self.page.screenshot(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        scale = shot.shape[1] / self.page.viewport_size["width"]
        return [shot[int(y * scale), int(x * scale)].tolist() for x, y in points]

    def center(self, row: int, col: int) -> tuple[float, float]:
        """Where the centre of a pixel of the scene is on the page, px."""
        return self.on_page((row + 0.5, col + 0.5))[0]

    def zoom_to(self, row: int, col: int, side: int = 61) -> None:
        """Shows a square of the scene around a pixel, as large as it may be."""
        self.page.evaluate(
            """([row, col, side]) => look.viewer.viewport.fitBounds(look.items.scene.imageToViewportRectangle(
                new OpenSeadragon.Rect(col - side / 2, row - side / 2, side, side)), true)""",
            [row, col, side],
        )
        self.settle()

    def assert_clean(self) -> None:
        assert self.complaints == []
        inside = self.folder.resolve().as_uri() + "/"
        assert [url for url in self.asked if not url.startswith((inside, "data:", "blob:"))] == []
        assert any("/tiles/" in url for url in self.asked)


def mixed(color, below, share: float) -> np.ndarray:
    """A colour laid over another."""
    return np.round(share * np.array(color) + (1 - share) * np.array(below))


def assert_color(seen, expected, tolerance: int = 4) -> None:
    assert np.abs(np.array(seen, int) - np.array(expected)).max() <= tolerance, f"{seen}, expected {expected}"
