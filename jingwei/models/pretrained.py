"""Weights for a network to start from: ImageNet's, a file of encoder weights, or another checkpoint's."""

from pathlib import Path

import torch

from jingwei.errors import CheckpointError, SettingError
from jingwei.models import Segmenter, smp

IMAGENET_MEAN = (123.675, 116.28, 103.53)  # of 8-bit RGB
IMAGENET_STD = (58.395, 57.12, 57.375)
_PREFIXES = ("module.", "network.encoder.", "encoder.", "backbone.", "model.")


def load_imagenet(model: Segmenter) -> None:
    """Puts ImageNet weights into the encoder. Downloads them unless they are cached; SettingError when offline."""
    spec = model.spec
    try:
        donor = smp.encoders.get_encoder(
            spec.backbone, in_channels=spec.bands, weights="imagenet", output_stride=_stride(spec)
        )
    except Exception as error:  # the hubs raise what their network libraries raise
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise SettingError(
            f"--backbone {spec.backbone}",
            f"its ImageNet weights could not be fetched ({reason})",
            "connect once, give a local file with --weights FILE, or start from nothing with --scratch",
        ) from error
    model.network.encoder.load_state_dict(donor.state_dict(), strict=False)


def _stride(spec) -> int:
    return spec.output_stride if spec.family == "deeplabv3" else 32


def load_weights(model: Segmenter, path: Path) -> int:
    """Puts the tensors of a file into the network or, where they fit there, into its encoder. Returns how many fit.

    Takes checkpoints of ours and plain state dicts (torchvision, timm), whatever prefix wrappers gave their names. A
    first layer for another number of bands is adapted: its filters are repeated over the bands and scaled.
    Raises CheckpointError where fewer than half of the encoder's tensors are found.
    """
    tensors = read_tensors(path)
    whole, encoder = model.state_dict(), model.network.encoder.state_dict()
    fitting = _fitting(tensors, whole)
    target = model
    if len(fitting) < len(whole) // 2:
        bare = {_strip(name): tensor for name, tensor in tensors.items()}
        fitting, target = _fitting(bare, encoder), model.network.encoder
        if len(fitting) < len(encoder) // 2:
            problem = f"{len(fitting)} of the {len(encoder)} tensors of {model.spec.backbone} are in it"
            raise CheckpointError(path, problem, "give weights of this backbone, or name theirs with --backbone")
    fitting = {name: tensor for name, tensor in fitting.items() if name not in ("mean", "std")}
    target.load_state_dict(fitting, strict=False)
    return len(fitting)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint or state-dict file; nothing else in it is run. Raises CheckpointError."""
    content = read_pickle(path)
    for key in ("weights", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = {k: v for k, v in content.items() if isinstance(v, torch.Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise CheckpointError(path, "holds no tensors by name", "give a state dict saved with torch.save")
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def read_pickle(path: Path):
    """What torch.save wrote, tensors and plain values only: code in the file is refused, never run."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(path, "no such file", "check the path, or train first")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if "weights_only" in str(error) or "Unsupported" in str(error):
            problem = "carries code, not only tensors, and was not opened"
            remedy = "save its state_dict() alone where you trust it"
        else:
            reason = (str(error) or type(error).__name__).splitlines()[0][:100]
            problem, remedy = f"is no checkpoint ({reason})", "copy it again or train again"
        raise CheckpointError(path, problem, remedy) from error


def _strip(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _fitting(tensors: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    result = {}
    for name, tensor in tensors.items():
        if name not in wanted:
            continue
        if tensor.shape == wanted[name].shape:
            result[name] = tensor
        elif _differs_in_bands(tensor, wanted[name]):
            bands, theirs = wanted[name].shape[1], tensor.shape[1]
            result[name] = tensor[:, [b % theirs for b in range(bands)]] * (theirs / bands)
    return result


def _differs_in_bands(tensor: torch.Tensor, wanted: torch.Tensor) -> bool:
    both_filters = tensor.ndim == wanted.ndim == 4 and tensor.shape[1] == 3
    return both_filters and tensor.shape[0] == wanted.shape[0] and tensor.shape[2:] == wanted.shape[2:]
