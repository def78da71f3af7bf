"""A network in training: one step, one validation, and the state that a run goes on from.

Which windows a step sees and every other chance in it follow from (seed, epoch, step). So weights, optimizer and the
position in the run are the whole state, and a run that was stopped anywhere goes on as if it had not been.
"""

import contextlib
import functools
import math
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from jingwei.errors import CheckpointError, TrainingError
from jingwei.legend import NODATA
from jingwei.models.checkpoints import Checkpoint, check_fits, check_type
from jingwei.models.devices import autocast, find_precision, to_device
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.models.torch_files import AGAIN, first_line
from jingwei.training.averaging import equal_average, moving_average, refit_batch_norm
from jingwei.training.calibration import LogitSample
from jingwei.training.depthwise import fast_depthwise
from jingwei.training.distributed import Team, synchronize_batch_norm
from jingwei.training.losses import build_loss
from jingwei.training.position import Position
from jingwei.training.recipes import Recipe
from jingwei.training.schedules import cycle_ends, find_schedule, learning_rate, momentum
from jingwei.training.start import DataKind, Start
from jingwei.training.validate import Validation, logits_of_crops, validate

OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


class Step(NamedTuple):
    """What a step gave: `good` where it was made; else its loss or gradient was not finite and all stayed as it was.

    `values` has the loss, each of its terms and the length of the gradient (grad_norm), over all processes, and lr.
    """

    good: bool
    values: dict[str, float]


