"""Legends: the three built in, and own ones from JSON with all their mistakes told at once."""

import json

import pytest

from jingwei.errors import SettingError
from jingwei.legend import GF2, GF3, JINGWEI, LEGENDS, NODATA, find_legend, legend_from_dict

OWN = {
    "name": "dubai",
    "background": None,
    "classes": [{"id": 0, "name": "land", "color": "#8429F6"}, {"id": 1, "name": "road", "color": "#6EC1E4"}],
}


def test_the_contest_legends_have_the_published_ids_and_colours():
    assert JINGWEI.names == ("background", "cured tobacco", "corn", "barley-rice", "building")
    assert [c.color for c in GF2.classes] == [
        (0, 0, 0), (0, 0, 255), (0, 255, 0), (0, 128, 0), (0, 255, 255),
        (255, 255, 0), (255, 255, 255), (255, 0, 255), (128, 128, 128),
    ]  # fmt: skip
    assert [c.color for c in GF3.classes] == [
        (0, 255, 255), (255, 255, 0), (0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255),
    ]  # fmt: skip
    for legend in LEGENDS.values():
        assert [c.id for c in legend.classes] == list(range(len(legend)))


def test_foreground_is_all_but_the_background():
    assert JINGWEI.foreground == (1, 2, 3, 4)
    assert GF3.foreground == (0, 1, 2, 3, 4, 5)


def test_colormap_has_opaque_classes_and_transparent_nodata():
    colors = legend_from_dict(OWN).colormap()
    assert colors == {0: (0x84, 0x29, 0xF6, 255), 1: (0x6E, 0xC1, 0xE4, 255), NODATA: (0, 0, 0, 0)}


@pytest.mark.parametrize("legend", LEGENDS.values(), ids=LEGENDS)
def test_a_legend_survives_its_json(legend, tmp_path):
    path = tmp_path / "legend.json"
    path.write_text(json.dumps(legend.to_dict()), encoding="utf-8")
    assert find_legend(str(path)) == legend
    assert find_legend(legend.name) == legend


def test_a_legend_without_background_key_has_class_0_as_background():
    content = {k: v for k, v in OWN.items() if k != "background"}
    assert legend_from_dict(content).background == 0


def test_classes_are_found_by_name_and_by_id():
    assert JINGWEI.id_of("corn") == JINGWEI.id_of("2") == 2
    with pytest.raises(SettingError, match="no class 'wheat'.*0 background, 1 cured tobacco, 2 corn"):
        JINGWEI.id_of("wheat")


