"""Projects with a cut scene, maps of it and where they disagree."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyogrio
import shapely
from affine import Affine
from rasterio.crs import CRS

from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.georeference import Georeference
from jingwei.raster.writing import TiledWriter
from jingwei.voting.vote import VoteFiles, vote
from jingwei.workspace import Workspace

HEIGHT, WIDTH = 200, 280
SIDE = 50  # of a place to label, px
PLACE = ("EPSG:32649", Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000))


def blocky(seed: int = 0, classes: int = 4, side: int = 20) -> np.ndarray:
    """Labels of square fields."""
    fields = np.random.default_rng(seed).integers(0, classes, (HEIGHT // side, WIDTH // side), dtype=np.uint8)
    return fields.repeat(side, 0).repeat(side, 1)


def write_scene(root: Path, labels: np.ndarray, *, name: str = "image_3", place=PLACE, bands: int = 3) -> Workspace:
    """A cut scene whose pixels tell the class, its right edge outside the flight."""
    rng = np.random.default_rng(1)
    pixels = (40 * labels + rng.integers(0, 20, (bands, *labels.shape))).astype(np.uint8)
    valid = np.ones(labels.shape, bool)
    valid[:, -30:] = False
    image = root / "test" / name.replace("_", "") / f"{name}.tif"
    like: Any = SimpleNamespace(georeference=Georeference(CRS.from_user_input(place[0]), place[1])) if place else None
    with TiledWriter(image, *labels.shape, like=like, bands=bands, mask=True) as writer:
        writer.write(Window(0, 0, *labels.shape), pixels, valid)
    return Workspace(root)


def write_votes(workspace: Workspace, scene, *maps: np.ndarray) -> None:
    """A vote of maps, with its agreement and entropy."""
    paths = []
    for number, labels in enumerate(maps):
        paths.append(workspace.masks(scene) / f"a_{number}.tif")
        with scene.open_image() as image, TiledWriter(paths[-1], *labels.shape, nodata=NODATA, like=image) as writer:
            writer.write(Window(0, 0, *labels.shape), labels)
    vote(paths, VoteFiles(workspace.vote(scene), workspace.agreement(scene), workspace.entropy(scene)), JINGWEI)


def layer(path: Path, name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The geometries and fields of a layer."""
    meta, _, wkb, fields = pyogrio.raw.read(path, layer=name)
    return shapely.from_wkb(wkb), dict(zip(meta["fields"].tolist(), fields, strict=True))


def fill_labels(path: Path, labels) -> None:
    """Writes the field `label` of all regions, as a user of another program would."""
    meta, _, wkb, fields = pyogrio.raw.read(path, layer="labels")
    columns = dict(zip(meta["fields"].tolist(), fields, strict=True))
    columns["label"] = np.array(labels, object)
    where = {"crs": meta["crs"]} if meta["crs"] else {}
    notes = pyogrio.read_info(path, layer="labels")["layer_metadata"]
    pyogrio.raw.write(
        path, wkb, list(columns.values()), list(columns), driver="GPKG", layer="labels", geometry_type="Polygon",
        layer_metadata=dict(notes or {}), append=False, layer_options={"OVERWRITE": "YES"}, **where,
    )  # fmt: skip


def guesses(workspace: Workspace, scene) -> list[str]:
    return layer(workspace.next_labels(scene), "labels")[1]["guess"].tolist()


def labels_of(workspace: Workspace, scene, legend=JINGWEI) -> np.ndarray:
    """The labels that a scene is cut with, whole."""
    (found,) = [each for each in workspace.train_scenes() if each.name == scene.name]
    with found.open_labels(legend) as labels:
        return labels.read_label_rows(0, labels.height)
