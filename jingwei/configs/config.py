"""A config file as a whole: what it asks for, and where its runs keep their files."""

import hashlib
import json
import shlex
import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jingwei.configs.mapping import data_of, legend_of, recipe_of, tile_side
from jingwei.configs.reading import Reading
from jingwei.configs.sections import ConfigFile, Trainer
from jingwei.crops.prepare import FolderData
from jingwei.errors import SettingError
from jingwei.legend import EXAMPLE
from jingwei.system.own_files import read_json
from jingwei.training.recipes import MOST_CROP, Recipe


@dataclass(frozen=True)
class Config:
    """What a config file asks for. `content` is its JSON, with the changes that were asked for."""

    recipe: Recipe
    data: FolderData
    trainer: Trainer
    n_gpu: int
    workers: int | None
    bands: int | None
    base_size: int | None
    tile_size: int  # px, as the file has it; 0: as the windows need it
    legend: str  # its name, or its file
    content: dict
    weights: str | None = None  # to start from, in place of ImageNet's: a name or a file
    weights_bands: str = ""

    @property
    def runs(self) -> Path:
        """The folder of all runs of that name."""
        return Path(self.trainer.save_dir) / self.recipe.name

    def events(self, run: Path) -> Path:
        """Where TensorBoard's events of a run go."""
        logs = self.trainer.log_dir
        return (Path(self.trainer.save_dir) / "runs" if logs is None else Path(logs)) / self.recipe.name / run.name

    @property
    def cache(self) -> Path:
        """Where the data is prepared: one place for all configs that ask for the same data in the same way."""
        data = self.data
        asked = asdict(data) | {"root": str(data.root.absolute()), "legend": data.legend.to_dict()}
        mark = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]
        return Path(self.trainer.save_dir) / "data" / f"{data.root.absolute().name}-{mark}"

    def fitted(self, sides: list[int]) -> "Config":
        """The config, its scales and tiles as `base_size` has them for pictures with these longer sides, in px.

        `base_size` is what the longer side of the usual picture (the median of all) is scaled to, and all others with
        it: a pixel's size on the ground depends on the camera, not on the size of a picture. Raises SettingError where
        windows would then show more of a picture than memory is for.
        """
        if not self.base_size:
            return self
        factor = self.base_size / statistics.median(sides)
        scales = {name: getattr(self.recipe, name) * factor for name in ("min_scale", "max_scale")}
        recipe = replace(self.recipe, **scales)
        if recipe.widest_view > MOST_CROP:
            shown = f"{recipe.widest_view} px of a picture"
            problem = f"is {self.base_size}: windows would show {shown}, too many for memory"
            remedy = f"{MOST_CROP} px are the most: take a larger one"
            raise SettingError("train_loader.args.base_size", problem, remedy)
        tile = self.tile_size or min(tile_side(recipe), max(sides))
        return replace(self, recipe=recipe, data=replace(self.data, crop_size=tile))

    def check_bands(self, bands: int) -> None:
        """SettingError where the pictures have another number of bands than the file asks for."""
        if self.bands not in (None, bands):
            problem = f"is {self.bands}, but the pictures in {self.data.root} have {bands} bands"
            raise SettingError("arch.args.in_channels", problem, f"set it to {bands}, or leave it out")


def read_config(path: Path, changes: dict[str, object] | None = None) -> Config:
    """A config file, some keys changed: {"trainer.epochs": 3}. One SettingError names all that is wrong with it."""
    content = read_json(
        path,
        remedy="see configs/ for how it looks; JSON has no comments",
        missing="give a config file, such as one of configs/",
        error=SettingError,
    )
    for key, value in (changes or {}).items():
        _change(content, key.split("."), value)
    return config_from_dict(content, path)


def config_from_dict(content: Any, where: object = "config") -> Config:
    """A config from its JSON content. One SettingError names all that is wrong with it."""
    from jingwei.training.losses import build_loss  # here, because -h needs no torch

    reading = Reading()
    file = reading.section(ConfigFile, content)
    recipe = recipe_of(file, reading)
    data = data_of(file, recipe, reading)
    if data is not None:
        with reading.noting("recipe.class_weights"):
            build_loss(recipe, (1,) * len(data.legend))
    if reading.problems:
        count = len(reading.problems)
        problem = f"{count} problems" if count > 1 else reading.problems[0]
        remedy = f"`{shlex.join(['train.py', '-c', str(where), '-h'])}` explains every key"
        if count > 1:
            remedy += "".join(f"\n  * {each}" for each in reading.problems)
        if problem.endswith(EXAMPLE) and count == 1:  # a legend file's mistake: no key is to blame
            problem, remedy = problem.removesuffix(f", {EXAMPLE}"), EXAMPLE
        raise SettingError(where, problem, remedy)
    assert data is not None, "without data there is a problem"
    args = file.train_loader.args
    legend = legend_of(file.train_loader, data.root)
    assert legend is not None, "without a legend there are no data"
    return Config(
        recipe=recipe,
        data=data,
        trainer=file.trainer,
        n_gpu=file.n_gpu,
        workers=args.num_workers,
        bands=file.arch.args.in_channels,
        base_size=args.base_size,
        tile_size=args.tile_size,
        legend=legend.source,
        content=content,
        weights=file.arch.args.weights,
        weights_bands=",".join(file.arch.args.weights_bands),
    )


def _change(content: Any, keys: list[str], value: object) -> None:
    """Sets a key in its section, which is made where it is missing."""
    for key in keys[:-1]:
        content = content.setdefault(key, {}) if isinstance(content, dict) else None
    if isinstance(content, dict):  # else reading it finds what is wrong
        content[keys[-1]] = value
