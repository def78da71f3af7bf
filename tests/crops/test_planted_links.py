"""What others plant where cutting keeps its own files is not written through."""

import pytest

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.legend import JINGWEI
from jingwei.workspace import Workspace


@pytest.mark.parametrize("place", [".parts", ".parts/label", "data/.image_1_000000_000000.png.part"])
def test_links_in_a_train_folder_are_not_followed(place, county, tmp_path):
    victim = tmp_path / "elsewhere"
    victim.mkdir()
    (victim / "image_1.json").write_text("precious")
    workspace = Workspace(tmp_path / "work")
    link = workspace.train / place
    link.parent.mkdir(parents=True)
    link.symlink_to(victim)
    crops = cut_train(workspace, Workspace(county).train_scenes(), CutSettings(64, 64), JINGWEI, workers=1)
    assert crops
    assert [(path.name, path.read_text()) for path in victim.iterdir()] == [("image_1.json", "precious")]
    assert not [path for path in workspace.train.rglob("*") if path.is_symlink()]
