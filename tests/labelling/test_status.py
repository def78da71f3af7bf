"""Scores over rounds: on areas for testing, whose truth may be a raster; by the labels that the maps have learned."""

import numpy as np
import pyogrio
import pytest
import shapely
from projects_to_label import HEIGHT, WIDTH, blocky, fill_labels, layer, write_scene, write_votes

from jingwei.grid import Window
from jingwei.labelling.status import score_now
from jingwei.labelling.suggest import suggest
from jingwei.labels.rules import rules_of
from jingwei.legend import JINGWEI
from jingwei.raster.png import write_png
from jingwei.workspace import Workspace

LEFT = 60  # columns of the area for testing


@pytest.mark.filterwarnings("ignore:.*crs.*")
def test_a_labelled_next_is_a_round_that_was_learned(tmp_path):
    labels = blocky()
    workspace = write_scene(tmp_path, labels, place=None)
    scene = workspace.cut_scenes()[0]
    guessed = np.roll(labels, 20, axis=1)
    write_votes(workspace, scene, guessed, guessed, labels)
    write_png(tmp_path / "truth" / "image_3_label.png", labels)
    areas = tmp_path / "areas.gpkg"
    wkb = shapely.to_wkb(np.array([shapely.box(0, -HEIGHT, LEFT, 0)], object))
    pyogrio.raw.write(areas, wkb, [np.array(["test"], object)], ["use"], geometry_type="Polygon", crs=None)
    workspace = Workspace(tmp_path, rules_of(labelled=areas))
    scenes = workspace.cut_scenes()
    with scenes[0].open_image() as image:
        inside = image.read_validity(Window(0, 0, HEIGHT, WIDTH))[:, :LEFT]
    before = score_now(workspace, scenes, JINGWEI)
    assert before is not None
    assert (before.rounds, before.pixels) == (0, int(inside.sum()))
    suggest(workspace, scenes, JINGWEI, count=2, window=40)
    path = workspace.next_labels(scenes[0])
    assert score_now(workspace, scenes, JINGWEI) == before
    fill_labels(path, layer(path, "labels")[1]["guess"].tolist())
    after = score_now(workspace, workspace.cut_scenes(), JINGWEI)
    assert after == before._replace(rounds=1)
