"""Training: learns, remembers its best, and goes on after any interruption as if it had not been."""

import json
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from outcomes import rows_of, same
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from warm_processes import Running
from weight_files import load_weights

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.crops.table import read_crops
from jingwei.errors import CheckpointError, InputError, SettingError, TrainingError
from jingwei.evaluation.metrics import ConfusionMatrix, scores
from jingwei.inputs.scenes import Scene
from jingwei.legend import GF3, JINGWEI, NODATA, Legend
from jingwei.models.checkpoints import load_checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.raster.crop_files import read_crop, read_label_crop
from jingwei.raster.png import write_png
from jingwei.training import experiments, loop, run_files
from jingwei.training.curves import draw_curves
from jingwei.training.experiments import score_experiment
from jingwei.training.learner import Learner
from jingwei.training.log import TrainingLog
from jingwei.training.log_file import read_log
from jingwei.training.loop import RunOptions
from jingwei.training.recipes import ATTENTION_UNET, CROSS_ENTROPY, FOCAL_LOVASZ, read_recipe
from jingwei.training.validate import Validation
from jingwei.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")

HERE = RunOptions(device="cpu", workers=0)
# A small network in fp32; dropout and an auxiliary head, so that every source of chance is in play.
SMALL = replace(
    CROSS_ENTROPY,
    model="pspnet",
    backbone="mobilenetv3_small_050",
    output_stride=16,
    pretrained=False,
    epochs=4,
    steps_per_epoch=3,
    batch_size=2,
    crop_sizes=(48, 64),
    precision="fp32",
    optimizer="adamw",
    base_lr=0.002,
    last_mult=2.0,
)


@pytest.fixture(scope="module")
def whole_run(cut) -> Path:
    """The folder of an uninterrupted run of SMALL, with its curves drawn. Only to be read."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jingwei.training.log.draw_curves", draw_curves)
        return loop.train(Workspace(cut), SMALL, "whole", HERE)


def assert_same_result(folder: Path, other: Path) -> None:
    """Both runs ended with the same weights, optimizer, scores and log."""
    assert rows_of(folder) == rows_of(other)
    for name in ("last.pt", "best.pt"):
        ours, theirs = load_checkpoint(folder / name), load_checkpoint(other / name)
        assert same(dict(ours.weights), dict(theirs.weights)), f"the weights of {name} differ"
        assert same(ours.training, theirs.training), f"the optimizer state of {name} differs"
        assert ours.scores == theirs.scores


def kept_files(folder: Path) -> dict[str, bytes]:
    """The files that mean something: all but TensorBoard's."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith("events")}


# ---- interrupted, and gone on ----


def command(root: Path, exp: str, recipe=SMALL) -> list[str]:
    """train.py, and the flags that make it train SMALL."""
    flags = {
        "data_dir": root, "exp": exp, "model": recipe.model, "backbone": recipe.backbone,
        "output_stride": recipe.output_stride, "epochs": recipe.epochs, "steps_per_epoch": recipe.steps_per_epoch,
        "batch_size": recipe.batch_size, "precision": recipe.precision, "optimizer": recipe.optimizer,
        "base_lr": recipe.base_lr, "last_mult": recipe.last_mult, "workers": 1, "device": "cpu",
    }  # fmt: skip
    given = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    sizes = ["--crop_size", *map(str, recipe.crop_sizes)]
    return ["train.py", "--train", "--scratch", *given, *sizes]


def test_a_run_killed_after_an_epoch_ends_as_if_it_had_not_been(project, whole_run):
    folder = project.experiment(SMALL.name, "killed")
    running = Running(*command(project.root, "killed"))
    last, log = folder / "last.pt", folder / "log.csv"
    deadline = time.monotonic() + 120
    # An epoch writes its line of the log, then last.pt.
    while not (len(read_log(log)) >= 2 and last.exists() and last.stat().st_mtime_ns >= log.stat().st_mtime_ns):
        assert running.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    assert running.finish()[0] == -signal.SIGKILL
    assert load_checkpoint(last).training["epoch"] in (2, 3)
    status, _, errors = Running(*command(project.root, "killed")).finish()
    assert status == 0, errors
    assert_same_result(folder, whole_run)
    assert not list(folder.glob(".*.part"))


