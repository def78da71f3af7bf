"""The report shows how many labels change by chance where somebody has found out, and nothing where not."""

import json

import numpy as np
import rasterio

from jingwei.legend import JINGWEI
from jingwei.reporting.facts import scene_facts
from jingwei.workspace import Workspace, robustness_of


def write(path, values) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = values.shape
    with rasterio.open(path, "w", driver="GTiff", count=bands, height=height, width=width, dtype="uint8") as file:
        file.write(values)


def test_it_is_that_of_the_final_map_or_of_what_was_filled(tmp_path):
    workspace = Workspace(tmp_path)
    (tmp_path / "a_test").mkdir()
    write(tmp_path / "test/image3/image_3.tif", np.zeros((3, 20, 30), np.uint8))
    (scene,) = workspace.cut_scenes()
    assert scene_facts(workspace, scene, {}, JINGWEI)["robust"] is None
    made = workspace.masks(scene) / "swa_a.tif"
    write(made, np.zeros((1, 20, 30), np.uint8))
    found = {"shifts": 0.02, "flips": 0.03, "light": 0.01, "scale": 0.05}
    place = robustness_of(made)
    place.parent.mkdir()
    place.write_text(json.dumps(found | {"trials": {}, "pixels": 600}))
    assert scene_facts(workspace, scene, {}, JINGWEI)["robust"] == found
    write(workspace.filled(scene), np.zeros((1, 20, 30), np.uint8))
    assert scene_facts(workspace, scene, {}, JINGWEI)["robust"] == found
    place.write_text("{broken")
    assert scene_facts(workspace, scene, {}, JINGWEI)["robust"] is None
