"""A validated experiment, trained once more on all labels: its settings, its epochs, and nobody's score."""

import csv
import json
from dataclasses import replace

import pytest
from learner_runs import HERE, SMALL

import jingwei
from jingwei.errors import SettingError
from jingwei.models.checkpoints import load_checkpoint, save_checkpoint
from jingwei.training import loop
from jingwei.training.experiments import OTHER_CROPS, read_training_data, score_experiment
from jingwei.training.recipes import SWA
from jingwei.training.refit import refit_recipe, with_all_labels

pytestmark = pytest.mark.usefixtures("one_thread")
VALIDATED = replace(SMALL, epochs=2, steps_per_epoch=2, early_stop=3)


def edit_last(folder, **changes):
    checkpoint = load_checkpoint(folder / "last.pt")
    checkpoint.training |= changes
    save_checkpoint(folder / "last.pt", checkpoint)


@pytest.fixture
def validated(project):
    """(workspace, folder of an experiment whose best epoch was its first)"""
    folder = loop.train(project, VALIDATED, "validated", HERE)
    edit_last(folder, best_epoch=0)
    return project, folder


def test_it_takes_the_settings_and_as_many_epochs_as_the_best_took(validated):
    workspace, folder = validated
    wanted = replace(VALIDATED, epochs=1, val_period=0, monitor="off", early_stop=0)
    assert refit_recipe(workspace, "cross_entropy", "validated") == wanted
    edit_last(folder, best_epoch=1)
    assert refit_recipe(workspace, "cross_entropy", "validated") == replace(wanted, epochs=2)
    with pytest.raises(SettingError, match="no experiment cross_entropy/other"):
        refit_recipe(workspace, "cross_entropy", "other")


def test_an_experiment_that_was_stopped_before_its_end_is_taken_with_a_warning(validated, capsys):
    workspace, folder = validated
    edit_last(folder, epoch=1)
    assert refit_recipe(workspace, "cross_entropy", "validated").epochs == 1
    assert "validated: was stopped after 1 of its 2 epochs" in capsys.readouterr().err
    settings = json.loads((folder / "recipe.json").read_text()) | {"epochs": 9}
    (folder / "recipe.json").write_text(json.dumps(settings))
    edit_last(folder, epoch=4)  # three epochs past its best, as early_stop has it
    refit_recipe(workspace, "cross_entropy", "validated")
    assert capsys.readouterr().err == ""


def test_an_average_of_cycles_takes_all_epochs(project):
    recipe = replace(SWA, **{name: getattr(SMALL, name) for name in ("model", "backbone", "pretrained", "batch_size")})
    recipe = replace(recipe, epochs=2, steps_per_epoch=4, crop_sizes=(64,), cycles=1, aux_weight=0.0, precision="fp32")
    folder = loop.train(project, recipe, "validated", HERE)
    edit_last(folder, best_epoch=0)
    again = refit_recipe(project, "swa", "validated")
    assert again.epochs == 2
    loop.train(project, again, "final", replace(HERE, refit=folder))
    final = project.experiment("swa", "final")
    average, best = load_checkpoint(final / "swa.pt"), load_checkpoint(final / "best.pt")
    assert all((average.weights[name] == best.weights[name]).all() for name in best.weights)  # as without validation


def test_it_trains_on_all_crops_validates_none_and_takes_the_temperature(validated, monkeypatch, capsys):
    workspace, folder = validated
    data, seen = read_training_data(workspace), []
    assert data.validation
    make = loop.training_loader
    monkeypatch.setattr(loop, "training_loader", lambda f, crops, *rest: seen.append(crops) or make(f, crops, *rest))
    options = replace(HERE, refit=folder)
    recipe = refit_recipe(workspace, "cross_entropy", "validated")
    final = loop.train(workspace, recipe, "final", options)
    assert sorted(crop.name for crop in seen[0]) == sorted(c.name for c in (*data.training, *data.validation))
    checkpoint = load_checkpoint(final / "best.pt")
    before = load_checkpoint(folder / "best.pt")
    assert checkpoint.score == -1
    assert checkpoint.calibration == before.calibration != {}
    with open(final / "log.csv", encoding="utf-8", newline="") as file:
        assert [row.get("mIoU", "") for row in csv.DictReader(file)] == [""]
    assert "is calibrated" not in capsys.readouterr().out  # that would be a claim about this network
    assert not data.has_crops_of(checkpoint)
    assert with_all_labels(data).has_crops_of(checkpoint)
    score_experiment(workspace, "cross_entropy", "final", "cpu", 0)
    assert OTHER_CROPS in capsys.readouterr().out
    kept = (final / "best.pt").read_bytes()
    loop.train(workspace, recipe, "final", options)  # the same command once more
    assert "1 epochs are trained already" in capsys.readouterr().out
    assert (final / "best.pt").read_bytes() == kept


def test_flags_that_say_otherwise_are_refused_and_the_command_does_the_rest(validated, call):
    workspace, folder = validated
    words = ["--data_dir", workspace.root, "--train", "--exp", "final", "--refit", "validated", "--device", "cpu"]
    status, _, error = call("train.py", *words, "--epochs", 7, "--crop_size", 96)
    assert status == 2
    assert error.strip() == (
        "error: --refit validated: takes all settings from validated, but these are given too: epochs, crop_size: "
        "leave them out"
    )
    status, _, error = call("train.py", *words, "--quick")
    assert (status, "these are given too: quick: leave them out" in error) == (2, True)
    status, said, _ = call("train.py", *words, "--workers", 0)
    assert status == 0, said
    final = load_checkpoint(folder.with_name("final") / "best.pt")
    assert (final.recipe["epochs"], final.crops[-11:]) == (1, "+validation")


def test_so_does_the_python_api(validated):
    workspace, _ = validated
    with pytest.raises(SettingError, match="`refit` validated: takes all settings from validated, .*: epochs: leave"):
        jingwei.train("cross_entropy", workspace.root, "again", refit="validated", epochs=7)
    with pytest.raises(SettingError, match="given too: quick: leave"):
        jingwei.train("cross_entropy", workspace.root, "again", refit="validated", quick=True)
    final = jingwei.train("cross_entropy", workspace.root, "again", refit="validated", device="cpu", workers=0)
    assert load_checkpoint(final).crops.endswith("+validation")
