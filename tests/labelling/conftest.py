"""A project with places to label."""

import shutil

import numpy as np
import pytest
from projects_to_label import PLACE, SIDE, blocky, write_scene, write_votes

from jingwei.labelling.suggest import suggest
from jingwei.legend import JINGWEI
from jingwei.workspace import Workspace


@pytest.fixture(scope="session", params=[PLACE, None], ids=["placed", "unplaced"])
def asked_once(tmp_path_factory, request):
    """A project with a voted map whose best places are written, only to be read: (its folder, the map)."""
    root, labels = tmp_path_factory.mktemp("asked"), blocky()
    workspace = write_scene(root, labels, place=request.param)
    scene = workspace.cut_scenes()[0]
    write_votes(workspace, scene, labels, labels, np.roll(labels, 20, axis=1))
    suggest(workspace, [scene], JINGWEI, count=4, window=SIDE, simplify=0)
    labels.flags.writeable = False
    return root, labels


@pytest.fixture
def asked(asked_once, tmp_path):
    """The same, to work in: (workspace, scene, the map)."""
    root, labels = asked_once
    workspace = Workspace(shutil.copytree(root, tmp_path, dirs_exist_ok=True))
    return workspace, workspace.cut_scenes()[0], labels
