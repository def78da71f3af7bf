"""Puts weights into a network to start from: ImageNet's, named ones, a file's, or another checkpoint's."""

import re
from collections.abc import Sequence

from torch import Tensor, nn

from jingwei.errors import CheckpointError, SettingError
from jingwei.models.families import MODELS
from jingwei.models.fcn8 import Decoder as Fcn8Decoder
from jingwei.models.first_layer import first_layers, onto_bands, usual_names
from jingwei.models.libraries import smp, timm
from jingwei.models.segmenter import Segmenter
from jingwei.models.weights import FROM_NOTHING, Donor, fetch_usual
from jingwei.spectrum import agree, in_words

_PREFIXES = ("module.", "network.encoder.", "encoder.", "backbone.", "model.")


def load_imagenet(model: Segmenter, bands: Sequence[str] = ()) -> list[str]:
    """Puts the encoder's usual ImageNet weights into it, downloaded unless cached. Returns what to tell people.

    `bands` are the names of the data's bands. SettingError when offline, and for encoders that ImageNet was never used
    for.
    """
    spec = model.spec
    if not has_imagenet(spec.family):
        problem = f"{spec.family} has an encoder of its own, and there are no ImageNet weights for it"
        raise SettingError(f"`model` {spec.family}", problem, f"{FROM_NOTHING}, or give `weights` FILE")
    _, notes = put(model, fetch_usual(spec.backbone), bands)
    return notes


def has_imagenet(family: str) -> bool:
    """Whether there are ImageNet weights for a family's encoders (not for those of unet and enet, written here)."""
    choices = MODELS[family].backbones
    return not choices or choices[0] in smp.encoders.encoders or timm.is_model(choices[0])


def put(model: Segmenter, donor: Donor, bands: Sequence[str] = ()) -> tuple[int, list[str]]:
    """Puts weights into a network or, where they fit there, into its encoder: (how many tensors fit, lines for people).

    Takes tensors under our own names, torchvision's and timm's, whatever prefix wrappers gave them. A first layer for
    other bands, or in another order, is put onto the data's `bands` by their names. FCN-8s takes the fully connected
    layers of a VGG too. Raises CheckpointError where fewer than half of the encoder's tensors are found, or no first
    layer that can be put onto the data's bands: nothing is dropped without a word.
    """
    network, whole = model.network, model.state_dict()
    layers = first_layers(network.encoder, model.spec.bands)
    positions = [name for name in network.encoder.state_dict() if name.endswith("pos_embed")]
    here = [f"network.encoder.{name}" for name in layers]
    adapted, note = _adapted(model, donor, donor.tensors, here, bands)
    fitting = _fitting(adapted, whole)
    if len(fitting) >= len(whole) // 2:
        _check_first(model, donor, fitting, here, bands)
        _put({name: tensor for name, tensor in fitting.items() if name not in ("mean", "std")}, model)
        return len(fitting), _told(donor, note)
    bare = {_bare(name): tensor for name, tensor in donor.tensors.items()}
    names = {_bare(name): name for name in network.encoder.state_dict()}
    encoder = {bare_name: network.encoder.state_dict()[name] for bare_name, name in names.items()}
    adapted, note = _adapted(model, donor, bare, list(map(_bare, layers)), bands)
    fitting = _fitting(adapted, encoder)
    if len(fitting) < len(encoder) // 2:
        problem = f"{len(fitting)} of the {len(encoder)} tensors of {model.spec.backbone} are in it"
        raise CheckpointError(donor.where, problem, "give weights of this backbone, or name theirs with `backbone`")
    _check_first(model, donor, fitting, list(map(_bare, layers)), bands)
    if lost := [name for name in map(_bare, positions) if name not in fitting]:
        problem = f"has position embeddings of another size than {model.spec.backbone} ({lost[0]})"
        raise CheckpointError(donor.where, problem, "give weights of this very encoder")
    _put({names[bare_name]: tensor for bare_name, tensor in fitting.items()}, network.encoder)
    taken = network.decoder.take_classifier(bare) if isinstance(network.decoder, Fcn8Decoder) else 0
    return len(fitting) + taken, _told(donor, note)


def _adapted(
    model: Segmenter, donor: Donor, tensors: dict[str, Tensor], layers: list[str], bands: Sequence[str]
) -> tuple[dict[str, Tensor], str | None]:
    """The tensors, those of the first layers put onto the data's bands; and what to tell people of that."""
    count = model.spec.bands
    wanted, note, adapted = usual_names(bands, count), None, dict(tensors)
    for name in layers:
        if name not in tensors or tensors[name].ndim != 4:
            continue
        theirs = tensors[name].shape[1]
        if donor.bands and len(donor.bands) != theirs:
            problem = (
                f"its first layer is for {theirs} bands, not the {len(donor.bands)} named ({in_words(donor.bands)})"
            )
            raise CheckpointError(donor.where, problem, "name all its bands in their order with `weights_bands`")
        made_for = usual_names(donor.bands, theirs)
        if theirs == count and agree(made_for, wanted):
            continue
        if not any(made_for):
            problem = f"its first layer is for {theirs} bands that nobody has named, and the data has {count}"
            remedy = "name them with `weights_bands`, as sentinel2 or blue,green,red,nir"
            raise CheckpointError(donor.where, problem, remedy)
        adapted[name] = onto_bands(tensors[name], made_for, wanted)
        note = _of_bands(made_for, wanted)
    return adapted, note


def _of_bands(made_for: Sequence[str], wanted: Sequence[str]) -> str | None:
    """What to tell people of a first layer that was put onto other bands; None where all have counterparts."""
    without = [name for name in wanted if name not in made_for or not name]
    if not without or len(wanted) == 1:
        return None
    if not any(wanted):
        remedy = 'name them in the legend, as "bands": ["blue", "green", "red", "nir"]'
        return f"the data's {len(wanted)} bands have no names: each starts from the mean of the filters ({remedy})"
    return f"bands without filters of their own, which start from the mean of the others: {in_words(without)}"


def _check_first(
    model: Segmenter, donor: Donor, fitting: dict[str, Tensor], layers: list[str], bands: Sequence[str]
) -> None:
    """CheckpointError where the first layer would stay random, or get the bands in another order."""
    problem = None
    if lost := [name for name in layers if name not in fitting]:
        problem = f"has no first layer that fits ({lost[0]})"
    elif not layers:  # bands are looked at by other things than filters
        own, found = usual_names(donor.bands, model.spec.bands), {_bare(name) for name in fitting}
        if len(own) != model.spec.bands or any(_bare(n) not in found for n in model.network.encoder.state_dict()):
            problem = "is for other bands than the data's"
        elif not agree(own, usual_names(bands, model.spec.bands)):
            problem = f"is for the bands {in_words(own)}, and {model.spec.family} can't have them in another order"
    if problem:
        raise CheckpointError(donor.where, problem, "give weights of this very encoder, for the same bands")


def _told(donor: Donor, note: str | None) -> list[str]:
    return [line for line in (donor.about, note) if line]


def _bare(name: str) -> str:
    """A tensor's name without what wrappers put before it, as timm and torchvision spell it today."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    name = re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2", name)  # torchvision's DenseNet files are older
    return re.sub(r"^(stages|layers|blocks|features|body)_", r"\1.", name)  # timm's, cut into stages


def _put(tensors: dict[str, Tensor], module: nn.Module) -> None:
    """Loads tensors under a module's own names. Some encoders have a load_state_dict that expects other names."""
    nn.Module.load_state_dict(module, tensors, strict=False)


def _fitting(tensors: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name in wanted and tensor.shape == wanted[name].shape}
