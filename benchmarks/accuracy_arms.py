"""The ways to train that `accuracy.py` compares: the plain loop, and recipes of ours with what each changes."""

import sys
from dataclasses import fields, replace

from jingwei.training.recipes import QUICK, RECIPES, Recipe

# One network and one optimizer for all of ours, the plain loop's; `ours` are the settings of `--quick`.
SHARED = {name: QUICK[name] for name in ("model", "aux_weight", "optimizer", "base_lr", "weight_decay")}
OURS = {name: QUICK[name] for name in ("ema", "class_weights", "min_scale", "max_scale")}
CONSTANT = {"schedule": "constant", "base_lr": 7e-4, "ema": 0.995}  # what this benchmark recommended before
# Radar as docs/accuracy.md has it: nothing that resamples speckle or changes calibrated values, fields mixed.
RADAR = {"jitter": 0.0, "min_scale": 1.0, "max_scale": 1.0, "class_mix": 1.0, "balance": 0.5, "label_smoothing": 0.05}
CONFIDENCE = "confidence"  # not a recipe's: from which on a network's own labels are learned, see accuracy_run.py
GOES_ON = "goes_on"  # nor this: the share of a budget in which a second network goes on from the first, see there too
NOT_OF_RECIPES = {CONFIDENCE, GOES_ON}
ARMS: dict[str, tuple[str, dict]] = {
    "bare": ("cross_entropy", {"min_scale": 1.0, "max_scale": 1.0, "jitter": 0.0}),
    "ours": ("cross_entropy", OURS),
    "ours_no_ema": ("cross_entropy", OURS | {"ema": 0.0}),
    "ours_unweighted": ("cross_entropy", OURS | {"class_weights": "equal"}),
    "ours_self": ("cross_entropy", OURS | {CONFIDENCE: 0.9}),
    "ours_vote": ("cross_entropy", OURS | {GOES_ON: 1 / 3}),
    "ours_radar": ("cross_entropy", {"ema": 0.98, "class_weights": "balanced"} | RADAR),
    "ours_constant": ("cross_entropy", OURS | CONSTANT),
    "focal_lovasz": ("focal_lovasz", OURS),
    "focal_lovasz_constant": ("focal_lovasz", {"class_weights": "balanced"} | CONSTANT),
    "swa": ("swa", OURS | {"ema": 0.0}),
    "multiscale": ("multiscale", OURS | {"crop_sizes": (256, 224)}),
}


def parse_arm(text: str) -> tuple[str, str, dict]:
    """`plain`, a name of ARMS, or NAME=RECIPE,field=value,...: (name, recipe or "", fields)."""
    name, is_own, rest = text.partition("=")
    if name == "plain":
        return name, "", {}
    if not is_own:
        if name not in ARMS:
            sys.exit(
                f"error: --arms {name}: no such arm: known are plain, {', '.join(ARMS)}; or NAME=RECIPE,field=value"
            )
        return name, *ARMS[name]
    recipe, *changes = rest.split(",")
    if recipe not in RECIPES and recipe not in ARMS:
        sys.exit(f"error: --arms {text}: no recipe or arm {recipe}: known are {', '.join([*RECIPES, *ARMS])}")
    recipe, start = ARMS.get(recipe, (recipe, {}))
    kinds = {field.name: type(field.default) for field in fields(Recipe)} | dict.fromkeys(NOT_OF_RECIPES, float)
    found = dict(start)
    for change in changes:
        field, _, value = change.partition("=")
        if kinds.get(field) not in (str, int, float):
            sys.exit(f"error: --arms {text}: no such field {field}: known are {', '.join(kinds)}")
        found[field] = kinds[field](value)
    return name, recipe, found


def recipe_of(job: dict, steps: int) -> Recipe:
    """The recipe of a run, as one epoch of `steps` steps; of the plain loop, one that has its network."""
    shared = SHARED | {"backbone": job["backbone"], "batch_size": job["batch_size"], "crop_sizes": (job["crop_size"],)}
    usual = {"seed": job["seed"], "epochs": 1, "steps_per_epoch": steps, "val_period": 0, "pretrained": False}
    changes = {name: value for name, value in job["changes"].items() if name not in NOT_OF_RECIPES}
    own = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
    return replace(RECIPES[job["recipe"] or "cross_entropy"], **(shared | usual | own))
