"""One training loop for all recipes.

An experiment's folder, `model/<recipe>/<exp>/`, holds `last.pt` (to go on from), `best.pt` (the highest validation mIoU
without background, or what else the recipe monitors), `recipe.json`, `log.csv`, `curves.png` and TensorBoard events;
SWA adds `swa.pt`, the average. `Keeping` says where a run from a config file keeps the same.
"""

import contextlib
import json
import math
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from jingwei.errors import CheckpointError, SettingError, TrainingError
from jingwei.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from jingwei.models.devices import find_device, gpu_count
from jingwei.system.atomic import only_run, whole_or_nothing
from jingwei.system.interrupts import Interrupted, Interrupts
from jingwei.system.progress import Progress
from jingwei.training import log
from jingwei.training.datasets import training_loader, validation_loader
from jingwei.training.distributed import Team, in_team, local_rank, local_size, team
from jingwei.training.experiments import OTHER_CROPS, TrainingData, read_training_data
from jingwei.training.learner import Learner, Place, Start, Validation
from jingwei.training.recipes import SCORES, Recipe
from jingwei.workspace import Workspace

PICTURES = 4  # validation crops shown in TensorBoard
# Fields of a recipe that say what its loss is: of other ones, losses can't be compared.
LOSS_FIELDS = (
    "loss", "class_weights", "label_smoothing", "edge_smoothing", "focal_gamma", "lovasz_per_image", "aux_weight",
)  # fmt: skip
WORST = -sys.float_info.max  # the score of an epoch that has none: the first such is better than no epoch at all
REFIT_BATCHES = 100  # training batches that an average's batch norm is fitted to, at most


@dataclass(frozen=True)
class RunOptions:
    """How a recipe is run on this machine."""

    device: str = "auto"
    workers: int = 1
    compile: bool = False
    resume: Path | None = None  # a checkpoint to go on from, even where the recipe has changed
    weights: Path | None = None  # a file of weights to start from, in place of ImageNet's
    init_from: Path | None = None  # a checkpoint of ours to start from, its normalisation included
    skip_bad_steps: int = 0  # steps whose loss is no number that are left out before the run gives up


@dataclass(frozen=True)
class Keeping:
    """Where a run's files go, and which it keeps beside the last and the best checkpoint."""

    folder: Path
    suffix: str = ".pt"
    events: Path | None = None  # folder of TensorBoard's events; None: the run's own
    tensorboard: bool = True
    save_period: int = 0  # epochs from one `checkpoint-epochN` to the next, each to go on from; 0: none
    log_steps: int = 0  # steps from one to the next whose loss TensorBoard shows; 0: epochs alone
    config: str | None = None  # the config file that the run is from, kept as `config.json`

    def file(self, name: str) -> Path:
        """Where a checkpoint goes."""
        return self.folder / f"{name}{self.suffix}"

    @property
    def going_on(self) -> str:
        """How a run that was stopped goes on."""
        return f"train.py -r {self.file('last')} goes on" if self.config else "the same command goes on"


def train(workspace: Workspace, recipe: Recipe, exp: str, options: RunOptions) -> Path:
    """Runs a recipe as the experiment `exp` of a workspace; see `run`."""
    return run(workspace, recipe, Keeping(workspace.experiment(recipe.name, exp)), options)


def run(workspace: Workspace, recipe: Recipe, keeping: Keeping, options: RunOptions) -> Path:
    """Runs a recipe, or goes on with it where an earlier run of the same recipe stopped. Returns the folder.

    Under `torchrun` all processes call it and train together. Raises SettingError where the folder holds an experiment
    of other settings or crops, TrainingError where the loss diverges, Interrupted (with the last checkpoint saved) at
    Ctrl-C and SIGTERM.
    """
    data = read_training_data(workspace)
    recipe = _with_steps(recipe.check(), data)
    device = _own_device(options.device)
    with team(device) as crew, contextlib.ExitStack() as stack, Interrupts(in_team()) as interrupts:
        run = _Run(recipe, data, options, device, crew, keeping, interrupts)
        stack.callback(run.learner.leave_team)
        if crew.leads:
            stack.enter_context(only_run(keeping.folder))
        run.resume()
        run.check_team()
        if run.has_ended():
            return keeping.folder
        run.say_what_counts()
        run.write_settings()
        with run.journal():
            while run.place.epoch < recipe.epochs and not run.stops_early():
                run.train_epoch()
                run.finish_epoch()
        if recipe.average_cycles:
            run.finish_average()
    return keeping.folder


