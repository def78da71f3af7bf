"""Losses by name, and weighted sums of them: `focal+0.5*lovasz`. `build_loss` gives those of a recipe.

Every loss takes logits_BCHW (any float, computed in float32) and labels_BHW (integer ids, NODATA where there is none)
and returns a float32 scalar. NODATA pixels change neither its value nor its gradient; a batch of nothing but NODATA
gives 0.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from math import inf, sqrt

import torch
from torch import Tensor
from torch.nn import functional

from jingwei.errors import SettingError, known
from jingwei.legend import NODATA
from jingwei.training.recipes import LOSS_ALIASES, Recipe

Loss = Callable[[Tensor, Tensor], Tensor]

LOVASZ_BINS = 1 << 16
EDGE_REACH = 5  # px that a class edge reaches to either side: pixels whose window of 11 px holds another class


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    edge_smoothing: float = 0.0,
) -> Tensor:
    """Mean of -log p(label) over the labelled pixels, each weighing as much as its class (class_weights_C).

    `label_smoothing` is the share of a pixel's target that is spread over all classes (Szegedy et al. 2016);
    `edge_smoothing` is that share right at an edge between classes, falling linearly to 0 beyond EDGE_REACH (after
    Islam and Glocker 2021, who take a Gaussian). The larger of the two holds.
    """
    if class_weights is not None:
        class_weights = class_weights.to(logits.device)
    labelled = labels != NODATA
    weight = _weights_of(labels, class_weights).sum()
    if edge_smoothing <= label_smoothing:  # the same share everywhere, which torch does in one pass
        total = functional.cross_entropy(
            logits.float(),
            labels.long(),
            class_weights,
            ignore_index=NODATA,
            reduction="sum",
            label_smoothing=label_smoothing,
        )
        return _mean(total, weight)
    log_p = functional.log_softmax(logits.float(), dim=1)
    nll = functional.nll_loss(log_p, labels.long(), class_weights, ignore_index=NODATA, reduction="none")
    spread = (
        -(log_p if class_weights is None else log_p * class_weights[:, None, None]).mean(1).masked_fill(~labelled, 0)
    )
    share = edge_smoothing * (EDGE_REACH + 1 - edge_distance(labels)) / EDGE_REACH
    share = share.clamp(min=label_smoothing)
    return _mean(((1 - share) * nll + share * spread).sum(), weight)


def edge_distance(labels: Tensor) -> Tensor:
    """labels_BHW -> float32 BHW: Chebyshev distance to the nearest pixel of another class, px, 1 to EDGE_REACH.

    EDGE_REACH + 1 stands for all that is further away, and at NODATA, which is not a class and has no edge.
    """
    labelled = labels != NODATA
    ids = labels.float()
    own = torch.stack([ids, -ids], dim=1)
    # The highest class nearby and, negated, the lowest. NODATA must be neither; negated, it is below all ids already.
    nearby = torch.stack([ids.masked_fill(~labelled, -1), -ids], dim=1)
    distance = torch.full_like(ids, EDGE_REACH + 1)
    for _ in range(EDGE_REACH):
        nearby = functional.max_pool2d(nearby, 3, stride=1, padding=1)
        distance -= (labelled & (nearby > own).any(1)).float()
    return distance


def focal(logits: Tensor, labels: Tensor, gamma: float = 2.0, alpha: Tensor | None = None) -> Tensor:
    """Focal loss, mean of -alpha_label (1 - p)^gamma log p over the labelled pixels (Lin et al. 2017, eq. 5).

    `alpha` has a weight per class, None is 1 for each. Unlike cross_entropy's, they don't change what is divided by.
    """
    nll = functional.cross_entropy(logits.float(), labels.long(), ignore_index=NODATA, reduction="none")
    # 1 - p, kept off 0: there the slope of its power is infinite for a gamma below 1, and times nll = 0 not a number.
    wrong = (-torch.expm1(-nll)).clamp(min=torch.finfo(torch.float32).tiny)
    weights = _weights_of(labels, None if alpha is None else alpha.to(logits.device))
    # Where there is no label, nll is 0, and so is this term with its gradient.
    return _mean((weights * wrong**gamma * nll).sum(), (labels != NODATA).sum())


def lovasz(logits: Tensor, labels: Tensor, per_image: bool = False) -> Tensor:
    """Lovász-Softmax over the batch, mean over the classes that its labels have (Berman et al. 2018, eq. 11).

    Takes probabilities, as the paper does: feeding it raw logits, whose errors are unbounded, is a known mistake.
    `per_image` is the mean over the images that have labels, each by itself. Errors that differ by less than 1 /
    LOVASZ_BINS count as tied, so that the pixels are counted and not sorted: the value is off by less than that.
    """
    if per_image:
        images = zip(logits.split(1), labels.split(1), strict=True)
        losses = [lovasz(*image) for image in images if (image[1] != NODATA).any()]
        if losses:
            return torch.stack(losses).mean()
    # Class by class in memory: every step below takes one class at a time.
    return _LovaszOfProbabilities.apply(functional.softmax(logits.float().contiguous(), dim=1), labels)


class _LovaszOfProbabilities(torch.autograd.Function):
    """The Lovász loss of probabilities_BCHW. Its slope comes with its value: it is how much each error weighs."""

    @staticmethod
    def forward(ctx, probabilities: Tensor, labels: Tensor) -> Tensor:
        present = [land_class for land_class in torch.unique(labels).tolist() if land_class != NODATA]
        slopes, value = torch.zeros_like(probabilities), probabilities.new_zeros(())
        for land_class in present:
            right = labels == land_class
            errors = (right.float() - probabilities[:, land_class]).abs_()
            weights = _jaccard_steps(errors, right, labels)
            value += (errors * weights).sum()
            slopes[:, land_class] = torch.where(right, -weights, weights)
        share = 1 / max(1, len(present))
        ctx.save_for_backward(slopes.mul_(share))
        return value * share

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (slopes,) = ctx.saved_tensors
        return slopes * gradient, None


def _jaccard_steps(errors: Tensor, right: Tensor, labels: Tensor) -> Tensor:
    """How much each error of one class weighs, float32 BHW: what its pixel adds to the Jaccard loss, the worst first.

    `right` says which pixels are of the class. Among the pixels of a bin those come first: where all their errors are
    the same, any order gives the same loss. 0 at NODATA.
    """
    # From the worst error's bin, 0, to that of none: first the bins of missed pixels, then those of wrong ones; at last
    # one for NODATA. An error that is not a number falls into one of them too: the loss is to be none, not a crash.
    bins = LOVASZ_BINS + 1
    places = (LOVASZ_BINS - errors * LOVASZ_BINS).int().clamp_(0, LOVASZ_BINS)
    places += (~right).int() * bins
    places = places.masked_fill_(labels == NODATA, 2 * bins).flatten()
    counts = torch.bincount(places, minlength=2 * bins + 1)
    missed, wrong = counts[:bins].double(), counts[bins : 2 * bins].double()
    size = missed.sum()
    # Before a bin; a missed pixel takes 1 from the intersection, a wrong one adds 1 to the union. As differences of
    # the Jaccard losses, these small numbers would lose their digits.
    union = size + wrong.cumsum(0) - wrong
    intersection = size - missed.cumsum(0)  # after the bin's missed pixels
    steps = torch.cat([1 / union, intersection / (union * (union + wrong)), union.new_zeros(1)])
    return steps.float().index_select(0, places).view_as(errors)


def dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Soft Dice loss over the batch, mean over the classes that its labels have: 1 - 2 sum(pt) / (sum(p) + sum(t)).

    With plain sums, as in Sudre et al. 2017 (DL2, there for two classes); Milletari et al. 2016 square p and t in the
    denominator.
    """
    probabilities = functional.softmax(logits.float(), dim=1).masked_fill((labels == NODATA)[:, None], 0)
    # NODATA is none of the ids, so that it has no truth.
    truth = labels[:, None] == torch.arange(logits.shape[1], device=labels.device)[:, None, None]
    pixels = (0, 2, 3)
    size = truth.sum(pixels)
    score = 2 * (probabilities * truth).sum(pixels) / (probabilities.sum(pixels) + size).clamp(min=1)
    present = size > 0
    return _mean(((1 - score) * present).sum(), present.sum())


