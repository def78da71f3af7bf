"""Network families by name, each over the encoders of its kind and any number of bands.

Networks take raw pixels (float32 BCHW, in the file's units): normalisation is their first step and travels with their
weights. They give logits_BCHW at the size of the input, whatever it is; in training, those of the auxiliary head too.
"""

from jingwei.models.mixed_wheels import declare_missing_operators

declare_missing_operators()

import segmentation_models_pytorch as smp  # noqa: E402
import timm  # noqa: E402

from jingwei.models.families import ALIASES, MODELS, find_backbone, find_family  # noqa: E402
from jingwei.models.segmenter import Segmenter, build_model  # noqa: E402
from jingwei.models.spec import ModelSpec  # noqa: E402

__all__ = [
    "ALIASES",
    "MODELS",
    "ModelSpec",
    "Segmenter",
    "build_model",
    "find_backbone",
    "find_family",
    "smp",
    "timm",
]
