"""One training loop for all recipes. What a run leaves behind: `run_files`."""

import contextlib
import math
import shlex
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from jingwei.errors import CheckpointError, TrainingError
from jingwei.models.checkpoints import Checkpoint
from jingwei.system.atomic import only_run
from jingwei.system.interrupts import Interrupted, Interrupts
from jingwei.system.progress import Progress
from jingwei.training.best_epoch import BestEpoch
from jingwei.training.calibration import LogitSample
from jingwei.training.datasets import Loader, killed_loaders_named, training_loader, validation_loader
from jingwei.training.distributed import Team, check_sync_bn, in_team, leads, process_device, team
from jingwei.training.experiments import OTHER_CROPS, TrainingData, read_training_data
from jingwei.training.learner import Learner
from jingwei.training.log import TrainingLog
from jingwei.training.position import EpochSums, Position
from jingwei.training.recipes import Recipe
from jingwei.training.refit import taken_calibration, with_all_labels
from jingwei.training.resume import checkpoint_to_resume
from jingwei.training.run_files import Keeping, RunFiles
from jingwei.training.sampling import with_steps
from jingwei.training.start import Start
from jingwei.training.validate import Validation
from jingwei.workspace import Workspace

STOPPING = "stopping after this step"
PICTURES = 4  # validation crops shown in TensorBoard
REFIT_BATCHES = 100  # training batches that an average's batch norm is fitted to, at most


@dataclass(frozen=True)
class RunOptions:
    """How a recipe is run on this machine."""

    device: str = "auto"
    workers: int = 1
    compile: bool = False
    resume: Path | None = None  # a checkpoint to go on from, even where the recipe has changed
    weights: Path | str | None = None  # weights to start from in place of ImageNet's: a file or a name
    init_from: Path | None = None  # a checkpoint of ours to start from, its normalisation included
    skip_bad_steps: int = 0  # steps whose loss is not finite that are left out before the run gives up
    weights_bands: str = ""  # the bands that a file of weights was made for
    refit: Path | None = None  # the folder of a validated experiment: all labels are trained on, none validated


def train(workspace: Workspace, recipe: Recipe, exp: str, options: RunOptions) -> Path:
    """Runs a recipe as the experiment `exp` of a workspace; see `run`."""
    return run(workspace, recipe, Keeping(workspace.experiment(recipe.name, exp)), options)


def run(workspace: Workspace, recipe: Recipe, keeping: Keeping, options: RunOptions) -> Path:
    """Runs a recipe, or goes on with it where an earlier run of the same recipe stopped. Returns the folder.

    Under `torchrun` all processes call it and train together. Raises SettingError where the folder holds an experiment
    of other settings or crops, TrainingError where the loss diverges, Interrupted (with the last checkpoint saved) at
    Ctrl-C, SIGTERM and SIGHUP.
    """
    data = read_training_data(workspace)
    if options.refit:
        data = with_all_labels(data)
    recipe = with_steps(recipe.check(), data.training)
    device = process_device(options.device)
    if recipe.sync_bn and in_team():
        check_sync_bn(device)
    watched, answer = killed_loaders_named(options.workers), STOPPING if leads() else ""
    with watched, team(device) as crew, contextlib.ExitStack() as stack, Interrupts(in_team(), answer) as interrupts:
        training = _TrainingRun(recipe, data, options, device, crew, keeping, interrupts)
        stack.callback(training.learner.leave_team)
        if crew.leads:
            stack.enter_context(only_run(keeping.folder))
        training.begin()
        if training.has_ended():
            return keeping.folder
        training.train()
        if recipe.average_cycles:
            training.finish_average()
        training.tell_calibration()
    return keeping.folder