def _weights_of(labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """float32 BHW: the weight of each pixel's class, 1 without class_weights_C, 0 at NODATA."""
    labelled = labels != NODATA
    if class_weights is None:
        return labelled.float()
    return class_weights[labels.long().masked_fill(~labelled, 0)] * labelled


def _mean(total: Tensor, weight: Tensor) -> Tensor:
    """total / weight; where nothing has weight 0, with a gradient of 0."""
    return total / torch.where(weight > 0, weight, inf)


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "focal": focal, "lovasz": lovasz, "dice": dice}


def parse_loss(text: str) -> dict[str, tuple[float, Loss]]:
    """`focal+0.5*lovasz` -> {"focal": (1.0, focal), "lovasz": (0.5, lovasz)}. SettingError lists the known losses.

    The contest trainer's names are taken too; `0.5*CE_DiceLoss` is `0.5*cross_entropy+0.5*dice`.
    """
    terms = {}
    for part in text.replace(" ", "").split("+"):
        match = re.fullmatch(r"(?:(\d+\.?\d*|\.\d+)\*)?(\w+)", part)
        names = LOSS_ALIASES.get(match[2], match[2]).split("+") if match else [None]
        for name in names:
            if name not in LOSSES or name in terms:
                problem = f"{name} is in it twice" if name in terms else f"{part!r} is not a loss"
                remedy = f"{known(LOSSES, str(name))}; sums as in focal+0.5*lovasz; or {', '.join(LOSS_ALIASES)}"
                raise SettingError(f"`loss` {text}", problem, remedy)
            terms[name] = (float(match[1] or 1), LOSSES[name])
    if not any(factor for factor, _ in terms.values()):
        raise SettingError(f"`loss` {text}", "has the weight 0: nothing would be learned", "give a weight above 0")
    return terms