def _own_device(name: str) -> torch.device:
    """The device of this process: under torchrun each has the GPU of its own number. SettingError for too few."""
    device = find_device(name)
    if device.type != "cuda" or not in_team():
        return device
    if device.index is not None:
        raise SettingError(f"`device` {name}", "is one GPU, but several processes were started", "take auto or cuda")
    if local_rank() >= gpu_count():
        problem = f"{local_size()} processes were started here, but there are {gpu_count()} GPUs"
        raise SettingError("torchrun", problem, f"take --nproc_per_node {gpu_count()}, or `device` cpu")
    return torch.device("cuda", local_rank())


def _with_steps(recipe: Recipe, data: TrainingData) -> Recipe:
    """The recipe with its steps per epoch counted, where they are left to the data."""
    if recipe.steps_per_epoch:
        return recipe
    # Smaller windows come in larger batches, so every step sees about as many pixels.
    step = recipe.accumulate * recipe.batch_size * max(recipe.crop_sizes) ** 2
    # A window of a scale shows so many more pixels of the crops, or so many fewer; scales are drawn by their logarithm.
    pixels = sum(crop.valid for crop in data.training) * recipe.min_scale * recipe.max_scale
    return replace(recipe, steps_per_epoch=max(1, round(pixels / step)))


@dataclass
class _Best:
    """The best epoch so far, by what the recipe monitors: the higher the score, the better."""

    score: float = -math.inf
    epoch: int = 0


@dataclass
class _Epoch:
    """What an epoch in progress has added up."""

    totals: dict[str, float] = field(default_factory=dict)
    lr: float = 0.0
    steps: int = 0
    windows: int = 0
    seconds: float = 0.0

    def add(self, values: dict[str, float]) -> None:
        """Adds the values of a step."""
        for name, value in values.items():
            self.totals[name] = self.totals.get(name, 0.0) + value
        self.lr = values["lr"]
        self.steps += 1

    def row(self) -> dict[str, float]:
        """The epoch as the log has it: the last learning rate, the means of all else, and the speed."""
        means = {name: total / max(self.steps, 1) for name, total in self.totals.items()}
        return means | {"lr": self.lr, "windows_per_s": self.windows / max(self.seconds, 1e-9)}


