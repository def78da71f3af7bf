"""Which legend is meant: one order, whatever lies where."""

import json

import numpy as np
import pytest

from jingwei.errors import SettingError
from jingwei.grid import Window
from jingwei.inputs.legends import choose_legend
from jingwei.legend import GF2, GF3, JINGWEI, Legend
from jingwei.raster.map_legend import legend_tags
from jingwei.raster.writing import TiledWriter


def own(folder, name: str) -> str:
    """A legend.json of that name in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    content = JINGWEI.to_dict() | {"name": name}
    (folder / "legend.json").write_text(json.dumps(content), encoding="utf-8")
    return name


@pytest.fixture
def places(tmp_path):
    """Every place that a legend can come from, each with its own: arguments of choose_legend in their order."""
    folder = tmp_path / "data"
    label = tmp_path / "set" / "test" / "lbl" / "1.png"
    label.parent.mkdir(parents=True)
    label.touch()
    own(tmp_path / "set", "of the label")
    own(folder / "train", "of the cut")
    own(folder, "of the folder")
    own(tmp_path, "of nothing: above all these")
    named = tmp_path / "named.json"
    named.write_text(json.dumps(JINGWEI.to_dict() | {"name": "named"}), encoding="utf-8")
    mapped = tmp_path / "maps" / "map.tif"
    with TiledWriter(mapped, 2, 2, tags=legend_tags(Legend("of the map", JINGWEI.classes))) as writer:
        writer.write(Window(0, 0, 2, 2), np.zeros((2, 2), np.uint8))
    return {
        "named": (named, "named"),
        "of_kind": ("gf2", "gf2"),
        "label": (label, "of the label"),
        "of_map": (mapped, "of the map"),
        "cut": (folder / "train", "of the cut"),
        "folder": (folder, "of the folder"),
        "of_network": (Legend("of the network", JINGWEI.classes), "of the network"),
        "usual": ("gf3", "gf3"),
    }


@pytest.mark.parametrize("missing", range(8))
def test_each_goes_before_all_that_follow(places, missing):
    given = dict(list(places.items())[missing:])
    chosen = choose_legend(**{key: value for key, (value, _) in given.items()})
    assert chosen.legend.name == next(iter(given.values()))[1]


def test_a_legend_itself_is_taken_as_it_is_and_none_is_jingwei():
    assert choose_legend(GF3).legend is GF3
    assert choose_legend().legend is JINGWEI
    assert choose_legend(usual=None) is None


@pytest.mark.parametrize("up", ["lbl", "test", "set"])
def test_the_labels_legend_may_lie_two_folders_above_a_folder_of_labels(tmp_path, up):
    labels = tmp_path / "far" / "set" / "test" / "lbl"
    labels.mkdir(parents=True)
    own(tmp_path / "far", "too far")
    assert choose_legend(label=labels).legend is JINGWEI
    above = next(path for path in (labels, *labels.parents) if path.name == up)
    own(above, "found")
    chosen = choose_legend(label=labels, folder=tmp_path / "data")
    assert (chosen.legend.name, chosen.source) == ("found", str(above / "legend.json"))


@pytest.fixture
def maps(tmp_path):
    """Two maps of one class, 1, each of its own legend, which the file is named after."""
    for legend in (GF2, GF3):
        with TiledWriter(tmp_path / f"{legend.name}.tif", 2, 2, tags=legend_tags(legend), nodata=255) as writer:
            writer.write(Window(0, 0, 2, 2), np.ones((2, 2), np.uint8))
    return tmp_path


def test_a_map_is_evaluated_by_its_own_legend(call, maps):
    status, out, err = call("evaluate.py", "--areas", "--prediction", maps / "gf3.tif", "--data_dir", maps)
    assert (status, "built-up" in out) == (0, True), err
    both = "--prediction", maps / "gf3.tif", "--label", maps / "gf2.tif"
    assert "built-up" in call("evaluate.py", *both, "--data_dir", maps)[1]
    assert "cured tobacco" in call("evaluate.py", *both, "--data_dir", maps, "--legend", "jingwei")[1]
    own(maps / "train", "of the cut")
    assert "legend.json: 5 classes" in call("evaluate.py", *both, "--data_dir", maps)[1]


def test_where_nothing_was_cut_maps_are_told_by_their_own_legend(call, maps):
    for place, name in (("image3", "image_3"), ("mask3", "gf3")):
        (maps / "test" / place).mkdir(parents=True)
        (maps / "test" / place / f"{name}.tif").write_bytes((maps / "gf3.tif").read_bytes())
    status, out, err = call("evaluate.py", "--areas", "--data_dir", maps)
    assert (status, "built-up" in out, "tobacco" in out) == (0, True, False), err
    (maps / "test" / "mask3" / "gf2.tif").write_bytes((maps / "gf2.tif").read_bytes())
    assert call("evaluate.py", "--areas", "--data_dir", maps)[0] == 2


def test_maps_of_different_classes_do_not_vote_unless_their_legend_is_named(call, maps):
    words = "--inputs", maps / "gf3.tif", maps / "gf2.tif", "--output", maps / "vote.tif", "--data_dir", maps
    status, _, err = call("vote.py", *words)
    assert status == 2
    assert err.count("\n") == 1
    assert "gf2.tif: says that 0 is other, but gf3.tif says water" in err
    assert not (maps / "vote.tif").exists()
    assert call("vote.py", *words, "--legend", "gf2")[0] == 0


def test_of_labels_in_the_data_folder_the_cuts_copy_comes_first(tmp_path):
    own(tmp_path / "train", "of the cut")
    own(tmp_path, "of the folder")
    label = tmp_path / "truth" / "image_3_label.png"
    label.parent.mkdir()
    how = {"label": label, "folder": tmp_path}
    assert choose_legend(**how, cut=tmp_path / "train").legend.name == "of the cut"
    assert choose_legend(**how).legend.name == "of the folder"


def test_a_folder_named_train_may_have_its_legend_beside_it(tmp_path):
    own(tmp_path, "beside")
    assert choose_legend(folder=tmp_path / "Train").legend.name == "beside"
    assert choose_legend(folder=tmp_path / "other").legend is JINGWEI
    own(tmp_path / "Train", "within")
    assert choose_legend(folder=tmp_path / "Train").legend.name == "within"


def test_a_broken_legend_is_an_error_and_not_passed_over(tmp_path):
    (tmp_path / "legend.json").write_text("{")
    with pytest.raises(SettingError, match="legend.json: is not JSON"):
        choose_legend(folder=tmp_path, of_network=GF2)
    with pytest.raises(SettingError, match="nowhere: no such legend"):
        choose_legend("nowhere", folder=tmp_path)
