"""What tests of prediction share: checkpoints of networks that one can do by hand, and a folder of samples."""

from dataclasses import asdict
from pathlib import Path

import pytest
from nearest import ECHOES, RADAR, Nearest, brightness, checkpoint_of, fields, write_optical
from small_engines import Bright, bare_checkpoint
from toy_scenes import Toy, make_checkpoint

from jingwei.legend import GF2, GF3
from jingwei.models.checkpoints import Checkpoint


@pytest.fixture
def bright(monkeypatch) -> Checkpoint:
    """A checkpoint of Bright."""
    monkeypatch.setattr(Checkpoint, "build", lambda self: Bright().eval())
    return bare_checkpoint()


@pytest.fixture
def optical(tmp_path, monkeypatch) -> tuple[Path, Nearest]:
    """A checkpoint for RGB samples, and the network that it gives: Nearest over `brightness`."""
    return checkpoint_of(tmp_path / "optical.pth", monkeypatch, brightness(), GF2, {})


@pytest.fixture
def radar(tmp_path, monkeypatch) -> tuple[Path, Nearest]:
    """A checkpoint for radar samples, and the network that it gives: Nearest over ECHOES."""
    return checkpoint_of(tmp_path / "radar.pth", monkeypatch, ECHOES, GF3, asdict(RADAR))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Five optical samples of three sizes."""
    for seed, shape in enumerate([(300, 140), (128, 128), (30, 20), (128, 128), (300, 140)]):
        write_optical(tmp_path / "in" / f"{seed}.tif", fields(*shape, len(GF2), seed))
    return tmp_path / "in"


@pytest.fixture
def toy(monkeypatch) -> Toy:
    model = Toy()
    monkeypatch.setattr(Checkpoint, "build", lambda self: model.eval())
    return model


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> tuple[Checkpoint, Path]:
    path = tmp_path_factory.mktemp("weights") / "best.pt"
    return make_checkpoint(path), path