class _Run:
    """An experiment in progress: its learner, its data and its files."""

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        options: RunOptions,
        device: torch.device,
        crew: Team,
        keeping: Keeping,
        interrupts: Interrupts,
    ):
        self.recipe, self.data, self.options = recipe, data, options
        self.team, self.keeping, self.folder, self.interrupts = crew, keeping, keeping.folder, interrupts
        self.last, self.best_file = keeping.file("last"), keeping.file("best")
        self.place, self.best, self.epoch, self.bad_steps = Place(), _Best(), _Epoch(), 0
        self.kept_score = -math.inf  # of best.pt, which may be of epochs that the run has gone back behind
        start = Start(options.weights, options.init_from)
        self.learner = Learner(recipe, data.kind, device, crew, start, options.compile)
        self.training = self.validation = None  # loaders, made when it is known what the network subtracts
        self.log: log.Journal | None = None

    # ---------------------------------------------------------------------------------------------- start and stop

    def resume(self) -> None:
        """Loads the state of an earlier run, or what a fresh one starts from, and opens the data."""
        self._load()
        recipe, data, crew, workers = self.recipe, self.data, self.team, self.options.workers
        mean = self.learner.kind.mean
        self.training = training_loader(
            data.folder, data.training, recipe, mean, recipe.steps_per_epoch, workers, crew.rank, crew.size
        )
        self.validation = validation_loader(data.folder, crew.share(data.validation), mean, workers)

    def check_team(self) -> None:
        """Waits until all processes have looked at the folder, before the leader writes to it: they must agree."""
        here = torch.tensor([self.place.epoch, self.place.step], device=self.learner.device, dtype=torch.float64)
        if not torch.equal(self.team.total(here * here) * self.team.size, self.team.total(here) ** 2):
            problem = "is not the same for all processes"
            raise CheckpointError(self.folder, problem, "put it into a folder that all machines share")

    def _load(self) -> None:
        chosen = self.options.resume
        path = chosen or self.last
        if not path.exists() and not chosen:
            self.learner.load_start()
            if self.team.leads:
                self.keeping.file("swa").unlink(missing_ok=True)  # of a run whose last.pt was deleted
            return
        checkpoint = load_checkpoint(path)
        state = checkpoint.training
        if state is None:
            raise CheckpointError(path, "holds weights alone, no state to go on from", f"give a {self.last.name}")
        if "in_progress" not in state:
            problem = "was written by an earlier version, which kept less of a run"
            raise CheckpointError(path, problem, "start anew from it: another `exp`, with `weights` and this file")
        if not self.data.has_crops_of(checkpoint):
            if not chosen:
                raise SettingError(path, OTHER_CROPS, "name another `exp`, or go on with these crops by `resume`")
            self._say(f"{path} {OTHER_CROPS}")
        ours, theirs = self.recipe.to_dict(), Recipe().to_dict() | checkpoint.recipe  # older ones have fewer fields
        changed = [f"{key} {theirs[key]} -> {value}" for key, value in ours.items() if theirs[key] != value]
        if changed and not chosen:
            problem = f"holds an experiment with other settings ({', '.join(changed)})"
            raise SettingError(self.folder, problem, "name another `exp`, or go on with the new settings by `resume`")
        self.learner.load(checkpoint, path)
        self.place = Place(state["epoch"], state["step"])
        self.epoch = _Epoch(**state["in_progress"])
        self.bad_steps = state["bad_steps"]
        if self.place.step > self.recipe.steps_per_epoch:  # epochs have become shorter
            self.place, self.epoch = Place(self.place.epoch), _Epoch()
        kept = load_checkpoint(self.best_file) if self.best_file.exists() else None
        if kept and self._is_comparable(kept):
            self.kept_score = self._score(kept.scores)
        if kept and self._is_comparable(kept) and self._is_comparable(checkpoint):
            # The lower: where the run goes on in another folder, its best lies in the old one.
            self.best = _Best(min(state["best_score"], self.kept_score), state["best_epoch"])
        else:
            self.best = _Best(epoch=self.place.epoch - 1)  # another experiment's best, or one in other terms

    def _is_comparable(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint's scores are in the terms of this run."""
        theirs, ours = Recipe().to_dict() | checkpoint.recipe, self.recipe.to_dict()
        terms = LOSS_FIELDS if self.recipe.monitor in ("loss", "val_loss") else ()
        return self.data.has_crops_of(checkpoint) and all(theirs[name] == ours[name] for name in ("monitor", *terms))

    def has_ended(self) -> bool:
        """Whether no epoch and no average is left to do; says so, and all files stay as they are."""
        done = self.place.epoch
        if done < self.recipe.epochs or (self.recipe.average_cycles and not self._is_averaged()):
            return False
        self._say(f"{self.last}: {done} epochs are trained already: more with `epochs` and a larger number")
        return True

    def _is_averaged(self) -> bool:
        """Whether the average of the cycles' ends is made, of this very recipe."""
        path = self.keeping.file("swa")
        kept = load_checkpoint(path) if path.exists() else None
        return kept is not None and kept.recipe == self.recipe.to_dict() and self.data.has_crops_of(kept)

    def write_settings(self) -> None:
        """Writes `recipe.json`, with the statistics that the network is fed by, and `config.json` of a config file."""
        if self.team.leads:
            kind = self.learner.kind
            content = self.recipe.to_dict() | {"statistics": {"mean": list(kind.mean), "std": list(kind.std)}}
            with whole_or_nothing(self.folder / "recipe.json") as part:
                part.write_text(json.dumps(content, indent=1), encoding="utf-8")
            if self.keeping.config is not None:
                with whole_or_nothing(self.folder / "config.json") as part:
                    part.write_text(self.keeping.config, encoding="utf-8")

    def journal(self) -> contextlib.AbstractContextManager:
        """The log, which the leader keeps, opened for the rest of the run."""
        if not self.team.leads:
            return contextlib.nullcontext()
        events = (self.keeping.events or self.folder) if self.keeping.tensorboard else None
        self.log = log.Journal(self.folder, self.place.epoch, self.data.legend, events)
        return self.log

    def save(self, judged: dict | None = None, numbered: bool = False) -> None:
        """Writes `last.pt`: all that the run goes on from; where it is `numbered`, `checkpoint-epochN.pt` before."""
        state = self.learner.state() | {
            "epoch": self.place.epoch,
            "step": self.place.step,
            "in_progress": vars(self.epoch),
            "bad_steps": self.bad_steps,
            "best_score": self.best.score,
            "best_epoch": self.best.epoch,
        }
        if self.team.leads:
            checkpoint = self.learner.checkpoint(self.learner.model, judged or {}, state)
            if numbered:
                save_checkpoint(self.keeping.file(f"checkpoint-epoch{self.place.epoch}"), checkpoint)
            save_checkpoint(self.last, checkpoint)

    def stops_early(self) -> bool:
        """Whether the best epoch is so long ago that the run ends: asked after each that could have been better."""
        patience, last = self.recipe.early_stop, self.place.epoch - 1
        if not patience or last - self.best.epoch < patience or not self._is_judged(last):
            return False
        self._say(f"no better {self.recipe.monitor} for {patience} epochs: stopped after {self.place.epoch}")
        return True

    def _stop_if_asked(self) -> None:
        """Saves and leaves, once any process of the team has been asked to."""
        asked = self.interrupts.asked
        if self.team.size > 1:
            flag = torch.tensor(asked, device=self.learner.device)
            torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
            asked = int(flag)
        if asked:
            self.save()
            self.team.wait()  # a process that left before the leader has saved would have torchrun end it
            place = f"epoch {self.place.epoch + 1}, step {self.place.step}"
            raise Interrupted(asked, f"stopped in {place}; {self.last} is saved: {self.keeping.going_on}")

    def _say(self, text: str) -> None:
        if self.team.leads:
            Progress.write(text)

    # ----------------------------------------------------------------------------------------------------- epochs

    def train_epoch(self) -> None:
        """The steps of an epoch that are still to do."""
        self.learner.begin_epoch()
        epoch, steps = self.place.epoch, self.recipe.steps_per_epoch
        title = f"epoch {epoch + 1}/{self.recipe.epochs}"
        how = {"unit": "step", "disable": not self.team.leads, "leave": False}
        bar = Progress(total=steps, initial=self.place.step, desc=title, **how)
        with bar:
            begun = time.perf_counter()
            for batches in self._batches():
                good, values = self.learner.step(self.place, batches)
                if good:
                    self.epoch.add(values)
                else:
                    self._bear(values)
                now = time.perf_counter()
                self.epoch.seconds += now - begun
                self.epoch.windows += sum(len(labels) for _, labels in batches) * self.team.size
                begun = now
                self.place = Place(epoch, self.place.step + 1)
                done = epoch * steps + self.place.step
                self.learner.note_cycle_end(done)
                if self.log and good and self.keeping.log_steps and done % self.keeping.log_steps == 0:
                    self.log.add_step(done, values)
                bar.update()
                self._stop_if_asked()

    def _batches(self):
        """The batches of each step that is left of the epoch, as lists."""
        sampler = self.training.batch_sampler
        sampler.epoch, sampler.first_step = self.place.epoch, self.place.step
        batches = []
        for batch in self.training:
            batches.append(batch)
            if len(batches) == self.recipe.accumulate:
                yield batches
                batches = []

    def _bear(self, values: dict[str, float]) -> None:
        """Notes a step without a finite loss; TrainingError when there have been too many."""
        self.bad_steps += 1
        name = "grad_norm" if math.isfinite(values["loss"]) else "loss"
        epoch, step = self.place.epoch, self.place.step
        draws = [draw for batch in self.training.batch_sampler.step_draws(epoch, step) for draw in batch]
        crops = ", ".join(dict.fromkeys(self.data.training[draw.crop].name for draw in draws))
        problem = f"the {name} is {values[name]} in epoch {epoch + 1}, step {step + 1}, with the crops {crops}"
        if self.bad_steps > self.options.skip_bad_steps:
            kept = f"{self.last} is intact" if self.last.exists() else "nothing was saved yet"
            remedy = f"lower `base_lr`, look at these crops, or allow some with `skip_bad_steps`; {kept}"
            raise TrainingError(f"recipe {self.recipe.name}", problem, remedy)
        self._say(f"{problem}: left out ({self.bad_steps} of {self.options.skip_bad_steps})")

    def finish_epoch(self) -> None:
        """Scores the network after an epoch, where this one has a validation, and writes log and checkpoints."""
        epoch, scored = self.place.epoch, self.learner.scored_model
        judged, pictures = self._validate(scored) if self._is_validated(epoch) else Validation({}, [])
        _, momentum = self.learner.pace(Place(epoch, self.recipe.steps_per_epoch - 1))
        row = {"momentum": momentum, **self.epoch.row()}
        if self.recipe.last_mult != 1:
            row["lr heads"] = row["lr"] * self.recipe.last_mult
        told = judged | ({"loss": row["loss"]} if "loss" in row else {})
        improved = self._is_judged(epoch) and self._remember(self._score(told), epoch)
        self.place, self.epoch = Place(epoch + 1), _Epoch()
        if self.log:
            self.log.add(epoch, row, judged)
            self.log.show(epoch, pictures)
            if improved:
                save_checkpoint(self.best_file, self.learner.checkpoint(scored, told))
        period = self.keeping.save_period
        self.save(told, numbered=period > 0 and (epoch + 1) % period == 0)
        self.team.wait()

    def _validate(self, model: torch.nn.Module) -> Validation:
        # A team's processes have unlike numbers of crops, and stop together: after all of them.
        after_each = self._stop_if_asked if self.team.size == 1 else None
        result = self.learner.validate(self.validation, model, PICTURES, after_each)
        self._stop_if_asked()
        return result

    def _is_validated(self, epoch: int) -> bool:
        """Whether an epoch ends with a validation: every `val_period`-th, and the last."""
        period = self.recipe.val_period
        here = period > 0 and ((epoch + 1) % period == 0 or epoch + 1 == self.recipe.epochs)
        return here and bool(self.data.validation)

    def _is_judged(self, epoch: int) -> bool:
        """Whether an epoch can be the best: those with a validation, where it is that which counts."""
        return self._is_validated(epoch) if self._by_validation else True

    @property
    def _by_validation(self) -> bool:
        return self.recipe.monitor in SCORES and self.recipe.val_period > 0 and self._tells_of_epochs()

    def _tells_of_epochs(self) -> bool:
        """Whether the validation holds what the monitored score is about: without, the first false alarm would win."""
        labelled = {i for crop in self.data.validation for i, count in enumerate(crop.pixels) if count}
        if self.recipe.monitor == "miou":
            return not labelled.isdisjoint(self.data.legend.foreground)
        return len(labelled) >= (2 if self.recipe.monitor == "kappa" else 1)

    def say_what_counts(self) -> None:
        """Says where no validation can tell which epoch is the best."""
        if self.recipe.monitor in SCORES and self.recipe.val_period and not self._by_validation:
            self._say(f"no validation pixels that {self.recipe.monitor} is about: the last epoch counts as the best")

    def _score(self, judged: dict) -> float:
        """What the recipe monitors, the higher the better, of an epoch's validation scores and its training loss."""
        score = judged.get(self.recipe.monitor)
        if score is None:  # no validation, or nothing in it that counts
            return WORST
        return -score if self.recipe.monitor in ("loss", "val_loss") else score

    def _remember(self, score: float, epoch: int) -> bool:
        """Notes a score. True where `best.pt` is to be of it; where there is nothing to compare, always.

        That is where it is the best so far, and no worse than what `best.pt` has: the same where a run that went back
        comes to its best epoch again.
        """
        compared = self._by_validation or self.recipe.monitor == "loss"
        if compared and not score > self.best.score:
            return False
        self.best = _Best(score, epoch)
        return not compared or score >= self.kept_score

    def finish_average(self) -> None:
        """Fits, scores and keeps the average of the cycles' ends; it becomes `best.pt` where it is the best."""
        path = self.keeping.file("swa")
        if self._is_averaged():
            return
        if not self.learner.average.n_averaged:
            self._say("no cycle has ended: nothing to average")
            return
        sampler = self.training.batch_sampler
        sampler.epoch, sampler.first_step = self.recipe.epochs, max(0, self.recipe.steps_per_epoch - REFIT_BATCHES)
        self._stop_if_asked()
        model = self.learner.averaged_over_cycles(self.training)
        self._stop_if_asked()
        judged, _ = self.learner.validate(self.validation, model)
        if self.team.leads:
            checkpoint = self.learner.checkpoint(model, judged)
            best = self._remember(self._score(checkpoint.scores), self.recipe.epochs)
            if best:
                save_checkpoint(self.best_file, checkpoint)
            save_checkpoint(path, checkpoint)
            score = f"mIoU {checkpoint.score:.4f}" if self.data.validation else "no validation"
            count = int(self.learner.average.n_averaged)
            self._say(f"average of {count} cycle ends: {score}{', the best' if best else ''}; written: {path}")
        self.team.wait()