class Learner:
    """A network, its optimizer and its average. In a team, every process has one, and all stay equal."""

    def __init__(
        self, recipe: Recipe, kind: DataKind, device: torch.device, team: Team, start: Start, compiled: bool = False
    ):
        self.recipe, self.device, self.team, self.start = recipe, device, team, start
        self.precision = find_precision(recipe.precision, device)
        self.loss_terms = build_loss(recipe, kind.class_pixels)
        find_schedule(recipe.schedule)
        torch.manual_seed(recipe.seed)
        self.kind = kind = start.normalised(kind, recipe.pretrained, recipe.model, recipe.backbone)
        spec = ModelSpec(
            recipe.model, recipe.backbone, len(kind.mean), len(kind.legend), recipe.output_stride, recipe.aux_weight > 0
        )
        self.model = build_model(spec, kind.mean, kind.std)
        if recipe.freeze_backbone:
            self.model.freeze_backbone()
        if recipe.sync_bn and team.size > 1:
            self.model = synchronize_batch_norm(self.model)
        self.model = self.model.to(device, memory_format=torch.channels_last)
        self.average = None
        if recipe.ema:
            self.average = moving_average(self.model, recipe.ema)
        elif recipe.average_cycles:
            self.average = equal_average(self.model)
        wrapped = self.model
        if team.size > 1:
            wrapped = nn.parallel.DistributedDataParallel(wrapped)
        self.network: Any = torch.compile(wrapped) if compiled else wrapped
        self._no_sync = getattr(wrapped, "no_sync", contextlib.nullcontext)
        fast = functools.partial(fast_depthwise, device, self.precision)
        self._forward_in = contextlib.nullcontext if compiled else fast  # the compiler has kernels of its own
        self.optimizer = self._optimizer()
        self._buffers = list(self.model.buffers())
        self._buffers_before = [buffer.clone() for buffer in self._buffers]  # as they were before the step at hand
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)

    def _optimizer(self) -> torch.optim.Optimizer:
        encoder, rest = list(self.model.backbone_parameters()), list(self.model.head_parameters())
        groups = [{"params": encoder, "multiple": 1.0}, {"params": rest, "multiple": self.recipe.last_mult}]
        settings = {"lr": self.recipe.base_lr, "weight_decay": self.recipe.weight_decay}
        # All of a parameter's arithmetic in one pass over memory, where torch has that.
        return OPTIMIZERS[self.recipe.optimizer](groups, **settings, fused=self.device.type in ("cpu", "cuda"))

    def load_start(self) -> list[str]:
        """Puts the weights into the network that a fresh run starts from. Returns lines that are good to know."""
        lines = self.start.load(self.model, self.recipe.pretrained, self.kind)
        if self.average is not None and self.recipe.ema:
            self.average.module.load_state_dict(self.model.state_dict())
        return lines

    def leave_team(self) -> None:
        """Gives up what binds the network to the other processes, before the team parts; see `distributed.team`."""
        self.network, self._no_sync = self.model, contextlib.nullcontext

    # ------------------------------------------------------------------------------------------------ one step

    def step(self, position: Position, batches: list[tuple[Tensor, Tensor]]) -> Step:
        """One step of the optimizer over some batches (pixels_BCHW in the file's units, labels_BHW).

        Raises TrainingError where memory ends.
        """
        rate, beta = self.pace(position)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["multiple"]
            if "betas" in group:
                group["betas"] = (beta, group["betas"][1])
            else:
                group["momentum"] = beta
        torch.manual_seed(_mixed(self.recipe.seed, position.epoch, position.step, self.team.rank))
        count, size = len(batches[0][1]), batches[0][1].shape[-1]
        what = f"with {count} windows of {size} x {size} px at a time"
        with self._in_memory(what, "lower batch_size (and raise accumulate by as much) or crop_size"):
            good, values = self._step(batches)
        return Step(good, {"lr": rate, **values})

    @contextlib.contextmanager
    def _in_memory(self, what: str, remedy: str) -> Iterator[None]:
        """Makes a TrainingError of the end of memory."""
        try:
            yield
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
                raise
            problem = f"out of memory {what} on {self.device}"
            raise TrainingError(f"recipe {self.recipe.name}", problem, remedy) from error

    def pace(self, position: Position) -> tuple[float, float]:
        """The learning rate of the encoder and the momentum (beta1 of Adam and AdamW) of a step."""
        total = self.recipe.epochs * self.recipe.steps_per_epoch
        step = position.epoch * self.recipe.steps_per_epoch + position.step
        return learning_rate(step, total, self.recipe), momentum(step, total, self.recipe)

    def _step(self, batches: list[tuple[Tensor, Tensor]]) -> Step:
        torch._foreach_copy_(self._buffers_before, self._buffers)
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        shares = self._shares(batches)
        for number, ((pixels, labels), share) in enumerate(zip(batches, shares, strict=True)):
            last = number == len(batches) - 1
            with contextlib.nullcontext() if last else self._no_sync():
                losses = self._losses(to_device(pixels, self.device), labels.to(self.device, non_blocking=True))
                losses = {name: value * share for name, value in losses.items()}
                self.scaler.scale(_sum(losses.values())).backward()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value.detach()
        totals = torch.stack([_sum(sums.values()), *sums.values()])
        loss, *terms = (self.team.total(totals) / self.team.size).tolist()
        self.scaler.unscale_(self.optimizer)
        norm = self._gradient_length()
        values = {"loss": loss} | dict(zip(sums, terms, strict=True)) | {"grad_norm": norm}
        overflowed = self.scaler.get_scale() > 1 and math.isfinite(loss) and not math.isfinite(norm)
        if overflowed:
            del values["grad_norm"]  # fp16's scaler finds its scale by such steps, and leaves them out by itself
        good = all(map(math.isfinite, values.values()))
        if good:
            self.scaler.step(self.optimizer)
            self.scaler.update()
            if self.recipe.ema:
                self.average.update_parameters(self.model)
        else:
            self.scaler.update(self.scaler.get_scale())  # as it was, and ready for the next step
            torch._foreach_copy_(self._buffers, self._buffers_before)  # batch norm has seen what was not finite
        return Step(good, values)

    def _gradient_length(self) -> float:
        """The length of the gradient, which is then shortened to the recipe's longest."""
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.recipe.clip_grad:
            nn.utils.clip_grads_with_norm_(parameters, self.recipe.clip_grad, norm)
        return float(norm)

    def _shares(self, batches: list[tuple[Tensor, Tensor]]) -> list[float]:
        """The weight of each batch in the step: its share of the labelled pixels of all batches of all processes.

        So a mean over pixels is one over the pixels of the whole step, however they are shared out. Gradients are
        averaged over the team, so a share is multiplied by its size.
        """
        if len(batches) == self.team.size == 1:
            return [1.0]
        counts = [int((labels != NODATA).sum()) for _, labels in batches]
        total = self.team.total(torch.tensor(float(sum(counts)), device=self.device, dtype=torch.float64)).item()
        return [count * self.team.size / max(total, 1) for count in counts]

    def _losses(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        with autocast(self.device, self.precision), self._forward_in():
            output = self.network(pixels)
        logits, *auxiliary = output if isinstance(output, tuple) else (output,)
        losses = self._terms(logits, labels)
        if auxiliary:
            # The first term alone: this head is there for the gradient's reach, and sorting for Lovász twice is dear.
            weight, first_loss = next(iter(self.loss_terms.values()))
            losses["auxiliary"] = self.recipe.aux_weight * weight * first_loss(auxiliary[0], labels)
        return losses

    def _terms(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The terms of the recipe's loss, in float32 whatever the network computes in."""
        return {name: weight * loss(logits, labels) for name, (weight, loss) in self.loss_terms.items()}

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The recipe's loss without the auxiliary head's."""
        return _sum(self._terms(logits, labels).values())

    def begin_epoch(self) -> None:
        """Puts the network into training; batch norm may stay as it is."""
        self.network.train()
        if self.recipe.freeze_bn:
            self.model.freeze_batch_norm()

    def note_cycle_end(self, steps_done: int) -> None:
        """Adds the weights to the average of the cycles' ends, where this is one."""
        total = self.recipe.epochs * self.recipe.steps_per_epoch
        if self.recipe.average_cycles and steps_done in cycle_ends(total, self.recipe):
            self.average.update_parameters(self.model)

    # ------------------------------------------------------------------------------------- scores and checkpoints

    @property
    def scored_model(self) -> nn.Module:
        """The network that is scored and kept as the best: the moving average, where there is one."""
        return self.average.module if self.recipe.ema else self.model

    def validate(
        self,
        loader: DataLoader,
        model: nn.Module,
        pictures: int = 0,
        after_each: Callable[[], None] | None = None,
        sample: LogitSample | None = None,
    ) -> Validation:
        """The scores over the labelled crops of all processes, and some crops of this one's, spread out, to look at.

        `after_each` is called after each crop; the `sample` takes some pixels of each.
        """
        self.team.copy_buffers(model)  # each process has seen other windows: one network is to be scored, the leader's
        shown = {round((k + 0.5) * len(loader) / pictures - 0.5) for k in range(pictures)}
        crops = logits_of_crops(model, loader, self.device, self.precision, quiet=not self.team.leads)
        with self._in_memory("in the validation, which sees crops whole", "cut smaller ones: crop_size, tile_size"):
            return validate(crops, self.kind.legend, self._loss, self.device, self.team, shown, after_each, sample)

    def averaged_over_cycles(self, batches: Iterable[tuple[Tensor, Tensor]]) -> nn.Module:
        """The mean of the weights at the cycles' ends, its batch norm fitted to some training batches."""
        model = self.average.module
        pixels = (to_device(pixels, self.device) for pixels, _ in batches)
        still = self.recipe.freeze_bn or self.recipe.freeze_backbone
        with autocast(self.device, self.precision):
            refit_batch_norm(model, pixels, model.network.encoder if still else None)
        self.team.copy_buffers(model)
        return model

    def checkpoint(
        self, model: nn.Module, scores: dict, training: dict | None = None, sample: LogitSample | None = None
    ) -> Checkpoint:
        """A model as a checkpoint, with its scores; `training` is what a run goes on from.

        It is calibrated on the `sample` that its validation has taken; all processes of a team take part in that.
        """
        return Checkpoint(
            spec=self.model.spec,
            dtype=self.kind.dtype,
            mean=self.kind.mean,
            std=self.kind.std,
            legend=self.kind.legend,
            recipe=self.recipe.to_dict(),
            weights=model.state_dict(),
            scores=scores,
            training=training,
            source=self.kind.source,
            crops=self.kind.stamp,
            calibration=sample.calibration(self.kind.legend, self.team, self.device) if sample else {},
        )

    def state(self) -> dict:
        """What a resumed run needs besides the weights."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
        }

    def load(self, checkpoint: Checkpoint, path: Path) -> None:
        """Goes on from a checkpoint of the same network and legend. CheckpointError otherwise.

        Its normalisation is taken over with its weights; the optimizer's settings are the recipe's.
        """
        check_fits(checkpoint, path, self.kind.legend, len(self.kind.mean))
        check_type(checkpoint, path, "the training data", self.kind.dtype)
        if checkpoint.spec != self.model.spec:
            problem = f"is of another network ({checkpoint.spec.in_words()}; this is {self.model.spec.in_words()})"
            remedy = 'give its `model`, `backbone` and `output_stride`; in a config its "arch"'
            raise CheckpointError(path, problem, remedy)
        trained = Recipe().to_dict() | checkpoint.recipe  # older ones have fewer fields
        if trained["optimizer"] != self.recipe.optimizer:
            problem = f"was trained with the optimizer {trained['optimizer']}"
            raise CheckpointError(path, problem, "give the same `optimizer`, or start anew from it by `init_from`")
        with _loading(path):
            self.model.load_state_dict(checkpoint.weights)
            self._load_state(checkpoint.training, same_average=bool(trained["ema"]) == bool(self.recipe.ema))
        self.kind = replace(self.kind, mean=checkpoint.mean, std=checkpoint.std)

    def _load_state(self, state: dict, same_average: bool) -> None:
        chosen = [{name: value for name, value in g.items() if name != "params"} for g in self.optimizer.param_groups]
        kept = state["optimizer"]["param_groups"]
        fused = [
            {**group, "fused": own["fused"]} for group, own in zip(kept, chosen, strict=True)
        ]  # places its counters
        self.optimizer.load_state_dict({**state["optimizer"], "param_groups": fused})
        for group, settings in zip(self.optimizer.param_groups, chosen, strict=True):
            group.update(settings)
        if state["scaler"]:  # empty where the run so far was not in fp16
            self.scaler.load_state_dict(state["scaler"])
        if self.average is None:
            return
        if state["average"] is not None and same_average:
            self.average.load_state_dict(state["average"])
        else:  # this kind of average was switched on for the rest of the run
            self.average.module.load_state_dict(self.model.state_dict())


@contextlib.contextmanager
def _loading(path: Path) -> Iterator[None]:
    """Makes a CheckpointError of what torch raises for weights and states that don't fit."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        problem = f"its weights or its optimizer's state don't fit its network ({first_line(error)})"
        raise CheckpointError(path, problem, AGAIN) from error


def _sum(values: Iterable[Tensor]) -> Tensor:
    return functools.reduce(operator.add, values)


def _mixed(*numbers: int) -> int:
    """One seed from several numbers, so that neighbouring steps have unlike ones."""
    result = 0
    for number in numbers:
        result = (result * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return result
