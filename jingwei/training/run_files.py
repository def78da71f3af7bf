"""The files of a training run: where they go, which are kept, and how each is written.

An experiment's folder, `model/<recipe>/<exp>/`, holds `last.pt` (to go on from), `best.pt` (the highest validation mIoU
without background, or what else the recipe monitors), `recipe.json`, `log.csv`, `curves.png` and TensorBoard events;
SWA adds `swa.pt`, the average. `Keeping` says where a run from a config file keeps the same.
"""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from jingwei.legend import Legend
from jingwei.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from jingwei.system.atomic import whole_or_nothing
from jingwei.training.log import TrainingLog
from jingwei.training.recipes import Recipe
from jingwei.training.start import DataKind


@dataclass(frozen=True)
class Keeping:
    """Where a run's files go, and which it keeps besides the last and the best checkpoint."""

    folder: Path
    suffix: str = ".pt"
    events: Path | None = None  # folder of TensorBoard's events; None: the run's own
    tensorboard: bool = True
    save_period: int = 0  # epochs from one `checkpoint-epochN` to the next, each to go on from; 0: none
    log_steps: int = 0  # steps from one whose loss TensorBoard shows to the next; 0: epochs alone
    config: str | None = None  # the config file that the run is from, kept as `config.json`

    def file(self, name: str) -> Path:
        """Where a checkpoint goes."""
        return self.folder / f"{name}{self.suffix}"

    @property
    def going_on(self) -> str:
        """How a run that was stopped goes on."""
        return f"train.py -r {self.file('last')} goes on" if self.config else "the same command goes on"


class RunFiles:
    """The files of a run. The leader of its team writes them; to the others, `save_*` and `write_*` do nothing."""

    def __init__(self, keeping: Keeping, leads: bool):
        self.keeping, self.leads, self.folder = keeping, leads, keeping.folder
        self.last, self.best, self.average = keeping.file("last"), keeping.file("best"), keeping.file("swa")

    def kept_best(self) -> Checkpoint | None:
        """The best checkpoint of an earlier run, where there is one."""
        return load_checkpoint(self.best) if self.best.exists() else None

    def kept_average(self) -> Checkpoint | None:
        """The average of an earlier run, where there is one."""
        return load_checkpoint(self.average) if self.average.exists() else None

    def delete_average(self) -> None:
        """Deletes the average of a run whose last checkpoint was deleted: it is not of the run that begins."""
        if self.leads:
            self.average.unlink(missing_ok=True)

    def write_settings(self, recipe: Recipe, kind: DataKind) -> None:
        """Writes `recipe.json`, with the statistics that the network is fed by, and `config.json` of a config file."""
        if not self.leads:
            return
        content = recipe.to_dict() | {"statistics": {"mean": list(kind.mean), "std": list(kind.std)}}
        with whole_or_nothing(self.folder / "recipe.json") as part:
            part.write_text(json.dumps(content, indent=1), encoding="utf-8")
        if self.keeping.config is not None:
            with whole_or_nothing(self.folder / "config.json") as part:
                part.write_text(self.keeping.config, encoding="utf-8")

    @property
    def events(self) -> Path | None:
        """The folder of TensorBoard's events; None where there are none."""
        return (self.keeping.events or self.folder) if self.keeping.tensorboard else None

    def open_log(
        self, epochs_done: int, legend: Legend, epochs: int
    ) -> contextlib.AbstractContextManager[TrainingLog | None]:
        """The log of the run, to be opened; None, once it is, for all but the leader."""
        if not self.leads:
            return contextlib.nullcontext()
        return TrainingLog(self.folder, epochs_done, legend, self.events, epochs)

    def save_last(self, checkpoint: Checkpoint, epoch_ends: bool = False) -> None:
        """Writes the checkpoint that the run goes on from; at an epoch's end a numbered copy before, where due."""
        if not self.leads:
            return
        epoch, period = checkpoint.training["epoch"], self.keeping.save_period
        if epoch_ends and period and epoch % period == 0:
            save_checkpoint(self.keeping.file(f"checkpoint-epoch{epoch}"), checkpoint)
        save_checkpoint(self.last, checkpoint)

    def save_best(self, checkpoint: Checkpoint) -> None:
        """Writes the best checkpoint."""
        if self.leads:
            save_checkpoint(self.best, checkpoint)

    def save_average(self, checkpoint: Checkpoint) -> None:
        """Writes the average of the cycles' ends."""
        if self.leads:
            save_checkpoint(self.average, checkpoint)