class _TrainingRun:
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
        self.recipe, self.data, self.options, self.team, self.interrupts = recipe, data, options, crew, interrupts
        self.keeping, self.files = keeping, RunFiles(keeping, crew.leads)
        self.position, self.epoch_sums, self.bad_steps = Position(), EpochSums(), 0
        self.best = BestEpoch(recipe, data)
        fresh = not options.resume and not self.files.last.exists()
        start = Start(options.weights, options.init_from, options.weights_bands)
        self.begun_from = start.source
        # A run that goes on needs no weights to start from: they may be gone by then.
        start = start.check() if fresh else Start()
        self.learner = Learner(recipe, data.kind, device, crew, start, options.compile)
        self.training: Loader  # made by `begin`, when it is known what the network subtracts
        self.validation: Loader
        self.log: TrainingLog | None = None
        self.calibration: dict = {}  # of the best network of this run so far

    # ----------------------------------------------------------------------------------------------------- start

    def begin(self) -> None:
        """Loads the state of an earlier run, or what a fresh one starts from, and opens the data."""
        self._load()
        recipe, data, crew, workers = self.recipe, self.data, self.team, self.options.workers
        mean = self.learner.kind.mean
        self.training = training_loader(
            data.folder, data.training, recipe, mean, recipe.steps_per_epoch, workers, crew.rank, crew.size
        )
        self.validation = validation_loader(data.folder, crew.share(data.validation), mean, workers)
        self._check_team()

    def _load(self) -> None:
        checkpoint = checkpoint_to_resume(self.files, self.options.resume, self.recipe, self.data, self.begun_from)
        if checkpoint is None:
            for line in self.learner.load_start():
                self._say(line)
            self.files.delete_average()
            return
        if not self.data.has_crops_of(checkpoint):
            self._say(f"{checkpoint.path} {OTHER_CROPS}")
        state = checkpoint.training
        self.learner.load(checkpoint, checkpoint.path)
        self.position, self.epoch_sums = Position(state["epoch"], state["step"]), EpochSums(**state["in_progress"])
        self.bad_steps, self.begun_from = state["bad_steps"], state.get("begun_from", "")
        if self.position.step > self.recipe.steps_per_epoch:  # epochs have become shorter
            self.position, self.epoch_sums = Position(self.position.epoch), EpochSums()
        self.best.resume(checkpoint, self.files.kept_best())

    def _check_team(self) -> None:
        """Waits until all processes have looked at the folder, before the leader writes to it: they must agree."""
        position = [self.position.epoch, self.position.step]
        here = torch.tensor(position, device=self.learner.device, dtype=torch.float64)
        if not torch.equal(self.team.total(here * here) * self.team.size, self.team.total(here) ** 2):
            problem = "is not the same for all processes"
            raise CheckpointError(self.files.folder, problem, "put it into a folder that all machines share")

    def has_ended(self) -> bool:
        """Whether no epoch and no average is left to do; says so, and all files stay as they are."""
        done = self.position.epoch
        if done < self.recipe.epochs or (self.recipe.average_cycles and not self._is_averaged()):
            return False
        self._say(f"{self.files.last}: {done} epochs are trained already: more with `epochs` and a larger number")
        return True

    # ----------------------------------------------------------------------------------------------------- epochs

    def train(self) -> None:
        """All epochs that are left, or as many as early stopping allows."""
        if self.best.warning:
            self._say(self.best.warning)
        self.files.write_settings(self.recipe, self.learner.kind)
        for line in self._opening():
            self._say(line)
        with self.files.open_log(self.position.epoch, self.data.legend, self.recipe.epochs) as self.log:
            while self.position.epoch < self.recipe.epochs:
                if self.best.is_long_past(self.position.epoch):
                    patience, done = self.recipe.early_stop, self.position.epoch
                    self._say(f"no better {self.recipe.monitor} for {patience} epochs: stopped after {done}")
                    break
                self._train_epoch()
                self._finish_epoch()

    def _opening(self) -> Iterator[str]:
        """What is trained, on what, and where to watch it."""
        recipe, learner, data = self.recipe, self.learner, self.data
        count = sum(weights.numel() for weights in learner.model.parameters())
        threads = f", {torch.get_num_threads()} threads" if learner.device.type == "cpu" else ""
        processes = f"{self.team.size} processes, " if self.team.size > 1 else ""
        precision = str(learner.precision).removeprefix("torch.")
        machine = f"{processes}{learner.device}{threads}, {precision}"
        yield f"{learner.model.spec.in_words()}: {count / 1e6:.1f} M weights; {machine}"
        sizes = " and ".join(map(str, recipe.crop_sizes))
        steps = f"{recipe.epochs} epochs of {recipe.steps_per_epoch} steps of {recipe.batch_size * recipe.accumulate}"
        yield f"{len(data.training)} crops to train, {len(data.validation)} to validate; {steps} windows of {sizes} px"
        side = statistics.median(min(crop.window.height, crop.window.width) for crop in data.training)
        largest = max(recipe.crop_sizes)
        if largest > side * math.sqrt(recipe.min_scale * recipe.max_scale):  # at the scale in the middle
            remedy = f"cut larger ones, or take a smaller `crop_size` than {largest}"
            yield f"windows are larger than the usual crop ({side:.0f} px), and the rest of them is padding: {remedy}"
        if self.files.events:
            yield f"TensorBoard: tensorboard --logdir {shlex.quote(str(self.files.events))}"

    def _train_epoch(self) -> None:
        """The steps of an epoch that are still to do."""
        self.learner.begin_epoch()
        epoch, steps = self.position.epoch, self.recipe.steps_per_epoch
        title = f"epoch {epoch + 1}/{self.recipe.epochs}"
        quiet = not self.team.leads
        with Progress(
            total=steps, initial=self.position.step, desc=title, unit="step", disable=quiet, leave=False
        ) as bar:
            begun = time.perf_counter()
            for batches in self._batches():
                good, values = self.learner.step(self.position, batches)
                if good:
                    self.epoch_sums.add(values)
                else:
                    self._leave_out(values)
                now = time.perf_counter()
                self.epoch_sums.seconds += now - begun
                self.epoch_sums.windows += sum(len(labels) for _, labels in batches) * self.team.size
                begun = now
                self.position = Position(epoch, self.position.step + 1)
                done = epoch * steps + self.position.step
                self.learner.note_cycle_end(done)
                if self.log and good and self.keeping.log_steps and done % self.keeping.log_steps == 0:
                    self.log.add_step(done, values)
                bar.update()
                self._stop_if_asked()

    def _batches(self) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """The batches of each step that is left of the epoch, as lists."""
        sampler = self.training.batch_sampler
        sampler.epoch, sampler.first_step = self.position.epoch, self.position.step
        batches = []
        for batch in self.training:
            batches.append(batch)
            if len(batches) == self.recipe.accumulate:
                yield batches
                batches = []

    def _leave_out(self, values: dict[str, float]) -> None:
        """Notes a step without a finite loss; TrainingError when there have been too many."""
        self.bad_steps += 1
        name = "grad_norm" if math.isfinite(values["loss"]) else "loss"
        epoch, step = self.position.epoch, self.position.step
        draws = [draw for batch in self.training.batch_sampler.step_draws(epoch, step) for draw in batch]
        crops = ", ".join(dict.fromkeys(self.data.training[draw.crop].name for draw in draws))
        problem = f"the {name} is {values[name]} in epoch {epoch + 1}, step {step + 1}, with the crops {crops}"
        if self.bad_steps > self.options.skip_bad_steps:
            kept = f"{self.files.last} is intact" if self.files.last.exists() else "nothing was saved yet"
            remedy = f"lower `base_lr`, look at these crops, or allow some with `skip_bad_steps`; {kept}"
            raise TrainingError(f"recipe {self.recipe.name}", problem, remedy)
        self._say(f"{problem}: left out ({self.bad_steps} of {self.options.skip_bad_steps})")

    def _finish_epoch(self) -> None:
        """Scores the network after an epoch, where this one has a validation, and writes log and checkpoints."""
        epoch, model = self.position.epoch, self.learner.scored_model
        sample = self._sample() if self.best.is_validated(epoch) else None
        scores, pictures = self._validate(model, sample) if sample else Validation({}, [])
        _, momentum = self.learner.pace(Position(epoch, self.recipe.steps_per_epoch - 1))
        row = {"momentum": momentum, **self.epoch_sums.row()}
        if self.recipe.last_mult != 1:
            row["lr heads"] = row["lr"] * self.recipe.last_mult
        kept = scores | ({"loss": row["loss"]} if "loss" in row else {})
        improved = self.best.is_candidate(epoch) and self.best.update(kept, epoch)
        self.position, self.epoch_sums = Position(epoch + 1), EpochSums()
        if self.log:
            self.log.add(epoch, row, scores)
            self.log.show(epoch, pictures)
        if improved:
            self._save_best(self.learner.checkpoint(model, kept, sample=sample))
        self.files.save_last(self._checkpoint(kept), epoch_ends=True)
        self.team.wait()

    def _sample(self) -> LogitSample:
        """What takes the pixels of this process's validation crops that a network is calibrated on."""
        crops = self.data.validation
        return LogitSample(self.team.share(crops), sum(crop.valid for crop in crops))

    def _save_best(self, checkpoint: Checkpoint) -> None:
        self.calibration = checkpoint.calibration
        if self.options.refit:
            checkpoint.calibration = taken_calibration(self.options.refit)
        self.files.save_best(checkpoint)

    def tell_calibration(self) -> None:
        """Says how far probabilities can be trusted, of the best network that this run has kept."""
        if self.calibration:
            before, after = (f"{error:.3f}" for error in self.calibration["error"])
            temperature = f"temperature {self.calibration['temperature']:.2f}"
            self._say(f"{self.files.best} is calibrated: {temperature}, expected calibration error {before} -> {after}")

    def _validate(self, model: torch.nn.Module, sample: LogitSample) -> Validation:
        # A team's processes have unlike numbers of crops, and stop together: after all of them.
        after_each = self._stop_if_asked if self.team.size == 1 else None
        result = self.learner.validate(self.validation, model, PICTURES, after_each, sample)
        self._stop_if_asked()
        return result

    # ------------------------------------------------------------------------------------------------------- average

    def _is_averaged(self) -> bool:
        """Whether the average of the cycles' ends is made, of this very recipe."""
        kept = self.files.kept_average()
        return kept is not None and kept.recipe == self.recipe.to_dict() and self.data.has_crops_of(kept)

    def finish_average(self) -> None:
        """Fits, scores and keeps the average of the cycles' ends; it becomes `best.pt` where it is the best."""
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
        sample = self._sample()
        scores, _ = self.learner.validate(self.validation, model, sample=sample)
        checkpoint = self.learner.checkpoint(model, scores, sample=sample)
        best = self.best.update(scores, self.recipe.epochs)
        if best:
            self._save_best(checkpoint)
        self.files.save_average(checkpoint)
        score = f"mIoU {checkpoint.score:.4f}" if self.data.validation else "no validation"
        count = int(self.learner.average.n_averaged)
        self._say(
            f"average of {count} cycle ends: {score}{', the best' if best else ''}; written: {self.files.average}"
        )
        self.team.wait()

    # ---------------------------------------------------------------------------------------------------------- stop

    def _checkpoint(self, scores: dict):
        """The network with all that the run goes on from."""
        state = self.learner.state() | {
            "epoch": self.position.epoch,
            "step": self.position.step,
            "in_progress": vars(self.epoch_sums),
            "bad_steps": self.bad_steps,
            "begun_from": self.begun_from,
            "best_score": self.best.score,
            "best_epoch": self.best.epoch,
        }
        return self.learner.checkpoint(self.learner.model, scores, state)

    def _stop_if_asked(self) -> None:
        """Saves and leaves, once any process of the team has been asked to."""
        asked = self.interrupts.asked
        if self.team.size > 1:
            flag = torch.tensor(asked, device=self.learner.device)
            torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
            asked = int(flag)
        if asked:
            self.files.save_last(self._checkpoint({}))
            self.team.wait()  # a process that left before the leader has saved would have torchrun end it
            position = f"epoch {self.position.epoch + 1}, step {self.position.step}"
            raise Interrupted(asked, f"stopped in {position}; {self.files.last} is saved: {self.keeping.going_on}")

    def _say(self, text: str) -> None:
        if self.team.leads:
            Progress.write(text)
