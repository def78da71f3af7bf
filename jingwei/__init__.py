"""From gigapixel aerial and satellite scenes to land-cover maps: cut, train, predict, vote, fill.

    import jingwei

    model = jingwei.load("best.pt")
    labels_HW = model.predict(pixels_CHW)
    jingwei.predict("scene.tif", model, "map.tif", window=1024)

See `jingwei.api` for all functions. Nothing heavy is imported before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jingwei.version import VERSION

__version__ = VERSION

# What is offered here -> the module that it is in.
_PUBLIC = {
    **dict.fromkeys(
        (
            "load",
            "cut",
            "tile",
            "train",
            "predict",
            "vote",
            "fill",
            "polygonize",
            "evaluate",
            "report",
            "label",
            "export",
        ),
        "jingwei.api",
    ),
    "Model": "jingwei.prediction.model",
    "allow_remote": "jingwei.raster.opening",
    "Recipe": "jingwei.training.recipes",
    "RECIPES": "jingwei.training.recipes",
    **dict.fromkeys(("Legend", "LandClass", "LEGENDS", "NODATA", "find_legend"), "jingwei.legend"),
    **dict.fromkeys(
        ("JingweiError", "InputError", "OutputError", "SettingError", "CheckpointError", "TrainingError"),
        "jingwei.errors",
    ),
}

if TYPE_CHECKING:
    from jingwei.api import cut, evaluate, export, fill, label, load, polygonize, predict, report, tile, train, vote
    from jingwei.errors import CheckpointError, InputError, JingweiError, OutputError, SettingError, TrainingError
    from jingwei.legend import LEGENDS, NODATA, LandClass, Legend, find_legend
    from jingwei.prediction.model import Model
    from jingwei.raster.opening import allow_remote
    from jingwei.training.recipes import RECIPES, Recipe

__all__ = [
    "LEGENDS",
    "NODATA",
    "RECIPES",
    "CheckpointError",
    "InputError",
    "JingweiError",
    "LandClass",
    "Legend",
    "Model",
    "OutputError",
    "Recipe",
    "SettingError",
    "TrainingError",
    "allow_remote",
    "cut",
    "evaluate",
    "export",
    "fill",
    "find_legend",
    "label",
    "load",
    "polygonize",
    "predict",
    "report",
    "tile",
    "train",
    "vote",
]


def __getattr__(name: str) -> Any:
    """PEP 562: a public name is imported when it is first asked for."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
