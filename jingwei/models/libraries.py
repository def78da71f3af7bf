"""The two libraries that networks are built with, imported only after the remedy for mixed wheels."""

from jingwei.models.mixed_wheels import declare_missing_operators

declare_missing_operators()

import segmentation_models_pytorch as smp  # noqa: E402
import timm  # noqa: E402

__all__ = ["smp", "timm"]
