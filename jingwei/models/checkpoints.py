"""Checkpoints: weights, and all that rebuilds the network and goes on with its training.

A checkpoint is self-contained: family, encoder, bands, type, normalisation, legend and recipe are in it. It is written
whole or not at all, and read without running any code that a stranger may have put into it.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

from jingwei.errors import CheckpointError, SettingError
from jingwei.legend import Legend
from jingwei.models.checkpoint_content import FORMAT, check_content
from jingwei.models.segmenter import Segmenter, build_model
from jingwei.models.spec import ModelSpec
from jingwei.models.torch_files import AGAIN, first_line, read_torch_file
from jingwei.spectrum import agree, in_words
from jingwei.system.atomic import whole_or_nothing

# What draws numbers into a tensor. Of torch's initialisations, those that a mode sees: others call the tensor's own.
DRAWS = {Tensor.normal_, Tensor.uniform_, Tensor.erfinv_, init.normal_, init.uniform_, init.kaiming_uniform_}


@dataclass
class Checkpoint:
    """What a checkpoint file holds, tensors on the CPU."""

    spec: ModelSpec
    dtype: str  # of the scenes it was trained on
    mean: tuple[float, ...]
    std: tuple[float, ...]
    legend: Legend
    recipe: dict
    weights: dict[str, torch.Tensor]
    scores: dict = field(default_factory=dict)
    path: Path | None = None  # where it was read from
    training: dict | None = None  # optimizer, scaler, epoch and best score: what a resumed run goes on from
    source: dict = field(default_factory=dict)  # how radar files become its input (SarSettings); {}: files as they are
    crops: str = ""  # the stamp of the crops that it was trained on; empty: of a version that kept none
    calibration: dict = field(default_factory=dict)  # as of training.calibration; {}: not calibrated

    @property
    def score(self) -> float:
        """The validation mIoU it was kept for; -1 where there was no validation."""
        score = self.scores.get("miou")
        return -1.0 if score is None else score

    @property
    def temperature(self) -> float:
        """What logits are divided by for probabilities that are right as often as they say; 1 if nobody found out."""
        return self.calibration.get("temperature", 1.0)

    def build(self) -> Segmenter:
        """The network with its weights, in evaluation mode, on the CPU."""
        where = self.path or "checkpoint"
        try:
            with _Undrawn():
                model = build_model(self.spec, self.mean, self.std)
        except SettingError as error:
            problem = f"is of a network that can't be built ({error.args[0]}, {error.args[1]})"
            raise CheckpointError(where, problem, "use the version that wrote it, or train again") from error
        try:
            model.load_state_dict(self.weights)
        except RuntimeError as error:
            problem = f"its weights don't fit its network ({first_line(error)})"
            raise CheckpointError(where, problem, AGAIN) from error
        return model.eval()


class _Undrawn(TorchFunctionMode):
    """While it lasts, networks are made without random weights, which take half of the time: the checkpoint's come in
    their place, every one.
    """

    def __torch_function__(self, function, types, arguments=(), named=None):
        named = named or {}
        if function in DRAWS:
            return arguments[0] if arguments else named["tensor"]
        return function(*arguments, **named)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint, whole or not at all."""
    content = {
        "format": FORMAT,
        "spec": asdict(checkpoint.spec),
        "dtype": checkpoint.dtype,
        "mean": list(checkpoint.mean),
        "std": list(checkpoint.std),
        "legend": checkpoint.legend.to_dict(),
        "recipe": checkpoint.recipe,
        "weights": {name: tensor.detach().cpu() for name, tensor in checkpoint.weights.items()},
        "scores": checkpoint.scores,
        "training": checkpoint.training,
        "source": checkpoint.source,
        "crops": checkpoint.crops,
        "calibration": checkpoint.calibration,
    }
    with whole_or_nothing(path) as part, open(part, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # A full disk, behind a complaint of torch's zip writer.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint. Raises CheckpointError where it is missing, broken, carries code, or is not one of ours."""
    content = read_torch_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        remedy = "give a last.pt or best.pt under model/ (system B: a .pth under saved/), or train from it by `weights`"
        raise CheckpointError(path, "is not a checkpoint of this library", remedy)
    legend, weights = check_content(content, path)
    return Checkpoint(
        spec=ModelSpec(**content["spec"]),
        dtype=content["dtype"],
        mean=tuple(content["mean"]),
        std=tuple(content["std"]),
        legend=legend,
        recipe=content["recipe"],
        weights=weights,
        scores=content["scores"],
        path=path,
        training=content["training"],
        source=content.get("source", {}),  # older files have none
        crops=content.get("crops", ""),
        calibration=content.get("calibration", {}),
    )


def fits_type(checkpoint: Checkpoint, dtype: str) -> bool:
    """Whether pixels of a type are such as a checkpoint was trained on.

    A network trained on 8 bits takes the numbers of 16 bits for light that it has never seen. Signed and unsigned 16
    bits are taken for each other: products come as either.
    """
    return dtype == checkpoint.dtype or {dtype, checkpoint.dtype} == {"uint16", "int16"}


def check_type(checkpoint: Checkpoint, path: Path, image: Path | str, dtype: str) -> None:
    """Raises CheckpointError where an image's pixels are of another type than a checkpoint was trained on."""
    if not fits_type(checkpoint, dtype):
        problem = f"was trained on pixels of {checkpoint.dtype}, but {image} has {dtype}"
        raise CheckpointError(path, problem, f"convert the image as the training's were, or train on {dtype}")


def check_fits(checkpoint: Checkpoint, path: Path, legend: Legend, bands: int) -> None:
    """Raises CheckpointError where a checkpoint is of other classes or other bands than the data."""
    if checkpoint.legend.names != legend.names:
        theirs, ours = (", ".join(names) for names in (checkpoint.legend.names, legend.names))
        raise CheckpointError(path, f"was trained on other classes ({theirs})", f"the data has {ours}: train on it")
    if checkpoint.spec.bands != bands:
        problem = f"was trained on {checkpoint.spec.bands} bands, but the data has {bands}"
        raise CheckpointError(path, problem, "take scenes of the same bands, or train again")
    if not agree(checkpoint.legend.bands, legend.bands):
        theirs, ours = map(in_words, (checkpoint.legend.bands, legend.bands))
        problem = f"was trained on the bands {theirs}, but the data has {ours}"
        raise CheckpointError(path, problem, "cut again with a legend that names them in that order, or train again")
