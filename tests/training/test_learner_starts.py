"""Where a run starts, and what it leaves to look at: recipe.json, log, TensorBoard."""

import csv
import json
import re
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from learner_runs import EMA, HERE, KIND, LOOK, SMALL, assert_close, learner_of, stop_in_step
from outcomes import same
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jingwei.crops.table import TRAIN
from jingwei.errors import SettingError
from jingwei.legend import JINGWEI, Legend
from jingwei.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.models.weights import IMAGENET
from jingwei.raster.crop_files import read_label_crop
from jingwei.raster.preview import painted
from jingwei.system.interrupts import Interrupted
from jingwei.training import experiments, loop, start
from jingwei.training.log_file import read_log
from jingwei.training.recipes import read_recipe
from jingwei.training.start import DataKind, Start
from jingwei.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")


ROOT = Path(__file__).resolve().parents[2]

# One step that changes nothing that can be seen: what is in last.pt is what the run began with.
STILL = replace(SMALL, epochs=1, steps_per_epoch=1, base_lr=1e-12, warmup=0.0, weight_decay=0.0)

ODD_MEAN, ODD_STD = (1.0, 2.0, 3.0), (40.0, 50.0, 60.0)


def source(path: Path, legend: Legend = JINGWEI) -> dict[str, torch.Tensor]:
    """Writes a checkpoint of a network like SMALL's with a normalisation of its own. Returns its weights."""
    torch.manual_seed(77)
    spec = ModelSpec(SMALL.model, SMALL.backbone, 3, len(legend), SMALL.output_stride, auxiliary=True)
    model = build_model(spec, ODD_MEAN, ODD_STD)
    spec = model.spec
    for name, buffer in model.named_buffers():
        if "running_" in name:
            buffer += torch.rand_like(buffer)
    content = Checkpoint(spec, "uint8", ODD_MEAN, ODD_STD, legend, SMALL.to_dict(), model.state_dict())
    save_checkpoint(path, content)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def statistics_of(folder: Path) -> tuple:
    """Mean and std as recipe.json has them."""
    content = json.loads((folder / "recipe.json").read_text())["statistics"]
    return tuple(content["mean"]), tuple(content["std"])


def test_an_experiment_to_start_from_gives_its_weights_and_its_normalisation(tmp_path):
    weights = source(tmp_path / "best.pt")
    learner = learner_of(replace(EMA, pretrained=True), start=Start(experiment=tmp_path / "best.pt"))
    assert (learner.kind.mean, learner.kind.std) == (ODD_MEAN, ODD_STD)
    assert same(dict(learner.model.state_dict()), weights)
    assert same(dict(learner.average.module.state_dict()), weights)


@pytest.mark.parametrize("change", [{"dtype": "uint16"}, {"source": {"values": "amplitude"}}])
def test_an_experiment_of_other_pixels_does_not_give_its_normalisation(tmp_path, change):
    source(tmp_path / "best.pt")
    kind = replace(KIND, **change)
    given = Start(experiment=tmp_path / "best.pt").normalised(kind, False, SMALL.model, SMALL.backbone)
    assert (given.mean, given.std) == (KIND.mean, KIND.std)


def test_an_experiment_of_other_classes_gives_all_but_the_heads(tmp_path):
    weights = source(tmp_path / "best.pt", Legend("own", JINGWEI.classes[:3]))
    fresh = learner_of().model.state_dict()
    learner = learner_of(start=Start(experiment=tmp_path / "best.pt"))
    assert (learner.kind.mean, learner.kind.std) == (ODD_MEAN, ODD_STD)
    state = learner.model.state_dict()
    heads = [name for name in state if state[name].shape != weights[name].shape]
    assert sorted(heads) == sorted(
        f"{layer}.{kind}" for layer in ("network.segmentation_head.0", "auxiliary.4") for kind in ("weight", "bias")
    )
    for name, tensor in state.items():
        assert torch.equal(tensor, fresh[name] if name in heads else weights[name]), name


