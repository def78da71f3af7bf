"""Areas in the report are those that evaluate.py measures, pixel by pixel on the ellipsoid."""

import json

import numpy as np
import rasterio
from affine import Affine

from jingwei.evaluation.areas import measure_areas
from jingwei.legend import JINGWEI
from jingwei.reporting.report import write_report
from jingwei.workspace import Workspace


def test_hectares_of_classes_are_measured_on_the_whole_map(tmp_path):
    """One class in the north, one in the south: under degrees, a pixel in the middle stands for neither."""
    workspace = Workspace(tmp_path)
    labels = np.repeat(np.array([1, 3], np.uint8), 150)[:, None].repeat(200, axis=1)
    how = dict(driver="GTiff", height=300, width=200, dtype="uint8", crs="EPSG:4326",
               transform=Affine(0.01, 0, 100, 0, -0.01, 60))  # fmt: skip
    for path, bands in (("image3/image_3.tif", np.stack([labels * 40] * 3)), ("mask3/vote.tif", labels[None])):
        (tmp_path / "test" / path).parent.mkdir(parents=True)
        with rasterio.open(tmp_path / "test" / path, "w", count=len(bands), **how) as file:
            file.write(bands)
    (scene,) = workspace.cut_scenes()

    def areas(**how):
        write_report(workspace, [scene], JINGWEI, tmp_path / "report", **how)
        text = (tmp_path / "report" / "data.js").read_text()
        return json.loads(text[text.index("{") : text.rindex("}") + 1])["scenes"][0]["areas"]["hectares"]

    expected = measure_areas(workspace.vote(scene), JINGWEI)[0].hectares
    assert expected[3] > 1.03 * expected[1]
    np.testing.assert_allclose(areas(), expected, rtol=1e-12)
    np.testing.assert_allclose(areas(gsd=10.0), np.array([0, 30_000, 0, 30_000, 0]) * 100 / 1e4)
    np.testing.assert_allclose(areas(), expected, rtol=1e-12)
