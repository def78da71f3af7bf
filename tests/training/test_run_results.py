"""What a run leaves: its best epoch, its files, and scores that are those of the log."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from learner_runs import HERE
from loop_runs import SMALL, recut
from outcomes import rows_of, same

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.crops.table import read_crops
from jingwei.errors import InputError, SettingError
from jingwei.evaluation.metrics import ConfusionMatrix, scores
from jingwei.legend import JINGWEI, NODATA
from jingwei.models.checkpoints import load_checkpoint
from jingwei.raster.crop_files import read_crop, read_label_crop
from jingwei.training import loop
from jingwei.training.experiments import score_experiment
from jingwei.training.learner import Learner
from jingwei.training.recipes import read_recipe
from jingwei.training.validate import Validation
from jingwei.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")


def test_best_pt_is_the_epoch_of_the_best_miou_not_the_last(project, monkeypatch):
    right_pixels = iter((20, 60, 40))  # of 100, epoch by epoch

    def validate(*args) -> Validation:
        labels = np.ones(100, np.uint8)
        matrix = ConfusionMatrix(len(JINGWEI))
        matrix.update(labels, np.where(np.arange(100) < next(right_pixels), 1, 0).astype(np.uint8))
        return Validation({"val_loss": 1.0} | scores(matrix, JINGWEI), [])

    monkeypatch.setattr(Learner, "validate", validate)
    folder = loop.train(project, replace(SMALL, epochs=3, steps_per_epoch=1), "best", HERE)
    assert [row["miou"] for row in rows_of(folder)] == [0.2, 0.6, 0.4]
    best, last = load_checkpoint(folder / "best.pt"), load_checkpoint(folder / "last.pt")
    assert best.scores["miou"] == best.score == 0.6
    assert best.training is None
    assert (last.training["best_epoch"], last.training["best_score"], last.training["epoch"]) == (1, 0.6, 3)
    assert not same(dict(best.weights), dict(last.weights))


def test_without_validation_the_last_epoch_is_the_best(county, tmp_path):
    workspace = Workspace(tmp_path)
    cut_train(workspace, Workspace(county).train_scenes(), CutSettings(64, 64, val_fraction=0), JINGWEI, workers=2)
    folder = loop.train(workspace, replace(SMALL, epochs=2), "blind", HERE)
    best, last = load_checkpoint(folder / "best.pt"), load_checkpoint(folder / "last.pt")
    assert same(dict(best.weights), dict(last.weights))
    assert best.score == -1
    assert all("miou" not in row for row in rows_of(folder))
    with pytest.raises(InputError, match="no crop is for validation.*`val_fraction`"):
        score_experiment(workspace, SMALL.name, "blind", "cpu", 0)


def test_an_experiment_leaves_what_the_readme_promises(whole_run):
    names = {path.name for path in whole_run.iterdir()}
    assert {"last.pt", "best.pt", "recipe.json", "log.csv", "curves.png"} < names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert read_crop(whole_run / "curves.png").shape[2] in (3, 4)
    rows = rows_of(whole_run)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    names = {"lr", "loss", "cross_entropy", "auxiliary", "grad_norm", "miou", "miou_with_background", "iou corn"}
    assert names <= rows[0].keys()


def test_recipe_json_reads_back_to_the_recipe(whole_run, project):
    assert read_recipe(whole_run / "recipe.json") == SMALL
    counted = replace(SMALL, steps_per_epoch=0, epochs=1, crop_sizes=(64,))
    folder = loop.train(project, counted, "counted", HERE)
    kept = read_recipe(folder / "recipe.json")
    assert kept == replace(counted, steps_per_epoch=kept.steps_per_epoch)
    pixels = sum(crop.valid for crop in read_crops(project.crops) if crop.split == "train")
    assert kept.steps_per_epoch == round(pixels / (64 * 64 * SMALL.batch_size))


def test_scoring_gives_the_best_row_of_the_log(cut, whole_run):
    matrix, legend, path = score_experiment(Workspace(cut), SMALL.name, "whole", "cpu", 0)
    best = max(rows_of(whole_run), key=lambda row: row["miou"])
    content = scores(matrix, legend)
    assert path == whole_run / "best.pt"
    assert [content[name] for name in ("miou", "fwiou", "kappa")] == [best[name] for name in ("miou", "fwiou", "kappa")]
    assert {name: content["classes"][name]["iou"] for name in legend.names} == {
        name: best[f"iou {name}"] for name in legend.names
    }


def test_validation_counts_whole_crops_pixel_by_pixel(cut, whole_run):
    workspace = Workspace(cut)
    checkpoint = load_checkpoint(whole_run / "best.pt")
    model = checkpoint.build()
    expected = ConfusionMatrix(len(JINGWEI))
    for crop in read_crops(workspace.crops):
        if crop.split == "validation":
            pixels = read_crop(workspace.train / "data" / crop.name)
            labels = read_label_crop(workspace.train / "label" / crop.name)
            unseen = (labels == NODATA) & (pixels == 0).all(axis=2)
            pixels = np.where(unseen[..., None], np.round(checkpoint.mean), pixels).astype(np.float32)
            with torch.inference_mode():
                logits = model(torch.from_numpy(pixels.transpose(2, 0, 1)[None]))
            for label, guess in zip(labels.flat, logits[0].argmax(0).numpy().flat, strict=True):
                if label != NODATA:
                    expected.counts[label, guess] += 1
    matrix, _, _ = score_experiment(workspace, SMALL.name, "whole", "cpu", 0)
    differing = np.abs(matrix.counts - expected.counts).sum() / 2
    assert differing <= 1e-4 * expected.counts.sum()  # another memory layout may round a tie to the other side


def test_scores_over_other_crops_say_that_they_may_flatter(project, county, whole_run, capfd):
    shutil.copytree(whole_run, project.experiment(SMALL.name, "whole"))
    score_experiment(project, SMALL.name, "whole", "cpu", 0)
    assert "other crops" not in capfd.readouterr().out
    recut(project, county, val_fraction=0.4)
    score_experiment(project, SMALL.name, "whole", "cpu", 0)
    assert "best.pt was trained on other crops or classes" in capfd.readouterr().out


def test_an_unknown_experiment_lists_the_known(project, whole_run):
    # In a project of its own: other files' tests keep runs beside whole_run.
    shutil.copytree(whole_run, project.experiment(SMALL.name, "whole"))
    with pytest.raises(
        SettingError,
        match="no experiment cross_entropy/wohle.*did you mean cross_entropy/whole\\? known are cross_entropy/whole",
    ):
        score_experiment(project, SMALL.name, "wohle", "cpu", 0)