def test_a_run_that_started_from_an_experiment_keeps_its_normalisation_when_it_goes_on(project, tmp_path, monkeypatch):
    weights = source(tmp_path / "best.pt")
    recipe = replace(STILL, epochs=2)
    with monkeypatch.context() as patch:
        stop_in_step(patch, 1)
        with pytest.raises(Interrupted):
            loop.train(project, recipe, "tuned", replace(HERE, init_from=tmp_path / "best.pt"))
    folder = project.experiment(recipe.name, "tuned")
    for options in (HERE, replace(HERE, resume=folder / "last.pt")):  # --init_from is needed for the start alone
        loop.train(project, recipe, "tuned", options)
        last = load_checkpoint(folder / "last.pt")
        assert_close(last.weights, weights, [name for name in weights if name.endswith("weight")])
        assert (tuple(last.weights["mean"].flatten().tolist()), last.mean) == (ODD_MEAN, ODD_MEAN)
        assert (tuple(last.weights["std"].flatten().tolist()), last.std) == (ODD_STD, ODD_STD)
        assert statistics_of(folder) == (ODD_MEAN, ODD_STD)


def test_a_run_does_not_go_on_as_if_it_had_begun_with_other_weights(project, tmp_path):
    first, second = tmp_path / "first.pt", tmp_path / "second.pt"
    source(first)
    source(second)
    loop.train(project, STILL, "tuned", replace(HERE, init_from=first))
    loop.train(project, STILL, "plain", HERE)
    for exp, begun_from in (("tuned", str(first)), ("plain", "other weights")):
        problem = f"{exp}: holds an experiment that began with {begun_from}, not with {second}: name another `exp`"
        with pytest.raises(SettingError, match=re.escape(problem)):
            loop.train(project, STILL, exp, replace(HERE, weights=second))
    last = project.experiment(STILL.name, "tuned") / "last.pt"
    more = replace(STILL, epochs=2)
    loop.train(project, more, "tuned", replace(HERE, weights=second, resume=last))  # is asked for
    loop.train(project, more, "tuned", replace(HERE, init_from=first))  # the same as at first
    assert load_checkpoint(last).training["begun_from"] == str(first)


@pytest.fixture
def call(monkeypatch, capfd):
    """Runs a root script in this process: (script, arguments...) -> (status, stdout, stderr)."""

    def run(script: str, *arguments) -> tuple[int, str, str]:
        capfd.readouterr()
        status = 0
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [script, *map(str, arguments)])
            try:
                runpy.run_path(str(ROOT / script), run_name="__main__")
            except SystemExit as stopped:
                status = stopped.code or 0
        return status, *capfd.readouterr()

    return run


def test_init_from_takes_an_experiment_by_its_name_and_refuses_what_cannot_be(project, call):
    source(project.experiment("cross_entropy", "first") / "best.pt")
    source(project.experiment("swa", "second") / "best.pt")
    command = (
        f"--train --scratch --data_dir {project.root} --exp tuned --model {SMALL.model} --backbone {SMALL.backbone} "
        "--crop_size 64 --batch_size 2 --epochs 1 --steps_per_epoch 1 --workers 0 --device cpu --precision fp32"
    ).split()
    for arguments, parts in {
        ("--init_from", "swa/first"): ["swa/first", "known are cross_entropy/first, swa/second"],
        ("--init_from", "first"): ["--init_from first", "RECIPE/EXP"],
        ("--init_from", "swa/second", "--weights", "some.pt"): ["--init_from", "--weights", "one of them"],
    }.items():
        status, _, err = call("train.py", *command, *arguments)
        assert status == 2
        assert re.fullmatch(r"error: [^\n]+\n", err), err
        assert all(part in err for part in parts), err
    folder = project.experiment("cross_entropy", "tuned")
    assert not folder.exists()
    status, _, err = call("train.py", *command, "--init_from", "swa/second")
    assert status == 0, err
    assert statistics_of(folder) == (ODD_MEAN, ODD_STD)


OWN = {bands: ((90.0,) * bands, (30.0,) * bands) for bands in (1, 3, 4)}


