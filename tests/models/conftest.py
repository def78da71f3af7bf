"""What tests of networks share."""

import pytest
import torch

from jingwei.models import fcn8
from jingwei.models.libraries import smp


@pytest.fixture
def small_networks(monkeypatch):
    """One thread, since small pictures are done before threads have met; encoders with a part of their layers."""
    torch.set_num_threads(1)
    monkeypatch.setattr(fcn8, "WIDTH", 32)
    narrow = [8, "M", 16, "M", 24, 24, "M", 32, 32, "M", 32, 32, "M"]
    for vgg in ("vgg11", "vgg11_bn"):
        settings = {"config": narrow, "out_channels": [8, 16, 24, 32, 32, 32]}
        monkeypatch.setitem(smp.encoders.encoders[vgg], "params", smp.encoders.encoders[vgg]["params"] | settings)
    settings = {"block_config": (2, 2, 2, 2), "out_channels": [3, 64, 128, 128, 128, 128]}
    for encoder, fewer in (("densenet121", settings), ("resnet18", {"layers": [1, 1, 1, 1]})):
        described = smp.encoders.encoders[encoder]
        monkeypatch.setitem(described, "params", described["params"] | fewer)