def build_loss(recipe: Recipe, class_pixels: Sequence[int]) -> dict[str, tuple[float, Loss]]:
    """The terms of a recipe's loss, name -> (factor, loss), with the recipe's settings bound to them.

    `class_pixels` counts the training pixels of each class. SettingError for a loss or class weights that can't be.
    """
    weights = _class_weights(recipe.class_weights, class_pixels)
    settings = {
        "cross_entropy": {
            "class_weights": weights,
            "label_smoothing": recipe.label_smoothing,
            "edge_smoothing": recipe.edge_smoothing,
        },
        "focal": {"gamma": recipe.focal_gamma, "alpha": weights},
        "lovasz": {"per_image": recipe.lovasz_per_image},
        "dice": {},
    }
    terms = parse_loss(recipe.loss)
    return {name: (factor, partial(loss, **settings[name])) for name, (factor, loss) in terms.items()}


def _class_weights(text: str, class_pixels: Sequence[int]) -> Tensor | None:
    """`equal`, `balanced` or a number per class -> float32 weights_C; None where all are equal."""
    if text == "equal":
        return None
    if text == "balanced":
        # With the root of its pixels, a rare class counts for more without ruling the loss. The mean weight of the
        # pixels is 1: the loss keeps its size, and the learning rate its meaning.
        roots = [sqrt(pixels) for pixels in class_pixels]
        return torch.tensor([sum(class_pixels) / (root * sum(roots)) if root else 1.0 for root in roots])
    try:
        weights = [float(number) for number in text.split(",")]
    except ValueError:
        weights = []
    if not weights:
        problem = "is not a list of numbers"
    elif len(weights) != len(class_pixels):
        problem = f"{len(weights)} weights for {len(class_pixels)} classes"
    elif not all(0 <= weight < inf for weight in weights) or not any(weights):
        problem = "a weight is below 0 or not a number, or all are 0"
    else:
        return torch.tensor(weights)
    remedy = f"take equal, balanced, or {len(class_pixels)} numbers from 0 up, with commas between"
    raise SettingError(f"`class_weights` {text}", problem, remedy)