@pytest.mark.parametrize(
    ("pretrained", "dtype", "bands", "expected"),
    [
        (True, "uint8", 3, tuple(tuple(255 * value for value in each) for each in IMAGENET)),
        (False, "uint8", 3, OWN[3]),
        (True, "uint16", 3, OWN[3]),
        (True, "float32", 3, OWN[3]),
        (True, "uint8", 4, OWN[4]),
        (True, "uint8", 1, OWN[1]),
    ],
)
def test_imagenets_statistics_are_for_its_weights_over_8_bit_rgb(monkeypatch, pretrained, dtype, bands, expected):
    loaded = []
    monkeypatch.setattr(start, "load_imagenet", lambda model, bands: loaded.append(model) or [])
    kind = DataKind(dtype, *OWN[bands], JINGWEI, KIND.class_pixels)
    learner = learner_of(replace(SMALL, backbone="mobilenetv3_small_050", pretrained=pretrained), kind)
    assert (learner.kind.mean, learner.kind.std) == expected
    np.testing.assert_allclose(learner.model.mean.flatten(), expected[0], rtol=1e-6)
    np.testing.assert_allclose(learner.model.std.flatten(), expected[1], rtol=1e-6)
    assert loaded == [learner.model] * pretrained


def test_recipe_json_has_the_recipe_and_the_statistics_of_the_training_crops(cut, looked_at):
    with open(Workspace(cut).crops, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == TRAIN]
    weights = np.array([float(row["valid"]) for row in rows])
    means, stds = (
        np.array([[float(row[f"{kind}_{band}"]) for band in (1, 2, 3)] for row in rows]) for kind in ("mean", "std")
    )
    mean = np.average(means, axis=0, weights=weights)
    std = np.sqrt(np.average(stds**2 + means**2, axis=0, weights=weights) - mean**2)
    np.testing.assert_allclose(statistics_of(looked_at), (mean, std), rtol=1e-9)
    last = load_checkpoint(looked_at / "last.pt")
    assert (last.mean, last.std) == statistics_of(looked_at)
    assert read_recipe(looked_at / "recipe.json") == LOOK


def test_log_and_tensorboard_have_every_term_score_and_rate(looked_at):
    rows = read_log(looked_at / "log.csv")
    events = EventAccumulator(str(looked_at)).Reload()
    names = {"loss", "focal", "lovasz", "auxiliary", "lr", "momentum", "grad_norm", "windows_per_s", "seconds"}
    names |= {"val_loss", "miou"} | {f"iou {name}" for name in JINGWEI.names}
    assert names < rows[0].keys()
    for name in names:
        values = {row["epoch"]: row[name] for row in rows if row[name] is not None}
        tag = name.replace("iou ", "iou/")
        found = {e.step: e.value for e in events.Scalars(tag)} if values else {}
        assert found == pytest.approx(values, rel=1e-6), tag
    for row in rows:
        assert row["loss"] == pytest.approx(row["focal"] + row["lovasz"] + row["auxiliary"], rel=1e-4)
        assert row["momentum"] == 0.7
        assert row["grad_norm"] > 0
        assert row["windows_per_s"] > 0
    # poly over 6 steps without a warm-up: that of each epoch's last step
    assert [row["lr"] for row in rows] == pytest.approx([0.002 * (1 - step / 6) ** 0.9 for step in (2, 5)], rel=1e-4)


def test_tensorboard_shows_scenes_beside_their_labels_and_predictions(cut, looked_at):
    data = experiments.read_training_data(Workspace(cut))
    labels = [read_label_crop(data.folder / "label" / crop.name) for crop in data.validation]
    events = EventAccumulator(str(looked_at), {"images": 0}).Reload()
    count = min(4, len(labels))
    assert count > 1
    tags = events.Tags()["images"]
    assert sorted(tags) == [f"validation/{number + 1}" for number in range(count)]
    colors = {land_class.color for land_class in JINGWEI.classes}
    shown = []
    for tag in sorted(tags):
        images = events.Images(tag)
        assert [image.step for image in images] == [1, 2]
        for image in images:
            assert (image.width, image.height) == (3 * 64, 64)
            picture = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
            _, truth, prediction = np.split(picture, 3, axis=1)
            assert {tuple(color) for color in prediction.reshape(-1, 3).tolist()} <= colors
        shown.append([i for i, label in enumerate(labels) if np.array_equal(painted(label, JINGWEI), truth)])
    assert all(shown)
    assert len({tuple(each) for each in shown}) == count  # not one crop over and over