PLACES = {
    "while the log is written": (TrainingLog, "add", 3),
    "between log and checkpoint": (run_files, "save_checkpoint", 4),
    "between best.pt and last.pt": (run_files, "save_checkpoint", 2),
    "in the middle of an epoch": (Learner, "step", 8),
    "in the validation": (Learner, "validate", 3),
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("place", PLACES)
def test_a_run_interrupted_anywhere_goes_on_to_the_same_end(project, whole_run, monkeypatch, place, workers):
    owner, name, nth = PLACES[place]
    work, calls = getattr(owner, name), []

    def interrupted(*args, **how):
        calls.append(1)
        if len(calls) == nth:
            raise KeyboardInterrupt
        return work(*args, **how)

    options = replace(HERE, workers=workers)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            loop.train(project, SMALL, "stopped", options)
    folder = loop.train(project, SMALL, "stopped", options)
    assert_same_result(folder, whole_run)


def test_loader_processes_change_nothing(project, whole_run):
    assert_same_result(loop.train(project, SMALL, "two", replace(HERE, workers=2)), whole_run)


def test_another_seed_learns_something_else(project, whole_run):
    folder = loop.train(project, replace(SMALL, seed=1, epochs=1), "other", HERE)
    assert rows_of(folder)[0]["loss"] != rows_of(whole_run)[0]["loss"]


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


def recut(workspace: Workspace, county: Path, **settings) -> None:
    """Cuts the training crops once more, with other settings."""
    shutil.rmtree(workspace.train)
    cut_train(workspace, Workspace(county).train_scenes(), CutSettings(64, 64, **settings), JINGWEI, workers=1)


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


# ---- what a run leaves ----


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


def test_an_unknown_experiment_lists_the_known(cut, whole_run):
    with pytest.raises(
        SettingError,
        match="no experiment cross_entropy/wohle.*did you mean cross_entropy/whole\\? known are cross_entropy/whole",
    ):
        score_experiment(Workspace(cut), SMALL.name, "wohle", "cpu", 0)


# ---- learning ----


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
    [replace(FOCAL_LOVASZ, backbone="resnet18", output_stride=16), replace(ATTENTION_UNET, backbone=SMALL.backbone)],
    ids=lambda recipe: recipe.name,
)
def test_a_toy_is_learned(tmp_path, base):
    recipe = replace(
        base, pretrained=False, epochs=3, steps_per_epoch=12, batch_size=4, crop_sizes=(64,), min_scale=0.8,
        max_scale=1.25, optimizer="adamw", base_lr=0.003, precision="fp32",
    )  # fmt: skip
    folder = loop.train(toy_crops(tmp_path), recipe, "toy", HERE)
    rows = rows_of(folder)
    assert rows[-1]["loss"] < rows[0]["loss"] / 2
    assert rows[-1]["miou"] > 0.8


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


def test_weights_from_a_file_are_the_start_in_place_of_imagenets(project, whole_run):
    frozen = replace(SMALL, pretrained=True, freeze_bn=True, epochs=1, base_lr=1e-12, warmup=0.0)
    folder = loop.train(project, frozen, "tuned", replace(HERE, weights=whole_run / "best.pt"))
    start, end = (load_checkpoint(path).weights for path in (whole_run / "best.pt", folder / "last.pt"))
    encoder = [name for name in start if ".encoder." in name]
    assert all(torch.allclose(start[name], end[name], atol=1e-6) for name in encoder)
    statistics = [name for name in encoder if "running_" in name]
    assert statistics
    assert all(torch.equal(start[name], end[name]) for name in statistics)  # --freeze_bn


def test_offline_nothing_is_left_behind(project, monkeypatch):
    def unreachable(*args, **how):
        raise OSError("no network")

    monkeypatch.setattr("jingwei.models.weights.smp.encoders.get_encoder", unreachable)
    with pytest.raises(SettingError, match="`weights` FILE.*`scratch`"):
        loop.train(project, replace(SMALL, model="attention_unet", pretrained=True), "online", HERE)
    assert not project.experiment(SMALL.name, "online").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "nonsense"}, "`loss` nonsense.*known are cross_entropy, focal, lovasz"),
        ({"schedule": "nonsense"}, "`schedule` nonsense.*known are poly, cosine"),
        ({"model": "nonsense"}, "`model` nonsense.*known are deeplabv3, attention_unet"),
        ({"backbone": "nonsense"}, "`backbone` nonsense.*known are resnet18"),
        ({"crop_sizes": (16,), "epochs": 0}, "epochs is 0.*crop_size is 16"),
        ({"precision": "fp16"}, "`precision` fp16.*CPU"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_written(project, changes, message):
    with pytest.raises(SettingError, match=message):
        loop.train(project, replace(SMALL, **changes), "x", HERE)
    assert not project.models.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_refused(project):
    with pytest.raises(SettingError, match="`device` cuda: not usable"):
        loop.train(project, SMALL, "x", replace(HERE, device="cuda"))


def test_missing_crops_say_what_to_run(tmp_path, project):
    with pytest.raises(InputError, match=r"crops.csv: no such file: run generate_train_data.py"):
        loop.train(Workspace(tmp_path / "empty"), SMALL, "x", HERE)
    first = next(iter(read_crops(project.crops)))
    (project.train / "data" / first.name).unlink()
    with pytest.raises(InputError, match=f"{Path(first.name).stem}.*cut the scenes again"):
        loop.train(project, replace(SMALL, epochs=30), "x", HERE)


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
