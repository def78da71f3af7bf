"""Neighbours of faults that were reported in public: the right value or one line, through the root scripts."""

import json
import os
import shutil
import time
import zipfile

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import torch
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import from_origin

from jingwei.errors import CheckpointError
from jingwei.models.torch_files import check_finite

LABELS = (np.indices((60, 50)).sum(0) // 7 % 4).astype(np.uint8)


def tiff(path, pixels=LABELS, gcps=False, **how):
    """A GeoTIFF of pixels (HW or CHW), in UTM if nothing else is said."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = pixels if pixels.ndim == 3 else pixels[None]
    place = {} if gcps else {"crs": "EPSG:32650", "transform": from_origin(500_000, 4_000_060, 1, 1)}
    shape = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype}
    with rasterio.open(path, "w", driver="GTiff", **place | shape | how) as file:
        file.write(bands)
        if gcps:
            corners = [(row, col) for row in (0, 60) for col in (0, 50)]
            points = [GroundControlPoint(r, c, 116 + c * 1e-5, 40 - r * 1e-5) for r, c in corners]
            file.gcps = points, CRS.from_epsg(4326)
    return path


def scene(path):
    return tiff(path, np.random.default_rng(0).integers(0, 255, (3, 60, 50), dtype=np.uint8))


def refused(result, path, problem) -> str:
    """The one line of a command that has refused `path`."""
    status, _, told = result
    assert status == 2
    lines = [line for line in told.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {path}: {problem}")
    assert "Traceback" not in told
    return lines[0]


# --- names of files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["named", "found"])
def test_a_scene_whose_name_leaves_no_room_for_those_of_its_outputs(how, tmp_path, call):
    """Before, predict.py ran for hours and then could not write the submission."""
    path = scene(tmp_path / "a_test" / f"image_{'n' * 240}.tif")
    flags = ("--scene", path) if how == "named" else ()
    refused(call("generate_test_data.py", "--data_dir", tmp_path, *flags), path, "has a name too long for those of")


@pytest.mark.parametrize("name", ["-x", "(1)", "#3", "a b", "烟草", "c%25d"])
def test_polygons_of_a_map_of_any_name(name, tmp_path, call):
    """GDAL refuses layers of a GeoPackage that begin with most signs."""
    source, target = tiff(tmp_path / "map.tif", nodata=255), tmp_path / f"{name}.gpkg"
    assert call("polygons.py", "--input", source, "--output", target)[0] == 0
    assert pyogrio.list_layers(target)[0, 0] in (name, f"_{name}")
    assert pyogrio.read_info(target)["features"] > 0
    assert "up to date" in call("polygons.py", "--input", source, "--output", target)[1]


def test_names_that_are_not_utf_8(tmp_path, call):
    """As of an archive that was packed in another language. What can't carry such a name says so."""
    image, label = (tmp_path / os.fsdecode(b"\xb2\xe2" + end) for end in (b".tif", b"_label.tif"))
    scene(tmp_path / "a.tif").rename(image)
    tiff(tmp_path / "b.tif").rename(label)
    shown = str(image).encode("ascii", "backslashreplace").decode()
    refused(call("generate_train_data.py", "--data_dir", tmp_path / "w", "--scene", image, label), shown, "has a name")
    assert call("generate_test_data.py", "--data_dir", tmp_path / "w", "--scene", image)[0] == 0
    target = image.with_suffix(".gpkg")
    shown = str(target).encode("ascii", "backslashreplace").decode()
    assert "take .geojson or .parquet" in refused(call("polygons.py", "--input", label, "--output", target), shown, "")
    assert call("polygons.py", "--input", label, "--output", target.with_suffix(".geojson"))[0] == 0
    zones = image.with_suffix(".geojson")
    shown = str(zones).encode("ascii", "backslashreplace").decode()
    refused(call("evaluate.py", "--areas", "--prediction", label, "--zones", zones), shown, "has a name")


# --- labels ----------------------------------------------------------------------------------------------------------


def test_labels_of_background_and_255_are_refused_with_the_entry_for_the_legend(tmp_path, call):
    """Before, the class at 255 was no data: one class was left to learn."""
    image = scene(tmp_path / "a.tif")
    label = tiff(tmp_path / "a_label.tif", np.where(LABELS > 1, 255, 0).astype(np.uint8))
    flags = ("--data_dir", tmp_path / "w", "--scene", image, label, "--crop_size", 32)
    assert '"value": 255' in refused(call("generate_train_data.py", *flags), label, "this mask has one class and 255")
    assert not (tmp_path / "w/train/crops.csv").exists()


# --- places ----------------------------------------------------------------------------------------------------------


def test_polygons_of_a_map_with_control_points_say_that_they_are_in_pixels(tmp_path, call):
    source = tiff(tmp_path / "map.tif", nodata=255, gcps=True)
    status, printed, _ = call("polygons.py", "--input", source, "--output", tmp_path / "a.gpkg")
    assert status == 0
    assert f"{source} is placed by control points alone: its polygons are in pixels" in printed


def test_maps_that_world_files_put_elsewhere_do_not_vote_together(tmp_path, call):
    maps = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for path, east in zip(maps, (0, 10), strict=True):
        tiff(path, nodata=255, crs=None, transform=None)
        path.with_suffix(".tfw").write_text(f"2\n0\n0\n-2\n{east + 1}\n99\n")
    result = call("vote.py", "--inputs", *maps, "--output", tmp_path / "v.tif")
    refused(result, maps[1], "lies at another place than a.tif, by its georeference (5.0 px apart)")
    shutil.copy(maps[0].with_suffix(".tfw"), maps[1].with_suffix(".tfw"))
    assert call("vote.py", "--inputs", *maps, "--output", tmp_path / "v.tif")[0] == 0
    assert os.path.exists(tmp_path / "v.tif")


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_of_thousands_of_bands_is_opened_at_once(tmp_path, call):
    """rasterio goes through all bands for each thing that it is asked of them: it took minutes to say no."""
    path = tiff(tmp_path / "a.tif", np.zeros((5888, 16, 16), np.uint8), sparse_ok=True, interleave="pixel")
    begun = time.monotonic()
    refused(call("evaluate.py", "--prediction", path, "--label", path), path, "is not a mask: 5888 bands")
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("kind", ["zones", "map"])
def test_what_lies_in_an_archive_is_found_by_its_whole_path(kind, tmp_path, call, monkeypatch):
    """`/vsizip//data/a.zip/b`: a Path makes one slash of two, and GDAL then looks in the working folder."""
    monkeypatch.setenv("JINGWEI_ALLOW_REMOTE", "1")  # as the flag sets it
    source = tiff(tmp_path / "map.tif", nodata=255)
    box = shapely.to_wkb(np.array([shapely.box(500_000, 4_000_000, 500_010, 4_000_010)], object))
    names = [np.array(["a"], object)]
    pyogrio.raw.write(tmp_path / "z.gpkg", box, names, ["name"], geometry_type="Polygon", crs="EPSG:32650")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("map.tif", "z.gpkg"):
            archive.write(tmp_path / name, name)
    inside = f"/vsizip/{tmp_path}/all.zip"
    chosen = (f"{inside}/map.tif", tmp_path / "z.gpkg") if kind == "map" else (source, f"{inside}/z.gpkg")
    flags = ("--areas", "--prediction", chosen[0], "--zones", chosen[1], "--json")
    status, printed, told = call("evaluate.py", *flags)
    assert (status, told) == (0, "")
    zone = json.loads(printed)["map"]["zones"]["a"]["classes"]
    assert sum(of["pixels"] for of in zone.values()) == 100


@pytest.mark.parametrize(("change", "problem"), [
    (lambda tensor: tensor.fill_(float("nan")), "holds weights that are not finite"),
    (lambda tensor: tensor.fill_(-1.0), "holds a variance below 0"),
])  # fmt: skip
def test_a_checkpoint_whose_statistics_can_not_be(change, problem, tmp_path):
    tensors = {"a.weight": torch.ones(3), "a.running_var": torch.ones(3)}
    check_finite(tensors, tmp_path / "a.pt")
    change(tensors["a.running_var"])
    with pytest.raises(CheckpointError, match=problem):
        check_finite(tensors, tmp_path / "a.pt")
