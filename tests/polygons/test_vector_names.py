"""Names of vector files that the reader takes for addresses: it would open another file than the one that was meant.

`a!b.gpkg` is b.gpkg of an archive a for it, what is behind a `;` is dropped, and so are tabs and line breaks.
"""

import numpy as np
import pyogrio
import pytest
import shapely

from jingwei.errors import InputError, SettingError
from jingwei.polygons.reading import read_features
from jingwei.polygons.writing import vector_writer

BOX = shapely.to_wkb(np.array([shapely.box(0, 0, 1, 1)], object))


def file_named(path, name):
    """A GeoPackage of one box under a name."""
    plain = path.parents[path.parent.name.startswith("d")] / "plain.gpkg"  # not in the odd folder
    path.parent.mkdir(parents=True, exist_ok=True)
    pyogrio.raw.write(plain, BOX, [np.array([name], object)], ["name"], geometry_type="Polygon", crs="EPSG:4326")
    plain.rename(path)
    return path


@pytest.mark.parametrize("name", ["a!b.gpkg", "a;b.gpkg", "a\nb.gpkg", "a\tb.gpkg", "d!/b.gpkg", "d;x/a;b.gpkg"])
def test_such_a_file_is_refused_and_no_other_one_is_read(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for other in ("a", "ab.gpkg", "b.gpkg"):
        file_named(tmp_path / other, "wrong")
    with pytest.raises(InputError, match="has, or lies in a folder with, one of !, ;, .* in its name: rename it"):
        read_features(file_named(tmp_path / name, "right"))


@pytest.mark.parametrize(
    "name", ["a?b.gpkg", "a#b.gpkg", "a%25b.gpkg", "-a.gpkg", "d;x/b.gpkg", "a b .gpkg", "c:a.gpkg"]
)
def test_other_names_are_read(name, tmp_path):
    _, columns, _ = read_features(file_named(tmp_path / name, "right"))
    assert columns["name"].tolist() == ["right"]


def test_two_slashes_are_not_a_host(tmp_path):
    file_named(tmp_path / "a.gpkg", "right")
    _, columns, _ = read_features(f"/{tmp_path}/a.gpkg")
    assert columns["name"].tolist() == ["right"]


def test_geopackages_are_not_written_under_such_names_but_geojson_is(tmp_path):
    with pytest.raises(SettingError, match=r"one of !, ;, .*: take .geojson or .parquet, or another name"):
        with vector_writer(tmp_path / "a!b.gpkg", "Polygon", {"name": str}):
            pass
    assert not list(tmp_path.iterdir())
    with vector_writer(tmp_path / "a!b.geojson", "Polygon", {"name": str}) as writer:
        writer.write(BOX, {"name": ["right"]})
    assert [p.name for p in tmp_path.iterdir()] == ["a!b.geojson"]


@pytest.mark.parametrize("name", ["gpkg_fields", "Sqlite_fields", "layer_styles", "-fields"])
def test_names_of_tables_that_are_taken_are_no_names_of_layers(name, tmp_path):
    path = tmp_path / f"{name}.gpkg"
    with vector_writer(path, "Polygon", {"name": str}, style="<qgis/>") as writer:
        writer.write(BOX, {"name": ["right"]})
    _, columns, _ = read_features(path)
    assert columns["name"].tolist() == ["right"]
