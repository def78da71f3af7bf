"""Weights for a network to start from: ImageNet's, a file of encoder weights, or another checkpoint's."""

import re
from pathlib import Path

import torch
from torch import nn

from jingwei.errors import CheckpointError, SettingError
from jingwei.models.families import MODELS
from jingwei.models.fcn8 import Decoder as Fcn8Decoder
from jingwei.models.libraries import smp
from jingwei.models.segmenter import Segmenter
from jingwei.models.torch_files import check_finite, first_line, read_torch_file

IMAGENET_MEAN = (123.675, 116.28, 103.53)  # of 8-bit RGB
IMAGENET_STD = (58.395, 57.12, 57.375)
FROM_NOTHING = 'start from random weights (`scratch`), in a config with "pretrained": false'
_PREFIXES = ("module.", "network.encoder.", "encoder.", "backbone.", "model.")


def load_imagenet(model: Segmenter) -> None:
    """Puts ImageNet weights into the encoder. Downloads them unless they are cached.

    SettingError when offline, and for encoders that ImageNet was never used for.
    """
    spec = model.spec
    if not has_imagenet(spec.family):
        problem = f"{spec.family} has an encoder of its own, and there are no ImageNet weights for it"
        raise SettingError(f"`model` {spec.family}", problem, f"{FROM_NOTHING}, or give `weights` FILE")
    try:
        # At the usual stride: dilation changes no weight, and not every encoder can be asked for it.
        donor = smp.encoders.get_encoder(spec.backbone, in_channels=spec.bands, weights="imagenet")
    except Exception as error:  # the hubs raise what their network libraries raise
        reason = first_line(error)
        raise SettingError(
            f"`backbone` {spec.backbone}",
            f"its ImageNet weights could not be fetched ({reason})",
            f"connect once, give a local file with `weights` FILE, or {FROM_NOTHING}",
        ) from error
    _put(donor.state_dict(), model.network.encoder)


def has_imagenet(family: str) -> bool:
    """Whether there are ImageNet weights for a family's encoders (not for those of unet and enet, written here)."""
    choices = MODELS[family].backbones
    return not choices or choices[0] in smp.encoders.encoders


def load_weights(model: Segmenter, path: Path) -> int:
    """Puts the tensors of a file into the network or, where they fit there, into its encoder. Returns how many fit.

    Takes checkpoints of ours and plain state dicts (torchvision, timm), whatever prefix wrappers gave their names. A
    first layer for another number of bands is adapted: its filters are repeated over the bands and scaled. FCN-8s takes
    the fully connected layers of a VGG too. Raises CheckpointError where fewer than half of the encoder's tensors are
    found.
    """
    tensors = read_tensors(path)
    network, whole = model.network, model.state_dict()
    fitting = _fitting(tensors, whole)
    if len(fitting) >= len(whole) // 2:
        fitting = {name: tensor for name, tensor in fitting.items() if name not in ("mean", "std")}
        _put(fitting, model)
        return len(fitting)
    bare = {_bare(name): tensor for name, tensor in tensors.items()}
    names = {_bare(name): name for name in network.encoder.state_dict()}
    encoder = {bare_name: network.encoder.state_dict()[name] for bare_name, name in names.items()}
    fitting = _fitting(bare, encoder)
    if len(fitting) < len(encoder) // 2:
        problem = f"{len(fitting)} of the {len(encoder)} tensors of {model.spec.backbone} are in it"
        raise CheckpointError(path, problem, "give weights of this backbone, or name theirs with `backbone`")
    _put({names[bare_name]: tensor for bare_name, tensor in fitting.items()}, network.encoder)
    taken = network.decoder.take_classifier(bare) if isinstance(network.decoder, Fcn8Decoder) else 0
    return len(fitting) + taken


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint or state-dict file; nothing else in it is run. Raises CheckpointError."""
    content = read_torch_file(path)
    for key in ("weights", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = {k: v for k, v in content.items() if isinstance(v, torch.Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise CheckpointError(path, "holds no tensors by name", "give a state dict saved with torch.save")
    check_finite(tensors, path)
    return {str(name).removeprefix("module."): tensor for name, tensor in tensors.items()}


def _bare(name: str) -> str:
    """A tensor's name without what wrappers put before it, as timm and torchvision spell it today."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    name = re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2", name)  # torchvision's DenseNet files are older
    return re.sub(r"^(stages|layers|blocks|features|body)_", r"\1.", name)  # timm's, cut into stages


def _put(tensors: dict[str, torch.Tensor], module: nn.Module) -> None:
    """Loads tensors under a module's own names. Some encoders have a load_state_dict that expects other names."""
    nn.Module.load_state_dict(module, tensors, strict=False)


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
