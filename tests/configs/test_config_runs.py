"""Runs of config files: what they leave, and how they go on."""

import json
import runpy
import shlex
import shutil
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from config_files import TINY, changed
from outcomes import rows_of, same
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jingwei.configs import run
from jingwei.configs.config import config_from_dict
from jingwei.crops.prepare import prepare_training
from jingwei.crops.table import TRAIN, VALIDATION, read_crops
from jingwei.errors import OutputError, SettingError
from jingwei.inputs.sar import CHANNELS, SarSettings
from jingwei.legend import GF2, GF3, NODATA
from jingwei.models.checkpoints import load_checkpoint, save_checkpoint
from jingwei.raster.crop_files import read_crop, read_label_crop, write_crop
from jingwei.raster.png import write_png
from jingwei.raster.preview import painted
from jingwei.system.atomic import only_run
from jingwei.training.datasets import TrainingWindows
from jingwei.training.learner import Learner
from jingwei.training.loop import RunOptions
from jingwei.training.sampling import Draw
from jingwei.training.schedules import learning_rate, momentum

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]
HERE = RunOptions(device="cpu", workers=0)


def write_samples(root: Path, seed: int = 0, size: int = 80) -> Path:
    """A data set in folders: four training pictures and two to validate, of the brightness of their classes."""
    rng = np.random.default_rng(seed)
    for side, count in (("train", 4), ("valid", 2)):
        for number in range(1, count + 1):
            labels = np.kron(rng.integers(0, 4, (5, 5)), np.ones((size // 5, size // 5), int)).astype(np.uint8)
            pixels = (40 + 50 * labels[..., None] + rng.integers(0, 30, (*labels.shape, 3))).astype(np.uint8)
            write_png(root / side / "img" / f"{number}.png", pixels)
            write_png(root / side / "lbl" / f"{number}_gt.png", painted(labels, GF2))
    return root


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Path:
    """A folder with `samples/` and `tiny.json`. Only to be read."""
    root = tmp_path_factory.mktemp("folder")
    write_samples(root / "samples")
    (root / "tiny.json").write_text(json.dumps(TINY))
    return root


@pytest.fixture
def place(samples, tmp_path, monkeypatch) -> Path:
    """The same, to work in: the working folder."""
    shutil.copytree(samples, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train_py(*arguments: str) -> int:
    """Runs train.py in this process; its status."""
    return python("train.py", *arguments)


def python(script: str, *arguments: str) -> int:
    """Runs a script of the root in this process; its status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script, *arguments])
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        except SystemExit as stopped:
            return stopped.code or 0
    return 0


def only_folder(parent: Path) -> Path:
    (folder,) = [path for path in parent.iterdir() if path.is_dir()]
    return folder


def assert_same_end(folder: Path, other: Path) -> None:
    assert rows_of(folder) == rows_of(other)
    for name in ("last.pth", "best.pth", "checkpoint-epoch2.pth"):
        ours, theirs = load_checkpoint(folder / name), load_checkpoint(other / name)
        assert same(dict(ours.weights), dict(theirs.weights)), name
        assert same(ours.training, theirs.training), name
        assert ours.scores == theirs.scores


@pytest.fixture(scope="module")
def whole(samples, tmp_path_factory) -> Path:
    """The working folder of an uninterrupted `train.py -c tiny.json`. Only to be read."""
    root = tmp_path_factory.mktemp("whole")
    shutil.copytree(samples, root, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        torch.set_num_threads(1)
        assert train_py("-c", "tiny.json") == 0
    return root


def test_a_run_leaves_what_is_promised_where_it_is_promised(whole):
    folder = only_folder(whole / "saved" / "tiny")
    names = {path.name for path in folder.iterdir()}
    checkpoints = {"last.pth", "best.pth", "checkpoint-epoch2.pth"}
    assert names == checkpoints | {"recipe.json", "config.json", "log.csv", "curves.png"}
    assert json.loads((folder / "config.json").read_text()) == TINY
    events = EventAccumulator(str(whole / "saved" / "runs" / "tiny" / folder.name)).Reload()
    assert [event.step for event in events.Scalars("fwiou")] == [1, 2, 3]
    steps = EventAccumulator(str(whole / "saved" / "runs" / "tiny" / folder.name / "steps")).Reload()
    assert [event.step for event in steps.Scalars("loss")] == [2, 4, 6, 8]
    best = load_checkpoint(folder / "best.pth")
    assert best.scores["fwiou"] == pytest.approx(max(row["fwiou"] for row in rows_of(folder)))
    assert (best.legend, best.source) == (GF2, {})
    assert load_checkpoint(folder / "checkpoint-epoch2.pth").training["epoch"] == 2


def test_what_comes_after_a_training_can_be_pasted(place, capfd):
    assert train_py("-c", "tiny.json", "--epochs", "1") == 0
    command, *words = shlex.split(capfd.readouterr().out.splitlines()[-1].split("next: ")[1])
    assert command == "python"
    assert python(*words) == 0
    pictures = sorted(path.name for path in place.glob("saved/tiny/*/maps/*.png"))
    assert pictures == ["1_gt.png", "2_gt.png"]  # those of the validation


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["train/img", "valid/img"], "valid/img"),
        (["train/images", "validation/images"], "validation/images"),
        (["train", "val"], "val"),
        (["train/img", "valid/img", "test"], "test"),
        ([], ""),
    ],
)
def test_what_is_predicted_first_is_what_was_not_trained_on(tmp_path, folders, expected):
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    assert run.samples_to_predict(tmp_path) == tmp_path / expected


def test_momentum_and_both_learning_rates_are_logged(whole):
    folder = only_folder(whole / "saved" / "tiny")
    recipe = config_from_dict(TINY).recipe
    for epoch, row in enumerate(rows_of(folder)):
        last = 3 * epoch + 2  # of 9 steps
        assert row["momentum"] == pytest.approx(momentum(last, 9, recipe), rel=1e-5)
        assert row["lr"] == pytest.approx(learning_rate(last, 9, recipe), rel=1e-5)
        assert row["lr heads"] == pytest.approx(10 * row["lr"], rel=1e-5)
    assert len({row["momentum"] for row in rows_of(folder)}) == 3


def test_a_run_names_its_legend_and_the_classes_that_have_no_training_pixel(place, capsys):
    assert train_py("-c", "tiny.json", "--epochs", "1", "--steps_per_epoch", "1") == 0
    told = capsys.readouterr().out
    assert "legend gf2: 9 classes, other, building, " in told
    assert "no training pixel of: water, road, impervious, vehicle, bare soil\n" in told


def test_a_run_again_has_a_folder_of_its_own_and_finds_its_data_prepared(place, monkeypatch):
    monkeypatch.setattr(run, "time", SimpleNamespace(strftime=lambda how: "now"))
    assert train_py("--config=tiny.json", "--epochs", "1", "--steps_per_epoch", "1") == 0
    crops = only_folder(place / "saved" / "data") / "train" / "crops.csv"
    before = crops.stat().st_mtime_ns
    flags = "--epochs 1 --base_lr 0.5 --batch_size 3 --steps_per_epoch 1 --seed 4 --workers 0 -d cpu"
    assert train_py("-c", "tiny.json", *flags.split()) == 0
    assert crops.stat().st_mtime_ns == before
    assert {path.name for path in (place / "saved" / "tiny").iterdir()} == {"now", "now-2"}
    assert {path.name for path in (place / "saved" / "runs" / "tiny").iterdir()} == {"now", "now-2"}
    second = place / "saved" / "tiny" / "now-2"
    recipe = json.loads((second / "recipe.json").read_text())
    chosen = [recipe[name] for name in ("epochs", "base_lr", "last_mult", "batch_size", "steps_per_epoch", "seed")]
    assert chosen == [1, 0.05, 10, 3, 1, 4]
    kept = json.loads((second / "config.json").read_text())
    assert (kept["trainer"]["epochs"], kept["recipe"]["seed"]) == (1, 4)


def test_runs_that_begin_in_the_same_second_have_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "time", SimpleNamespace(strftime=lambda how: "now"))
    assert [run.fresh_folder(tmp_path / "runs").name for _ in range(3)] == ["now", "now-2", "now-3"]
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file: can't be written"):
        run.fresh_folder(tmp_path / "file")


def test_a_run_that_wrote_nothing_leaves_no_folder(place, monkeypatch):
    def refused(*args):
        raise SettingError("weights", "can't be fetched", "no network")

    monkeypatch.setattr(run.loop, "run", refused)
    assert train_py("-c", "tiny.json") == 2
    assert list((place / "saved" / "tiny").iterdir()) == []


@pytest.mark.parametrize("nth", [4, 9])
def test_a_run_that_was_stopped_goes_on_bit_for_bit_in_its_folder(place, whole, monkeypatch, nth, capfd):
    work, calls = Learner.step, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == nth:
            raise KeyboardInterrupt
        return work(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", interrupted)
        assert train_py("-c", "tiny.json") == 130
    folder = only_folder(place / "saved" / "tiny")
    time.sleep(1)  # TensorBoard puts the files of a run in order by the second in which each was begun
    assert train_py("-r", str((folder / "last.pth").relative_to(place))) == 0
    assert only_folder(place / "saved" / "tiny") == folder
    assert_same_end(folder, only_folder(whole / "saved" / "tiny"))
    events = EventAccumulator(str(place / "saved" / "runs" / "tiny" / folder.name / "steps")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [2, 4, 6, 8]
    assert f"trained: {folder}" in capfd.readouterr().out


def test_a_run_goes_on_from_a_numbered_checkpoint_and_with_changed_settings(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    folder = only_folder(tmp_path / "saved" / "tiny")
    assert train_py("-r", str(folder / "checkpoint-epoch2.pth")) == 0
    assert_same_end(folder, only_folder(whole / "saved" / "tiny"))
    assert train_py("-r", str(folder / "last.pth"), "--epochs", "4") == 0
    assert [row["epoch"] for row in rows_of(folder)] == [1, 2, 3, 4]
    assert rows_of(folder)[:3] == rows_of(only_folder(whole / "saved" / "tiny"))
    assert json.loads((folder / "config.json").read_text())["trainer"]["epochs"] == 4


@pytest.mark.parametrize("changes", [("--base_lr", "0.5"), ("--epochs", "1"), ()])
def test_a_run_that_has_ended_says_so_and_stays_as_it_is(whole, tmp_path, monkeypatch, capfd, changes):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    folder = only_folder(tmp_path / "saved" / "tiny")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    capfd.readouterr()
    assert train_py("-r", str(folder / "last.pth"), *changes) == 0
    assert "last.pth: 3 epochs are trained already: more with --epochs" in capfd.readouterr().out
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_what_no_validation_can_judge_is_told(place, capsys):
    write_png(place / "samples" / "valid" / "lbl" / "1_gt.png", painted(np.zeros((80, 80), np.uint8), GF2))
    write_png(place / "samples" / "valid" / "lbl" / "2_gt.png", painted(np.zeros((80, 80), np.uint8), GF2))
    assert train_py("-c", "tiny.json", "--epochs", "1") == 0
    assert "no validation pixel of: building, grass, shrub/tree, water" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [("-r", "none.pth"), ("--weights", "none.pth"), ("-d", "gpu")])
def test_what_is_not_there_is_told_before_the_data_is_looked_through(place, capfd, flags):
    assert train_py("-c", "tiny.json", *flags) == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert not (place / "saved").exists()


def test_a_run_of_other_crops_goes_on_by_r_and_says_so(whole, tmp_path, monkeypatch, capfd):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    last = only_folder(tmp_path / "saved" / "tiny") / "last.pth"
    save_checkpoint(last, replace(load_checkpoint(last), crops="others"))
    capfd.readouterr()
    assert train_py("-r", str(last), "--epochs", "4") == 0
    assert "last.pth was trained on other crops" in capfd.readouterr().out
    assert load_checkpoint(last).crops not in ("", "others")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["-r", "nowhere/last.pth"], ["nowhere/last.pth: no such file"]),
        (["-r", "samples"], ["samples: is a folder, not a file: name a checkpoint in it, such as last.pth"]),
        (["-r", "tiny.json"], ["no config.json lies beside it", "--config"]),
        (["-r", "tiny.json", "-c", "tiny.json"], ["tiny.json: is not a checkpoint file: give one that train.py"]),
        (["-c", "none.json"], ["none.json: no such file"]),
        (["-c", "bad.json"], ["bad.json: 2 problems: ", "\n  * arch.type", "\n  * trainer.epochs is 0"]),
        (["-c", "tiny.json", "--epochs", "0"], ["0 is below 1"]),
        (["-c", "tiny.json", "--exp", "x"], ["unrecognized arguments: --exp x"]),
        (["-c", "tiny.json", "-d", "gpu"], ["--device gpu: not usable"]),
        (["-c", "bands.json"], ["arch.args.in_channels: is 4, but the pictures in samples have 3 bands"]),
        (["-c", "nodata.json"], ["nosuch: no such folder"]),
    ],
    ids=str,
)  # fmt: skip
def test_a_mistake_gets_one_line_and_leaves_no_run(place, capfd, arguments, parts):
    for name, changes in {
        "bad": {"arch__type": "Net", "trainer__epochs": 0},
        "bands": {"arch__args__in_channels": 4},
        "nodata": {"train_loader__args__data_dir": "nosuch", "val_loader": {}},
    }.items():
        (place / f"{name}.json").write_text(json.dumps(changed(TINY, **changes)))
    assert train_py(*arguments) == 2
    error = capfd.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert all(part in error for part in parts), error
    assert not (place / "saved" / "tiny").exists() or not list((place / "saved" / "tiny").iterdir())


def test_runs_on_the_same_data_take_turns_to_prepare_it(place):
    order = []

    def take_a_turn(name: str) -> None:
        with only_run(place / "data.turn", wait=True):
            order.append(name)
            time.sleep(0.05)
            order.append(name)

    threads = [threading.Thread(target=take_a_turn, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order[::2] == order[1::2]
    assert sorted(order[::2]) == ["a", "b", "c"]
    assert not list(place.glob(".data*"))


def test_help_of_both_systems(place, capfd):
    assert train_py("-c", "tiny.json", "-h") == 0
    out = capfd.readouterr().out
    assert "--resume CHECKPOINT" in out
    assert "trainer.val_per_epochs" in out
    assert train_py("--help_all") == 0
    out = capfd.readouterr().out
    assert "--last_mult" in out
    assert "-c FILE" in out


def test_a_radar_run_keeps_in_its_checkpoint_how_radar_is_read(place):
    rng = np.random.default_rng(1)
    for side, number in (("train", 1), ("train", 2), ("valid", 3)):
        labels = rng.integers(0, 6, (64, 64)).astype(np.uint8)
        for channel in CHANNELS:
            amplitudes = rng.gamma(2.0, 50.0 * (labels + 1)).astype(np.uint16) + 1
            write_crop(place / "radar" / side / "img" / f"{number}_{channel}.tiff", amplitudes[None])
        write_png(place / "radar" / side / "lbl" / f"{number}_gt.png", painted(labels, GF3))
    content = changed(
        TINY, train_loader__type="GF3", val_loader__type="GF3", train_loader__args__data_dir="radar",
        val_loader__args__data_dir="radar", arch__args__in_channels=4, trainer__epochs=1,
        train_loader__args__sar={"values": "amplitude", "looks": 2},
    )  # fmt: skip
    (place / "radar.json").write_text(json.dumps(content))
    assert train_py("-c", "radar.json") == 0
    best = load_checkpoint(only_folder(place / "saved" / "tiny") / "best.pth")
    assert (best.spec.bands, best.dtype, best.legend) == (4, "float32", GF3)
    settings = SarSettings(**best.source)
    assert (settings.values, settings.looks) == ("amplitude", 2)
    assert all(20 < low < high < 70 for low, high in zip(settings.low, settings.high, strict=True))


def test_base_size_goes_by_all_pictures_of_the_data(place, capfd):
    larger = np.full((160, 60, 3), 90, np.uint8)  # by its longer side; the median of 80, 80, 80, 160, 160, 160 is 120
    for side, number in (("train", 1), ("train", 2), ("valid", 1)):
        write_png(place / "samples" / side / "img" / f"{number}.png", larger)
        write_png(place / "samples" / side / "lbl" / f"{number}_gt.png", painted(np.ones((160, 60), np.uint8), GF2))
    content = changed(TINY, train_loader__args__base_size=240, trainer__epochs=1, train_loader__args__scale=[0.6, 2])
    (place / "sized.json").write_text(json.dumps(content))
    assert train_py("-c", "sized.json") == 0
    assert "windows are seen at scales of 1.2 to 4, but pictures are" in capfd.readouterr().out
    recipe = load_checkpoint(only_folder(place / "saved" / "tiny") / "best.pth").recipe
    assert (recipe["min_scale"], recipe["max_scale"]) == (1.2, 4.0)


def test_without_validation_all_pictures_are_trained_on(place):
    shutil.rmtree(place / "samples" / "valid")
    for file in (place / "samples" / "train").iterdir():
        shutil.move(file, place / "samples")
    (place / "samples" / "train").rmdir()
    for val, split, sides in ((True, "folders", [3, 1]), (False, "folders", [4, 0]), (False, "fields", [4, 0])):
        content = changed(TINY, trainer__val=val, trainer__monitor="min loss", trainer__epochs=1)
        content["train_loader"]["args"] |= {"val_fraction": 0.3, "split": split}
        config = config_from_dict(content)
        crops = read_crops(prepare_training(config.data, config.cache, 1).crops)
        assert [sum(crop.split == side for crop in crops) for side in (TRAIN, VALIDATION)] == sides


def test_windows_of_a_config_are_mirrored_alone_and_what_is_outside_is_no_class(whole):
    """Fills the corners of rotated windows and the padding of small scales with NODATA."""
    train = only_folder(whole / "saved" / "data") / "train"
    crops = read_crops(train / "crops.csv")[:1]
    pixels, labels = read_crop(train / "data" / crops[0].name), read_label_crop(train / "label" / crops[0].name)
    recipe = replace(config_from_dict(TINY).recipe, crop_sizes=(80,))

    def windows(**changes):
        dataset = TrainingWindows(train, crops, replace(recipe, **changes), (90.0,) * 3)
        for number in range(12):
            window, truth = dataset[Draw(0, 80, -1, (0, 0, number))]
            yield window.numpy().transpose(1, 2, 0), truth.numpy()

    still = {"min_scale": 1.0, "max_scale": 1.0, "rotate": 0.0}
    assert all(np.array_equal(w, pixels) and np.array_equal(t, labels) for w, t in windows(**still, flip=False))
    mirrored = [np.array_equal(w, pixels[:, ::-1]) and np.array_equal(t, labels[:, ::-1]) for w, t in windows(**still)]
    straight = [np.array_equal(w, pixels) and np.array_equal(t, labels) for w, t in windows(**still)]
    assert 0 < sum(mirrored) < 12
    assert sum(mirrored) + sum(straight) == 12
    turned = [t for _, t in windows(**still, quarter_turns=True)]
    assert len({t.tobytes() for t in turned}) > 2
    turned = list(windows(**still | {"rotate": 10.0}, flip=False))
    assert all(truth[-1, -1] == NODATA and (window[-1, -1] == 90).all() for window, truth in turned)  # the mean
    shares = [(truth == NODATA).mean() for _, truth in windows(min_scale=0.5, max_scale=0.5, rotate=0.0)]
    assert np.allclose(shares, 0.75, atol=0.02)  # half the scale of a picture as large as the window
