"""The rule for a run's best epoch: what is compared, which is kept as `best.pt`, when there has been none for long."""

import math
import sys

from jingwei.models.checkpoints import Checkpoint
from jingwei.training.experiments import TrainingData
from jingwei.training.recipes import SCORES, Recipe

# Fields of a recipe that say what its loss is: losses of recipes that differ in one can't be compared.
LOSS_FIELDS = (
    "loss", "class_weights", "label_smoothing", "edge_smoothing", "focal_gamma", "lovasz_per_image", "aux_weight",
)  # fmt: skip
WORST = -sys.float_info.max  # the score of an epoch that has none: the first such is better than no epoch at all


class BestEpoch:
    """The best epoch of a run so far, by what its recipe monitors: `score` (the higher, the better) and `epoch`."""

    def __init__(self, recipe: Recipe, data: TrainingData):
        self.recipe, self.data = recipe, data
        self.score, self.epoch = -math.inf, 0
        self.kept_score = -math.inf  # of best.pt, which may be of epochs that the run has gone back behind
        self.by_validation = recipe.monitor in SCORES and recipe.val_period > 0 and self._validation_is_enough()

    def _validation_is_enough(self) -> bool:
        """Whether the validation holds what the monitored score is about: without, the first false alarm would win."""
        labelled = {i for crop in self.data.validation for i, count in enumerate(crop.pixels) if count}
        if self.recipe.monitor == "miou":
            return not labelled.isdisjoint(self.data.legend.foreground)
        return len(labelled) >= (2 if self.recipe.monitor == "kappa" else 1)

    @property
    def warning(self) -> str | None:
        """What to say where the recipe monitors a score that the validation can't give."""
        if self.by_validation or self.recipe.monitor not in SCORES or not self.recipe.val_period:
            return None
        useless = ", and early_stop never stops the run" if self.recipe.early_stop else ""
        return f"no validation pixels that {self.recipe.monitor} is about: the last epoch counts as the best{useless}"

    def resume(self, resumed: Checkpoint, kept: Checkpoint | None) -> None:
        """Goes on from a checkpoint, in a folder that has `kept` as its `best.pt`."""
        state = resumed.training
        if kept and self._is_comparable(kept):
            self.kept_score = self.score_of(kept.scores)
        if kept and self._is_comparable(kept) and self._is_comparable(resumed):
            # The lower: where the run goes on in another folder, its best lies in the old one.
            self.score, self.epoch = min(state["best_score"], self.kept_score), state["best_epoch"]
        else:  # another experiment's best, or one that can't be compared
            self.score, self.epoch = -math.inf, state["epoch"] - 1

    def _is_comparable(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint's scores can be compared with those of this run."""
        theirs, ours = Recipe().to_dict() | checkpoint.recipe, self.recipe.to_dict()
        terms = LOSS_FIELDS if self.recipe.monitor in ("loss", "val_loss") else ()
        return self.data.has_crops_of(checkpoint) and all(theirs[name] == ours[name] for name in ("monitor", *terms))

    def is_validated(self, epoch: int) -> bool:
        """Whether an epoch ends with a validation: every `val_period`-th, and the last."""
        period = self.recipe.val_period
        due = period > 0 and ((epoch + 1) % period == 0 or epoch + 1 == self.recipe.epochs)
        return due and bool(self.data.validation)

    def is_candidate(self, epoch: int) -> bool:
        """Whether an epoch can be the best: where a validation score is monitored, those with a validation."""
        return self.is_validated(epoch) if self.by_validation else True

    def score_of(self, scores: dict) -> float:
        """What the recipe monitors, the higher the better, of an epoch's validation scores and its training loss."""
        score = scores.get(self.recipe.monitor)
        if score is None:  # no validation, or nothing in it that counts
            return WORST
        return -score if self.recipe.monitor in ("loss", "val_loss") else score

    def update(self, scores: dict, epoch: int) -> bool:
        """Takes an epoch's scores into account. True where `best.pt` is to be of it.

        That is where it is the best so far, and no worse than what `best.pt` has: the same where a run that went back
        comes to its best epoch again. Where there is nothing to compare, always.
        """
        score = self.score_of(scores)
        compared = self.by_validation or self.recipe.monitor == "loss"
        if compared and not score > self.score:
            return False
        self.score, self.epoch = score, epoch
        return not compared or score >= self.kept_score

    def is_long_past(self, epochs_done: int) -> bool:
        """Whether the run should stop early: no better epoch for `early_stop` epochs, asked after a candidate."""
        patience, last = self.recipe.early_stop, epochs_done - 1
        return patience > 0 and last - self.epoch >= patience and self.is_candidate(last)
