"""A config file as a whole: what it asks for, and where its runs keep their files."""

import hashlib
import json
import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from jingwei.configs.mapping import data_of, recipe_of
from jingwei.configs.reading import Reading
from jingwei.configs.sections import ConfigFile, Trainer
from jingwei.crops import Crop
from jingwei.errors import SettingError
from jingwei.preparing import FolderData
from jingwei.recipes import Recipe


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
    content: dict

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

    def fitted(self, crops: list[Crop], bands: int) -> Recipe:
        """The recipe, its scales as `base_size` has them for these crops. SettingError for bands not asked for.

        `base_size` is what the longer side of the usual picture (the median of all) is scaled to, and all others with
        it: a pixel's size on the ground hangs on the camera, not on the size of a picture.
        """
        if self.bands not in (None, bands):
            problem = f"is {self.bands}, but the pictures in {self.data.root} have {bands} bands"
            raise SettingError("arch.args.in_channels", problem, f"set it to {bands}, or leave it out")
        if not self.base_size:
            return self.recipe
        sides: dict[str, int] = {}
        for crop in crops:
            sides[crop.scene] = max(sides.get(crop.scene, 0), crop.window.row_end, crop.window.col_end)
        factor = self.base_size / statistics.median(sides.values())
        return replace(self.recipe, min_scale=self.recipe.min_scale * factor, max_scale=self.recipe.max_scale * factor)


def read_config(path: Path, changes: dict[str, object] | None = None) -> Config:
    """A config file, some keys changed: {"trainer.epochs": 3}. One SettingError names all that is wrong with it."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingError(path, "no such file", "give a config file, such as one of configs/") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SettingError(
            path, f"is no JSON ({error})", "see configs/ for how it looks; comments are no JSON"
        ) from error
    for key, value in (changes or {}).items():
        _change(content, key.split("."), value)
    return config_from_dict(content, path)


def config_from_dict(content, where="config") -> Config:
    """A config from its JSON content. One SettingError names all that is wrong with it."""
    reading = Reading()
    file = reading.section(ConfigFile, content)
    recipe = recipe_of(file, reading)
    data = data_of(file, recipe, reading)
    if reading.problems:
        count = len(reading.problems)
        problem = f"{count} problems: {'; '.join(reading.problems)}" if count > 1 else reading.problems[0]
        raise SettingError(where, problem, f"`train.py -c {where} -h` explains every key")
    args = file.train_loader.args
    return Config(
        recipe, data, file.trainer, file.n_gpu, args.num_workers, file.arch.args.in_channels, args.base_size, content
    )


def _change(content, keys: list[str], value) -> None:
    """Sets a key in its section, which is made where it is missing."""
    for key in keys[:-1]:
        content = content.setdefault(key, {}) if isinstance(content, dict) else None
    if isinstance(content, dict):  # else the reading tells what is wrong with it
        content[keys[-1]] = value
