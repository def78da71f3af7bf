"""What the report says in numbers. All of it is read from files that are there; what is not there is left out."""

import math

from jingwei.evaluation.metrics import scores
from jingwei.evaluation.scenes import score_file, score_stages
from jingwei.inputs.scenes import Scene
from jingwei.legend import NODATA, Legend
from jingwei.raster.pixel_area import HECTARE, ground_of, ground_under
from jingwei.reporting.names import shown
from jingwei.reporting.pyramid import Layer, finest_level
from jingwei.reporting.worst import largest_errors, least_agreement
from jingwei.system.own_files import read_json
from jingwei.system.scheduling import Cluster, Here
from jingwei.training.log_file import read_log
from jingwei.workspace import Workspace

CURVES = ("epoch", "loss", "val_loss", "miou", "miou_with_background")  # of log.csv, with the IoU per class


def experiments(workspace: Workspace) -> list[dict]:
    """The log of every experiment that has one: recipe, name, network, and a row per epoch."""
    found = []
    for path in sorted(workspace.models.glob("*/*/log.csv")):
        rows = [_drawn(row) for row in read_log(path)]
        if rows:
            recipe = path.with_name("recipe.json")
            settings = read_json(recipe, dict, remedy="delete it, or train again") if recipe.exists() else {}
            network = [str(settings[key]) for key in ("model", "backbone") if settings.get(key)]
            exp, name = shown(path.parent.name), shown(path.parent.parent.name)
            found.append({"recipe": name, "exp": exp, "network": " ".join(network), "rows": rows})
    return found


def _drawn(row: dict) -> dict:
    """What is drawn of an epoch; a loss that is not a number is left out of the curves: JSON has no word for it."""
    values = {k: v for k, v in row.items() if k in CURVES or k.startswith("iou ")}
    return {k: v if v is None or math.isfinite(v) else None for k, v in values.items()}


def stage_scores(workspace: Workspace, scenes: list[Scene], legend: Legend, scheduler: Here | Cluster) -> list[dict]:
    """The scores of every stage (each model, vote, filled) over all scenes with a label and maps; empty without any."""
    stages = score_stages(workspace, legend, scheduler, scenes)
    return [{"name": shown(name)} | _by_id(scores(matrix, legend)) for name, matrix in stages.items()]


def _by_id(content: dict) -> dict:
    """Scores with the classes as a list: names that people gave are not to be keys in a browser's objects."""
    return content | {"classes": list(content["classes"].values())}


def changed_by_filling(workspace: Workspace, scene: Scene, legend: Legend) -> list[list[int]] | None:
    """Pixels [class before][class after] of what filling was given and what it made; None where nothing was filled."""
    if not workspace.filled(scene).exists():
        return None
    before = workspace.vote_or_best(scene)
    return score_file(workspace.filled(scene), before, legend.without_values()).counts[:, : len(legend)].tolist()


def scene_facts(
    workspace: Workspace, scene: Scene, layers: dict[str, Layer], legend: Legend, gsd: float | None = None
) -> dict:
    """What the page knows of a scene: size, place on earth, layers, areas, what filling changed, places to look at.

    `hectares` is what a pixel covers, under a CRS in degrees at the scene's centre; `metres` is its width where all
    pixels have the same one. `gsd` (metres) stands in for a georeference.
    """
    with scene.open_image() as picture:
        height, width, crs, transform = *picture.shape, picture.crs, picture.transform
        ground = ground_of(picture, gsd)
    facts = {
        "name": shown(scene.name), "height": height, "width": width, "place": None, "hectares": None, "metres": None,
        "layers": {name: _layer_facts(layer) for name, layer in layers.items()},
        "stage": None, "areas": None, "changed": changed_by_filling(workspace, scene, legend), "worst": [],
    }  # fmt: skip
    if crs or not transform.is_identity:
        epsg = f"EPSG:{crs.to_epsg()}" if crs and crs.to_epsg() else None
        digits = 6 if crs and crs.is_geographic else 2
        facts["place"] = {"transform": list(transform)[:6], "crs": epsg, "digits": digits}
    if ground:
        facts["hectares"] = ground_under(ground, height // 2, 0, width) / width / HECTARE
        if ground.flattening < 0:
            across = math.hypot(transform.a, transform.d) * crs.units_factor[1] if gsd is None else gsd
            facts["metres"] = across
    if "map" in layers:
        counts = layers["map"].counts
        facts["stage"] = shown(workspace.final_map(scene).stem)
        facts["areas"] = {"classes": list(counts[: len(legend)]), "nodata": counts[NODATA]}
    if "map" in layers and "truth" in layers:
        facts["worst"] = largest_errors(layers["map"], layers["truth"])
    elif "agreement" in layers:
        facts["worst"] = least_agreement(layers["agreement"])
    facts["worst"] = [{k: v for k, v in place._asdict().items() if v is not None} for place in facts["worst"]]
    return facts


def _layer_facts(layer: Layer) -> dict:
    """A layer as the viewer wants it: where its tiles are, and which there are (rows of tiles as 0 and 1)."""
    tiles = {
        level: None if flags.all() else ["".join("01"[flag] for flag in row) for row in flags.astype(int).tolist()]
        for level, flags in layer.tiles.items()
    }
    folder = f"tiles/{layer.folder.parent.name}/{layer.folder.name}"
    finest = finest_level(layer.height, layer.width)
    return {"kind": layer.kind, "folder": folder, "finest": finest, "coarsest": min(layer.tiles), "tiles": tiles}
