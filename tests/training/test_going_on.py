"""An experiment under a name that there is, and runs from a checkpoint: what goes on, and what is refused."""

import json
import shutil
from dataclasses import replace

import pytest
from learner_runs import HERE
from loop_runs import SMALL, recut
from outcomes import kept_files, rows_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jingwei.errors import CheckpointError, SettingError
from jingwei.legend import GF3, JINGWEI, Legend
from jingwei.models.checkpoints import load_checkpoint, save_checkpoint
from jingwei.training import experiments, loop
from jingwei.training.recipes import read_recipe
from jingwei.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")


def test_running_a_finished_experiment_again_changes_nothing(project, whole_run):
    folder = project.experiment(SMALL.name, "whole")
    shutil.copytree(whole_run, folder)
    before = kept_files(folder)
    loop.train(project, SMALL, "whole", HERE)
    assert kept_files(folder) == before


def test_other_settings_under_the_same_name_are_refused_and_nothing_is_lost(project, whole_run):
    folder = project.experiment(SMALL.name, "whole")
    shutil.copytree(whole_run, folder)
    before = kept_files(folder)
    for other in (
        replace(SMALL, base_lr=0.5, loss="focal"),
        replace(SMALL, epochs=9),
        replace(SMALL, model="deeplabv3"),
    ):
        changed = [key for key, value in other.to_dict().items() if SMALL.to_dict()[key] != value]
        with pytest.raises(SettingError, match="other settings.*`exp`.*`resume`") as caught:
            loop.train(project, other, "whole", HERE)
        assert all(f"{key} {SMALL.to_dict()[key]} -> {other.to_dict()[key]}" in str(caught.value) for key in changed)
        assert kept_files(folder) == before


def test_other_crops_under_the_same_name_are_refused_and_nothing_is_lost(project, county, whole_run, capfd):
    folder = project.experiment(SMALL.name, "whole")
    shutil.copytree(whole_run, folder)
    before = kept_files(folder)
    recut(project, county)
    loop.train(project, SMALL, "whole", HERE)  # cut as they were, they are the same
    assert kept_files(folder) == before
    recut(project, county, val_fraction=0.4)
    longer, resumed = replace(SMALL, epochs=5), replace(HERE, resume=folder / "last.pt")
    for recipe in (SMALL, longer):
        with pytest.raises(SettingError, match=r"last.pt: was trained on other crops.*`exp`.*`resume`"):
            loop.train(project, recipe, "whole", HERE)
    assert kept_files(folder) == before
    capfd.readouterr()
    loop.train(project, longer, "whole", resumed)
    assert "last.pt was trained on other crops" in capfd.readouterr().out
    # What is best is so on the crops of now: scores on others are no measure of it.
    row = rows_of(folder)[-1]
    assert load_checkpoint(folder / "best.pt").score == row["miou"]
    assert load_checkpoint(folder / "last.pt").training["best_epoch"] == 4
    loop.train(project, longer, "whole", HERE)
    assert "other crops" not in capfd.readouterr().out


def test_a_run_of_a_version_that_kept_no_stamp_goes_on_over_any_crops(project, county, whole_run):
    folder = project.experiment(SMALL.name, "whole")
    shutil.copytree(whole_run, folder)
    save_checkpoint(folder / "last.pt", replace(load_checkpoint(folder / "last.pt"), crops=""))
    recut(project, county, val_fraction=0.4)
    assert loop.train(project, SMALL, "whole", HERE) == folder


def test_the_stamp_of_crops_hangs_on_what_they_hold_and_not_on_where_they_lie(cut, project, county):
    stamp = experiments.read_training_data(project).stamp
    assert stamp == experiments.read_training_data(Workspace(cut)).stamp
    table = project.crops.read_text()
    project.crops.write_bytes(table.replace("\n", "\r\n").encode())
    assert experiments.read_training_data(project).stamp == stamp
    project.crops.write_text(table.replace(",validation,", ",train,", 1))
    assert experiments.read_training_data(project).stamp != stamp
    project.crops.write_text(table)
    legend = json.loads((project.train / "legend.json").read_text())
    for key, same_stamp in (("color", True), ("name", False)):
        legend["classes"][1][key] = "#123456"
        (project.train / "legend.json").write_text(json.dumps(legend))
        assert (experiments.read_training_data(project).stamp == stamp) == same_stamp


def test_resume_goes_on_with_more_epochs(project, whole_run):
    folder = project.experiment(SMALL.name, "whole")
    shutil.copytree(whole_run, folder)
    longer = replace(SMALL, epochs=6)
    loop.train(project, longer, "whole", replace(HERE, resume=folder / "last.pt"))
    assert rows_of(folder)[:4] == rows_of(whole_run)
    assert [row["epoch"] for row in rows_of(folder)] == [1, 2, 3, 4, 5, 6]
    assert load_checkpoint(folder / "last.pt").training["epoch"] == 6
    assert read_recipe(folder / "recipe.json") == longer


def test_an_experiment_that_goes_on_from_anothers_checkpoint_has_a_best_of_its_own(project, whole_run):
    flat = replace(SMALL, epochs=5, base_lr=1e-12, warmup=0.0)  # learns nothing, so no epoch beats the old best
    folder = loop.train(project, flat, "new", replace(HERE, resume=whole_run / "last.pt"))
    assert (folder / "best.pt").exists()


def test_tensorboard_shows_every_epoch_of_a_run_that_went_on(project):
    loop.train(project, replace(SMALL, epochs=2), "two", HERE)
    folder = project.experiment(SMALL.name, "two")
    loop.train(project, replace(SMALL, epochs=4), "two", replace(HERE, resume=folder / "last.pt"))
    events = EventAccumulator(str(folder)).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]
    assert [round(e.value, 4) for e in events.Scalars("miou")] == [round(r["miou"], 4) for r in rows_of(folder)]


@pytest.mark.parametrize("name", ["best.pt", "nowhere.pt"])
def test_resume_from_a_file_without_training_state_is_refused(project, whole_run, name):
    with pytest.raises(CheckpointError, match=name):
        loop.train(project, SMALL, "new", replace(HERE, resume=whole_run / name))
    assert not project.experiment(SMALL.name, "new").exists()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"legend": Legend("own", JINGWEI.classes[:4])}, "was trained on other classes"),
        ({"legend": GF3}, "was trained on other classes"),
        ({"bands": 4}, "was trained on 4 bands, but the data has 3"),
        (
            {"model": "deeplabv3"},
            r'is of another network .deeplabv3 over \S+, 3 bands.*; this is pspnet .*"arch"',
        ),
    ],
    ids=str,
)
def test_resume_from_a_checkpoint_that_does_not_fit_is_refused(project, whole_run, tmp_path, changes, problem):
    checkpoint = load_checkpoint(whole_run / "last.pt")
    bands, legend = changes.get("bands", 3), changes.get("legend", JINGWEI)
    spec = replace(checkpoint.spec, bands=bands, classes=len(legend), family=changes.get("model", SMALL.model))
    other = replace(checkpoint, spec=spec, legend=legend, mean=(1.0,) * bands, std=(1.0,) * bands)
    save_checkpoint(tmp_path / "x.pt", other)
    with pytest.raises(CheckpointError, match=f"x.pt: {problem}"):
        loop.train(project, SMALL, "new", replace(HERE, resume=tmp_path / "x.pt"))
