"""What a checkpoint file must hold so that it can be used: checked once, when it is read."""

import json
from dataclasses import MISSING, fields
from pathlib import Path

import torch

from jingwei.errors import CheckpointError, JingweiError
from jingwei.legend import Legend, legend_from_dict
from jingwei.models.spec import ModelSpec
from jingwei.models.torch_files import AGAIN, check_finite
from jingwei.raster.source import IMAGE_TYPES
from jingwei.system.own_files import is_of, misfit

FORMAT = "jingwei-1"
# Keys and the types of their values, see `own_files.misfit`. Older files lack those of LATER.
SHAPE = {
    "dtype": str, "mean": tuple[float, ...], "std": tuple[float, ...], "legend": dict, "recipe": {str: object},
    "weights": {str: torch.Tensor}, "scores": {str: float | dict | list | None}, "training": dict | None,
}  # fmt: skip
LATER = {"source": dict, "crops": str, "calibration": dict}
COLDEST, HOTTEST = 0.01, 100.0  # temperatures that make sense


def check_content(content: dict, path: Path) -> tuple[Legend, dict[str, torch.Tensor]]:
    """The legend and the weights of a checkpoint's content. CheckpointError for any content that can't be used."""
    try:
        problem = _problem(content)
    except (TypeError, ValueError, OverflowError, RecursionError):  # what JSON has no words for
        problem = "holds values that a checkpoint can't have"
    if problem:
        raise CheckpointError(path, problem, f"{AGAIN}; if another version wrote it, use that one")
    try:
        legend = legend_from_dict(content["legend"], where=path, kept=True)
        _check_source(content.get("source"), path)
    except JingweiError as error:
        raise CheckpointError(path, f"holds {error.args[1]}", AGAIN) from error
    _check_numbers(content, legend, path)
    # DistributedDataParallel and DataParallel put a prefix before every name.
    weights = {name.removeprefix("module."): tensor for name, tensor in content["weights"].items()}
    check_finite(weights, path)
    if "std" in weights and not bool((weights["std"] > 0).all()):
        raise CheckpointError(path, "holds standard deviations that are not above 0", AGAIN)
    return legend, weights


def _problem(content: dict) -> str | None:
    """What is wrong with the types of a checkpoint's values, in words; None where nothing is."""
    shape = SHAPE | {name: kind for name, kind in LATER.items() if name in content}
    spec = {each.name: each.type for each in fields(ModelSpec)}
    given = content.get("spec")
    required = {each.name: each.type for each in fields(ModelSpec) if each.default is MISSING}
    problem = misfit({"spec": required}, content)
    if problem is None and (unknown := sorted(set(given) - set(spec))):
        problem = f"has an unknown spec.{unknown[0]}"
    if problem is None:
        problem = misfit({"spec": {name: spec[name] for name in given}} | shape, content)
    if problem is None:
        kept = [content["scores"], content["recipe"], content.get("calibration")]
        json.dumps(kept, allow_nan=False)  # ValueError, TypeError for what can't be
    return problem


def _check_source(source: dict | None, path: Path) -> None:
    if source:
        from jingwei.inputs.sar import read_settings  # here, because optical networks need no radar

        read_settings(source, path, AGAIN, CheckpointError)


def _check_numbers(content: dict, legend: Legend, path: Path) -> None:
    """CheckpointError where numbers of a checkpoint contradict each other, or can't be."""
    spec, mean, std = content["spec"], content["mean"], content["std"]
    if content["dtype"] not in IMAGE_TYPES:
        problem = f"says that it was trained on pixels of {content['dtype'][:40]}, not {', '.join(IMAGE_TYPES)}"
    elif not spec["bands"] == len(mean) == len(std):
        problem = f"has {spec['bands']} bands, but {len(mean)} means and {len(std)} standard deviations"
    elif spec["classes"] != len(legend):
        problem = f"has {spec['classes']} classes, but its legend has {len(legend)}"
    elif not torch.tensor([*mean, *std], dtype=torch.float32).isfinite().all():
        problem = "holds means or standard deviations that are not finite"
    elif not (torch.tensor(std, dtype=torch.float32) > 0).all():
        problem = "holds standard deviations that are not above 0"
    elif not _is_temperature(content.get("calibration", {}).get("temperature", 1.0)):
        problem = f"holds a temperature that is not a number from {COLDEST:g} to {HOTTEST:g}"
    else:
        return
    raise CheckpointError(path, problem, AGAIN)


def _is_temperature(value) -> bool:
    return is_of(float, value) and COLDEST <= value <= HOTTEST
