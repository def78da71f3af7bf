"""The training curves of all experiments, from their logs."""

import math

from jingwei.reporting.names import shown
from jingwei.system.own_files import read_json
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
