"""What tests of crops share: the county's training scenes, and folders of samples."""

from pathlib import Path

import pytest
from cut_scenes import cut
from sample_folders import blocky, write_optical

from jingwei.inputs.scenes import Scene
from jingwei.workspace import Workspace


@pytest.fixture(scope="session")
def scenes(county) -> list[Scene]:
    return Workspace(county).train_scenes()


@pytest.fixture(scope="session")
def cut_county(scenes, tmp_path_factory):
    """(folder, crops) of the county's training scenes, cut once. Only to be read."""
    root = tmp_path_factory.mktemp("cut")
    return root, cut(root, scenes)


@pytest.fixture
def two_sides(tmp_path) -> Path:
    """{train,valid}/{img,lbl} with samples of mixed sizes, one smaller than a crop, one larger."""
    shapes = {"train": [(64, 64), (40, 50), (100, 90)], "valid": [(64, 64), (30, 70)]}
    for side, its in shapes.items():
        write_optical(tmp_path / "data" / side, {str(i): blocky(shape, 9, i) for i, shape in enumerate(its)})
    return tmp_path / "data"
