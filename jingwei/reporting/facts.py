"""What the report says in numbers. All of it is read from files that are there; what is not there is left out."""

import math
import os
from datetime import UTC, datetime
from glob import escape as glob_escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jingwei.evaluation.scenes import score_file
from jingwei.inputs.scenes import Scene
from jingwei.legend import NODATA, Legend
from jingwei.polygons.opening import file_and_layer
from jingwei.raster.pixel_area import HECTARE, ground_of, ground_under
from jingwei.reporting.layers import PERCENTS, SURE
from jingwei.reporting.names import shown
from jingwei.reporting.pyramid import Layer, finest_level
from jingwei.reporting.worst import largest_errors, least_sure
from jingwei.system.own_files import kept_json
from jingwei.workspace import Workspace, robustness_of

ROBUST = ("shifts", "flips", "light", "scale")  # what predict.py --robustness keeps, shares of 1
DOUBT = 60  # percent: what is below is called unsure on the page


def changed_by_filling(workspace: Workspace, scene: Scene, legend: Legend) -> list[list[int]] | None:
    """Pixels [class before][class after] of what filling was given and what it made.

    None where nothing was filled, or an earlier map than the one that is there now.
    """
    if not workspace.filled(scene).exists() or not workspace.is_fill_of_now(scene):
        return None
    before = workspace.vote_or_best(scene)
    return score_file(workspace.filled(scene), before, legend.without_values()).counts[:, : len(legend)].tolist()


def scene_facts(
    workspace: Workspace, scene: Scene, layers: dict[str, Layer], legend: Legend, gsd: float | None = None
) -> dict:
    """What the page knows of a scene: size, place on earth, layers, areas, what filling changed, places to look at.

    `hectares` is what a pixel covers in the scene's middle, `metres` its width there, where the CRS is projected.
    `gsd` (metres) takes the place of a georeference. Areas of classes are those of all pixels, each as large as it is.
    `made` is when the final map was written.
    """
    with scene.open_image() as picture:
        (height, width), crs, transform = picture.shape, picture.crs, picture.transform
        ground = ground_of(picture, gsd)
    facts: dict[str, Any] = {
        "name": shown(scene.name), "height": height, "width": width, "place": None, "hectares": None, "metres": None,
        "layers": {name: _layer_facts(layer) for name, layer in layers.items()},
        "stage": None, "made": None, "areas": None, "sure": None, "models": len(workspace.predictions(scene)),
        "changed": changed_by_filling(workspace, scene, legend), "worst": [], "robust": _robustness(workspace, scene),
    }  # fmt: skip
    if crs or not transform.is_identity:
        epsg = f"EPSG:{crs.to_epsg()}" if crs and crs.to_epsg() else None
        digits = 6 if crs and crs.is_geographic else 2
        facts["place"] = {"transform": list(transform)[:6], "crs": epsg, "digits": digits}
    if ground:
        square = ground_under(ground, height // 2, width // 2, width // 2 + 1)
        facts["hectares"] = square / HECTARE
        if gsd is not None:
            facts["metres"] = gsd
        elif crs is not None and crs.is_projected:
            facts["metres"] = math.sqrt(square * (transform.a**2 + transform.d**2) / abs(transform.determinant))
    if "map" in layers:
        counts, path = layers["map"].counts, workspace.final_map(scene)
        facts["stage"] = shown(path.stem)
        facts["made"] = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
        hectares = [metres / HECTARE for metres in layers["map"].metres[: len(legend)]]
        facts["areas"] = {"classes": list(counts[: len(legend)]), "nodata": counts[NODATA], "hectares": hectares}
    sure = next((name for name in SURE if name in layers), None)
    if sure:
        facts["sure"] = {"layer": sure} | _how_sure(layers[sure])
    if "map" in layers and "truth" in layers:
        facts["worst"] = largest_errors(layers["map"], layers["truth"])
    elif sure:
        facts["worst"] = least_sure(layers[sure])
    facts["worst"] = [{k: v for k, v in place._asdict().items() if v is not None} for place in facts["worst"]]
    return facts


def _robustness(workspace: Workspace, scene: Scene) -> dict | None:
    """How many labels of the final map, or of what was filled, change by chance; None where nobody has found out."""
    if not workspace.has_map(scene):
        return None
    maps = dict.fromkeys([workspace.final_map(scene), workspace.vote_or_best(scene)])
    found = (kept_json(robustness_of(path), dict.fromkeys(ROBUST, float)) for path in maps)
    return next(({name: each[name] for name in ROBUST} for each in found if each), None)


def _how_sure(layer: Layer) -> dict:
    """The mean of a layer of percents, and the share of its pixels that is below DOUBT; None where all is no data."""
    counts = layer.counts[: PERCENTS + 1]
    total = sum(counts)
    mean = sum(percent * count for percent, count in enumerate(counts)) / total if total else None
    return {"mean": mean, "below": DOUBT, "share": sum(counts[:DOUBT]) / total if total else None}


def files_of(workspace: Workspace, scene: Scene, report: Path) -> list[dict]:
    """The files of a scene that are there: `what` (a word of the page), `path` to read, `href` from the report."""
    polygons = sorted(workspace.polygons(scene, "").parent.glob(f"{glob_escape(scene.name)}.*"))
    found = [
        ("scene", scene.image), ("map", workspace.final_map(scene) if workspace.has_map(scene) else None),
        ("contest", workspace.submission(scene)), ("vote", workspace.vote(scene)),
        ("agreement", workspace.agreement(scene)), ("entropy", workspace.entropy(scene)),
        ("confidence", workspace.confidence(scene) if workspace.has_map(scene) else None),
        ("truth", file_and_layer(scene.label)[0] if scene.label else None),
        ("filling", workspace.fill_picture(scene)), *(("polygons", path) for path in polygons),
    ]  # fmt: skip
    files = []
    for what, path in found:
        if path is not None and path.exists():
            try:
                relative = Path(os.path.relpath(path, report)).as_posix()
            except ValueError:  # another drive of Windows
                continue
            files.append({"what": what, "path": shown(relative), "href": quote(os.fsencode(relative))})
    return files


def _layer_facts(layer: Layer) -> dict:
    """A layer as the viewer wants it: where its tiles are, and which there are (rows of tiles as 0 and 1)."""
    tiles = {
        level: None if flags.all() else ["".join("01"[flag] for flag in row) for row in flags.astype(int).tolist()]
        for level, flags in layer.tiles.items()
    }
    folder = f"tiles/{layer.folder.parent.name}/{layer.folder.name}"
    finest = finest_level(layer.height, layer.width)
    return {"kind": layer.kind, "folder": folder, "finest": finest, "coarsest": min(layer.tiles), "tiles": tiles}
