"""Names of bands: what counts as one, and when two lists contradict each other."""

import pytest

from jingwei.errors import SettingError
from jingwei.legend import JINGWEI, legend_from_dict
from jingwei.spectrum import RGB, SETS, agree, known_names, named_set, spelled


@pytest.mark.parametrize(("descriptions", "expected"), [
    (["B02", "B03", "B04", "B08"], ("blue", "green", "red", "nir")),
    (["B05", "B8A", "B11"], ("rededge1", "nir_narrow", "swir1")),
    (["Red (665 nm)", "GREEN", " Near Infrared "], ("red", "green", "nir")),
    (["red", None, "blue"], ("red", "", "blue")),
    (["B5", "B4", "B3"], ()),  # Landsat 8's nir, or Sentinel-2's red edge
    (["B05", "B04"], ("", "red")),
    (["Band 1", "2021-05-01", "reflectance", ""], ()),
    (["red", "R", "green"], ()),  # one twice
])  # fmt: skip
def test_descriptions_say_what_is_known_and_nothing_else(descriptions, expected):
    assert known_names(descriptions) == expected


def test_names_of_sets_and_lists():
    assert named_set("bgrn") == ("blue", "green", "red", "nir") == named_set("B, g, Red, near-infrared")
    assert len(SETS["sentinel2"]) == 13
    assert len(SETS["sentinel2_l2a"]) == 12
    assert set(SETS["sentinel2"]) - set(SETS["sentinel2_l2a"]) == {"cirrus"}


def test_lists_agree_unless_a_band_has_two_names():
    assert agree(RGB, ()) and agree(RGB, ("red", "", ""))  # noqa: PT018
    assert not agree(RGB, ("blue", "", ""))
    assert not agree(RGB, (*RGB, "nir"))


def test_a_legend_keeps_its_bands():
    content = JINGWEI.to_dict() | {"bands": ["B", "Green", "red", ""]}
    legend = legend_from_dict(content)
    assert legend.bands == ("blue", "green", "red", "")
    assert legend_from_dict(legend.to_dict()) == legend
    assert legend_from_dict(legend.to_dict()).bands == legend.bands
    assert "bands" not in JINGWEI.to_dict()


@pytest.mark.parametrize(("bands", "problem"), [
    (["red", "R"], "names red twice"),
    ("rgb", "is not a list of names"),
    ([1, 2], "is not a list of names"),
    ([], "is not a list of names"),
    (["x" * 65], "has a name of more than 64 characters"),
])  # fmt: skip
def test_a_legend_with_impossible_bands_is_refused(bands, problem):
    with pytest.raises(SettingError, match=f'"bands" {problem}'):
        legend_from_dict(JINGWEI.to_dict() | {"bands": bands})


def test_own_names_are_kept_as_they_are():
    assert spelled(["Elevation", "NDVI"]) == ("elevation", "ndvi")
