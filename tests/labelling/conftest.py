"""A project with places to label."""

import numpy as np
import pytest
from projects_to_label import PLACE, SIDE, blocky, write_scene, write_votes

from jingwei.labelling.suggest import suggest
from jingwei.legend import JINGWEI


@pytest.fixture(params=[PLACE, None], ids=["placed", "unplaced"])
def asked(tmp_path, request):
    """A project with a voted map whose best places are written: (workspace, scene, the map)."""
    labels = blocky()
    workspace = write_scene(tmp_path, labels, place=request.param)
    scene = workspace.cut_scenes()[0]
    write_votes(workspace, scene, labels, labels, np.roll(labels, 20, axis=1))
    suggest(workspace, [scene], JINGWEI, count=4, window=SIDE, simplify=0)
    return workspace, scene, labels
