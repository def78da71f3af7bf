"""A run learns: from which data and weights, at which rates, and when it stops because it does not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from learner_runs import HERE
from loop_runs import SMALL
from outcomes import kept_files, rows_of
from weight_files import load_weights

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.errors import TrainingError
from jingwei.inputs.scenes import Scene
from jingwei.legend import JINGWEI
from jingwei.models.checkpoints import load_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.raster.png import write_png
from jingwei.training import loop
from jingwei.training.recipes import ATTENTION_UNET, FOCAL_LOVASZ
from jingwei.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")


def toy_crops(root: Path) -> Workspace:
    """Four scenes, one of them for validation, of three classes that are brightnesses: soon learned by heart."""
    rng = np.random.default_rng(0)
    scenes = []
    for number in (1, 2, 3, 4):
        labels = np.repeat(np.repeat(rng.permutation((0, 1, 2, number % 3)).reshape(2, 2), 32, 0), 32, 1).astype(
            np.uint8
        )
        pixels = (60 + 70 * labels[..., None] + rng.integers(-10, 10, (64, 64, 3))).astype(np.uint8)
        write_png(root / f"image_{number}.png", pixels)
        write_png(root / f"image_{number}_label.png", labels)
        scenes.append(Scene(root / f"image_{number}.png", root / f"image_{number}_label.png"))
    workspace = Workspace(root)
    cut_train(workspace, scenes, CutSettings(64, 64, 0.25, 1.0), JINGWEI, workers=1)
    return workspace


@pytest.mark.parametrize(
    "base",
    [replace(FOCAL_LOVASZ, output_stride=16), ATTENTION_UNET],
    ids=lambda recipe: recipe.name,
)
def test_a_toy_is_learned(tmp_path, base):
    recipe = replace(
        base, backbone=SMALL.backbone, pretrained=False, epochs=3, steps_per_epoch=12, batch_size=4, crop_sizes=(64,),
        min_scale=0.8, max_scale=1.25, optimizer="adamw", base_lr=0.003, precision="fp32",
    )  # fmt: skip
    folder = loop.train(toy_crops(tmp_path), recipe, "toy", HERE)
    rows = rows_of(folder)
    assert rows[-1]["loss"] < rows[0]["loss"] / 2
    assert rows[-1]["miou"] > 0.8


@pytest.mark.parametrize(("dtype", "bands"), [("uint16", 4), ("int16", 1), ("float32", 7)])
def test_any_bands_and_types_train_with_their_own_statistics(tmp_path, dtype, bands):
    rng = np.random.default_rng(1)
    labels = np.repeat(np.repeat(rng.integers(0, 4, (6, 6)), 22, 0), 22, 1).astype(np.uint8)
    pixels = (1000.0 * labels + rng.normal(0, 100, (bands, 132, 132)) + 2000).astype(dtype)
    profile = {"driver": "GTiff", "height": 132, "width": 132, "count": bands, "dtype": dtype}
    with rasterio.open(tmp_path / "scene.tif", "w", **profile) as scene:
        scene.write(pixels)
    write_png(tmp_path / "scene_label.png", labels)
    workspace = Workspace(tmp_path)
    pair = Scene(tmp_path / "scene.tif", tmp_path / "scene_label.png")
    cut_train(workspace, [pair], CutSettings(64, 64), JINGWEI, workers=1)
    folder = loop.train(workspace, replace(SMALL, epochs=1), "x", HERE)
    checkpoint = load_checkpoint(folder / "best.pt")
    assert (checkpoint.spec.bands, checkpoint.dtype) == (bands, dtype)
    np.testing.assert_allclose(checkpoint.mean, pixels.mean(axis=(1, 2)), rtol=0.2)
    assert json.loads((folder / "recipe.json").read_text())["backbone"] == SMALL.backbone


def test_weights_from_a_file_are_the_start_in_place_of_imagenets(project, whole_run):
    frozen = replace(SMALL, pretrained=True, freeze_bn=True, epochs=1, base_lr=1e-12, warmup=0.0)
    folder = loop.train(project, frozen, "tuned", replace(HERE, weights=whole_run / "best.pt"))
    start, end = (load_checkpoint(path).weights for path in (whole_run / "best.pt", folder / "last.pt"))
    encoder = [name for name in start if ".encoder." in name]
    assert all(torch.allclose(start[name], end[name], atol=1e-6) for name in encoder)
    statistics = [name for name in encoder if "running_" in name]
    assert statistics
    assert all(torch.equal(start[name], end[name]) for name in statistics)  # --freeze_bn


def test_the_encoder_and_the_rest_have_their_own_learning_rates(project):
    spec = ModelSpec(SMALL.model, SMALL.backbone, 3, len(JINGWEI), 16, auxiliary=True)
    torch.manual_seed(0)
    start = build_model(spec, (0.0,) * 3, (1.0,) * 3)
    still = replace(SMALL, last_mult=1e-12, epochs=1, steps_per_epoch=1, weight_decay=0.0, momentum=0.0)
    folder = loop.train(project, still, "still", HERE)
    moved = build_model(spec, (0.0,) * 3, (1.0,) * 3)
    load_weights(moved, folder / "last.pt")
    changed = {
        name: not torch.allclose(a, b, atol=1e-9)
        for (name, a), (_, b) in zip(start.named_parameters(), moved.named_parameters(), strict=True)
    }
    assert any(changed[name] for name in changed if ".encoder." in name)
    assert not any(changed[name] for name in changed if ".encoder." not in name)


def test_a_run_without_progress_stops_early_and_stays_stopped(project):
    flat = replace(SMALL, epochs=9, base_lr=1e-12, warmup=0.0, early_stop=2, steps_per_epoch=1)
    folder = loop.train(project, flat, "flat", HERE)
    rows = rows_of(folder)
    best = max(rows, key=lambda row: row["miou"])["epoch"]
    assert len(rows) < 9
    assert len(rows) == best + 2
    before = kept_files(folder)
    loop.train(project, flat, "flat", HERE)
    assert kept_files(folder) == before


def test_a_diverging_loss_ends_the_run_and_last_pt_stays(project):
    folder = loop.train(project, replace(SMALL, epochs=1), "wild", HERE)
    before = kept_files(folder)
    wild = replace(SMALL, base_lr=1e20, warmup=0.0)
    with pytest.raises(TrainingError, match="the (loss|grad_norm) is (nan|inf) in epoch 2, step .*`base_lr`"):
        loop.train(project, wild, "wild", replace(HERE, resume=folder / "last.pt"))
    after = kept_files(folder)
    assert all(after[name] == before[name] for name in ("last.pt", "best.pt", "log.csv"))
    loop.train(project, replace(SMALL, epochs=1), "wild", HERE)  # the old settings still go on from it
