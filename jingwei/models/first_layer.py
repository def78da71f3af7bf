"""The layer that meets the picture: which bands its filters were made for, and how they are put onto others."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from jingwei.spectrum import RGB

SIZE = (64, 96)  # px of the picture that shows which layers meet it


def first_layers(encoder: nn.Module, bands: int) -> tuple[str, ...]:
    """The names of the weights that an encoder's picture (BCHW) meets, each with the bands on its second axis.

    Found by showing it one. () where something else than filters looks at the bands, a pooling say: their order can't
    be changed then.
    """
    picture = torch.zeros(1, bands, *SIZE, device=next(encoder.parameters()).device)
    found: list[str] = []
    others: list[str] = []

    def look(path: str, module: nn.Module, inputs: tuple) -> None:
        if any(
            isinstance(x, Tensor) and x.shape == picture.shape and x.data_ptr() == picture.data_ptr() for x in inputs
        ):
            weight = getattr(module, "weight", None)
            is_filter = isinstance(weight, Tensor) and weight.ndim == 4 and weight.shape[1] == bands
            (found if is_filter else others).append(f"{path}.weight")

    leaves = [(path, module) for path, module in encoder.named_modules() if not any(True for _ in module.children())]
    hooks = [
        module.register_forward_pre_hook(lambda module, inputs, path=path: look(path, module, inputs))
        for path, module in leaves
        if not isinstance(module, nn.Identity)
    ]
    training = encoder.training
    try:
        with torch.no_grad():
            encoder.eval()(picture)
    finally:
        for hook in hooks:
            hook.remove()
        encoder.train(training)
    return () if others else tuple(dict.fromkeys(found))


def onto_bands(filters: Tensor, made_for: Sequence[str], wanted: Sequence[str]) -> Tensor:
    """Filters (out, bands, ...) made for some bands, put onto others: by name, whatever the order.

    A band without a counterpart starts from the mean of all filters. All are scaled by the numbers of bands, so that a
    grey picture looks as strong as before.
    """
    mean = filters.mean(dim=1, keepdim=True)
    places = {name: number for number, name in enumerate(made_for) if name}
    parts = [filters[:, [places[name]]] if name in places else mean for name in wanted]
    return torch.cat(parts, dim=1) * (len(made_for) / len(wanted))


def usual_names(names: Sequence[str], bands: int) -> tuple[str, ...]:
    """Names of bands that nobody has named: of three, red, green and blue; else none."""
    return tuple(names) or (RGB if bands == len(RGB) else ("",) * bands)