def test_all_problems_of_a_legend_are_told_at_once(tmp_path):
    content = {
        "title": "mine",
        "background": 9,
        "classes": [
            {"id": 0, "name": "land", "color": "#8429F6"},
            {"id": 5, "name": "land", "color": "#000000"},
            {"id": 2, "name": "sea", "color": "blue"},
            {"id": 3, "color": "#010203"},
            "lake",
        ],
    }
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content))
    with pytest.raises(SettingError) as raised:
        find_legend(str(path))
    message = str(raised.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert message.count("unknown keys") == 1
    for problem in ["unknown keys title (known are name, background, classes, ignore, label_nodata, bands)",
                    "'land' has id 5 at place 1: ids run 0, 1, 2 ...", "place 2", "'blue'", "place 3", "'lake'",
                    "two classes are named 'land'", "background 9 is not a class id"]:  # fmt: skip
        assert problem in message


@pytest.mark.parametrize("color", ["8429F", "#8429F60", "#GGGGGG", "", "#12 34 ", 255, None, [1, 2, 3]])
def test_a_colour_that_is_not_rrggbb_is_refused(color):
    content = {"classes": [{"id": 0, "name": "land", "color": color}]}
    with pytest.raises(SettingError, match="class at place 0 is not id, name, color as #RRGGBB"):
        legend_from_dict(content)


def test_classes_of_one_colour_are_refused_by_name():
    colors = ["#102030", "#00FF00", "102030", "#00ff00", "#00FF01"]
    content = {"classes": [{"id": i, "name": "abcde"[i], "color": color} for i, color in enumerate(colors)]}
    with pytest.raises(SettingError) as raised:
        legend_from_dict(content)
    assert "'a' and 'c' have one colour, #102030: give each a \"color\" of its own" in str(raised.value)
    assert "'b' and 'd' have one colour, #00FF00" in str(raised.value)
    assert [c.name for c in legend_from_dict(content, kept=True).classes] == list("abcde")  # of a checkpoint


@pytest.mark.parametrize("key", ["colour", "vlaue", "Name"])
def test_unknown_keys_of_a_class_are_refused(key):
    classes = [{"id": 0, "name": "land", "color": "#000000"}, {"id": 1, "name": "sea", "color": "#0000FF", key: 7}]
    with pytest.raises(SettingError) as raised:
        legend_from_dict({"classes": classes})
    message = str(raised.value)
    assert f"class at place 1 has unknown keys {key} (" in message
    assert "known are id, name, color, value)" in message


@pytest.mark.parametrize("background", [False, True, 1.0, "land", [0]])
def test_a_background_that_is_no_id_is_refused(background):
    content = OWN | {"background": background}
    with pytest.raises(SettingError, match="background .* is not a class id: write null where no class is one"):
        legend_from_dict(content)


@pytest.mark.parametrize("content", [[], {}, {"classes": []}, {"classes": {}}, None, 3, "jingwei"])
def test_a_legend_needs_a_list_of_classes(content):
    with pytest.raises(SettingError, match='has no list "classes"'):
        legend_from_dict(content)


def test_more_classes_than_ids_below_nodata_are_refused():
    classes = [{"id": i, "name": f"c{i}", "color": f"#{i:06X}"} for i in range(NODATA + 1)]
    assert len(legend_from_dict({"classes": classes[: NODATA - 1]})) == NODATA - 1
    assert len(legend_from_dict({"classes": classes[:NODATA]})) == NODATA
    with pytest.raises(SettingError, match="256 classes, but ids end at 254"):
        legend_from_dict({"classes": classes})


@pytest.mark.parametrize("content", [b"{not json", b"\xff\xfe\x00", b""])
def test_a_file_that_is_no_json_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "legend.json"
    path.write_bytes(content)
    with pytest.raises(SettingError, match="is not (JSON|UTF-8 text|text)") as raised:
        find_legend(str(path))
    assert "\n" not in str(raised.value)


def test_a_legend_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "legend.json").write_text(json.dumps(OWN), encoding="utf-8-sig")
    assert find_legend(str(tmp_path / "legend.json")) == legend_from_dict(OWN)


@pytest.mark.parametrize("change", [{"color": "red"}, {"name": "land"}, {"colour": "#000000"}, {"color": "#8429F6"}])
def test_the_remedy_fits_the_problem(change):
    classes = [OWN["classes"][0], OWN["classes"][1] | change]
    with pytest.raises(SettingError, match="see the example of a legend in docs/formats.md") as raised:
        legend_from_dict({"classes": classes})
    assert "ids run" not in str(raised.value)


def test_an_unknown_legend_lists_the_known_ones():
    with pytest.raises(SettingError, match="wheat: no such legend: take jingwei, gf2, gf3 or"):
        find_legend("wheat")


def test_a_value_stands_for_a_class_in_masks_and_survives_its_json(tmp_path):
    content = {
        "name": "water",
        "background": 0,
        "classes": [
            {"id": 0, "name": "land", "color": "#804000", "value": 0},
            {"id": 1, "name": "water", "color": "#0000FF", "value": 255},
            {"id": 2, "name": "reed", "color": "#00FF00"},
        ],
    }
    legend = legend_from_dict(content)
    assert [c.mask_value for c in legend.classes] == [0, 255, 2]
    assert legend.to_dict() == content
    assert "value" not in str(JINGWEI.to_dict())  # stamps of what was made without values stay as they are


@pytest.mark.parametrize(("values", "problem"), [
    ((1, None), """in masks 1 would stand for 'a' and 'b': give each a "value" of its own"""),
    ((255, 255), "in masks 255 would stand for 'a' and 'b'"),
    ((256, None), "class 'a' has value 256, which is not a whole number from 0 to 255"),
    ((-1, None), "class 'a' has value -1"),
    (("white", 1.5), "class 'b' has value 1.5"),
    ((True, None), "class 'a' has value True"),
])  # fmt: skip
def test_values_that_say_nothing_are_refused(values, problem):
    classes = [{"id": i, "name": "ab"[i], "color": f"#00000{i}", "value": v} for i, v in enumerate(values)]
    with pytest.raises(SettingError) as raised:
        legend_from_dict({"classes": classes})
    assert problem in str(raised.value)


def test_values_may_be_ids_of_other_classes():
    classes = [{"id": i, "name": "ab"[i], "color": f"#00000{i}", "value": 1 - i} for i in range(2)]
    assert [c.mask_value for c in legend_from_dict({"classes": classes}).classes] == [1, 0]
