"""Config files of system B: what they say, every mistake in them named, and the runs that they describe."""

import copy
import itertools
import json
import os
import runpy
import shlex
import shutil
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jingwei import devices, journal, training
from jingwei.checkpoints import load_checkpoint, save_checkpoint
from jingwei.cli import config as command_line
from jingwei.configs import config_from_dict, explain_keys, read_config
from jingwei.configs.sections import MONITORS, OPTIMIZERS, SCHEDULERS
from jingwei.crops import TRAIN, VALIDATION, read_crops
from jingwei.cutting import CutSettings, cut_train
from jingwei.datasets import TrainingWindows
from jingwei.distributed import Team
from jingwei.errors import SettingError
from jingwei.interrupts import Interrupted
from jingwei.journal import draw_curves, read_log
from jingwei.learning import DataKind, Learner, Place, Start, Step, Validation
from jingwei.legend import GF2, GF3, JINGWEI, NODATA
from jingwei.metrics import ConfusionMatrix, scores
from jingwei.models import ALIASES, MODELS, fcn8, smp
from jingwei.outputs import only_run
from jingwei.pictures import painted
from jingwei.png import write_png
from jingwei.preparing import prepare_training
from jingwei.raster import read_crop, read_label_crop, write_crop
from jingwei.recipes import LOSS_ALIASES, Recipe
from jingwei.sampling import Draw
from jingwei.sar import CHANNELS, SarSettings
from jingwei.schedules import learning_rate, momentum
from jingwei.training import Keeping, RunOptions
from jingwei.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = sorted((ROOT / "configs").glob("*.json"))
# The contest trainer's own file, as its users have it.
TEMPLATE = {
    "name": "PSPNet", "n_gpu": 1, "use_synch_bn": True,
    "arch": {"type": "PSPNet", "args": {"backbone": "resnet50", "freeze_bn": False, "freeze_backbone": False}},
    "train_loader": {"type": "SAT", "args": {
        "data_dir": "h:/dataset/sat/train", "batch_size": 8, "base_size": 400, "crop_size": 380, "augment": True,
        "shuffle": True, "scale": True, "flip": True, "rotate": True, "blur": False, "split": "train",
        "num_workers": 8}},
    "val_loader": {"type": "SAT", "args": {
        "data_dir": "h:/dataset/sat/valid", "batch_size": 8, "crop_size": 480, "val": True, "split": "val",
        "num_workers": 4}},
    "optimizer": {"type": "SGD", "differential_lr": True,
                  "args": {"lr": 0.04, "weight_decay": 1e-4, "momentum": 0.9}},
    "loss": "CrossEntropyLoss2d", "ignore_index": 255, "lr_scheduler": {"type": "Poly", "args": {}},
    "trainer": {"epochs": 100, "save_dir": "saved/", "save_period": 10, "monitor": "max Mean_IoU", "early_stop": 10,
                "tensorboard": True, "log_dir": "saved/runs", "log_per_iter": 20, "val": True, "val_per_epochs": 101},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)  # small pictures: threads that wait for each other take longer than the work


@pytest.fixture(scope="module", autouse=True)
def _no_curves():
    """To draw an epoch's curves takes longer than all else in such small runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "draw_curves", lambda rows, legend, path: path.touch())
        yield


def changed(content: dict, **changes) -> dict:
    """A copy of a file's content with some keys set, `arch__type` for arch.type; `...` deletes one."""
    content = copy.deepcopy(content)
    for name, value in changes.items():
        *sections, key = name.split("__")
        section = content
        for each in sections:
            section = section.setdefault(each, {})
        if value is ...:
            del section[key]
        else:
            section[key] = value
    return content


def mistakes(content) -> str:
    with pytest.raises(SettingError) as raised:
        config_from_dict(content, "my.json")
    message = str(raised.value)
    assert message.startswith("my.json: ")
    assert "\n" not in message
    return message


# ---- what a file says ----


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_config_parses(path):
    config = read_config(path)
    assert config.recipe.check().name
    if path.stem.startswith(("gf2", "gf3")):
        assert (config.data.legend, bool(config.data.sar)) == ((GF2, False) if "gf2" in path.stem else (GF3, True))


def test_a_config_is_shipped_for_every_network_for_radar_and_for_a_small_machine():
    configs = {path.stem: read_config(path) for path in SHIPPED}
    for_gf2 = {config.recipe.model for name, config in configs.items() if name.startswith("gf2_")}
    assert for_gf2 == set(MODELS)
    assert sum(name.startswith("gf3_") for name in configs) >= 2
    small = configs["gf2_cpu"]
    assert small.n_gpu == 0
    assert small.data.root == Path("data/gf_sample/optical")
    assert len({config.recipe.name for config in configs.values()}) == len(configs)


def test_the_contest_trainers_own_file_says_what_it_said():
    config = config_from_dict(TEMPLATE)
    assert config.recipe == Recipe(
        name="PSPNet", model="pspnet", backbone="resnet50", aux_weight=0.4, sync_bn=True, epochs=100, batch_size=8,
        crop_sizes=(380,), min_scale=0.5, max_scale=2.0, flip=True, quarter_turns=False, rotate=10.0, blur=0.0,
        jitter=0.0, optimizer="sgd", base_lr=0.004, last_mult=10.0, momentum=0.9, weight_decay=1e-4,
        loss="CrossEntropyLoss2d", schedule="poly", power=0.9, warmup=0.0, monitor="miou_with_background",
        early_stop=10, val_period=101,
    )  # fmt: skip
    assert (config.data.root, config.data.legend, config.data.sar) == (Path("h:/dataset/sat"), GF2, None)
    assert (config.data.split, config.data.crop_size) == ("folders", 1024)
    assert (config.n_gpu, config.workers, config.base_size) == (1, 8, 400)
    assert config.runs == Path("saved/PSPNet")
    assert config.events(Path("saved/PSPNet/now")) == Path("saved/runs/PSPNet/now")
    assert config.content == TEMPLATE


def test_what_the_contest_trainer_gives_both_loaders_is_taken_in_both():
    content = changed(TEMPLATE, val_loader__args=TEMPLATE["train_loader"]["args"] | {"val": True})
    content["val_loader"]["args"]["data_dir"] = TEMPLATE["val_loader"]["args"]["data_dir"]
    assert config_from_dict(content).recipe == config_from_dict(TEMPLATE).recipe


def test_a_file_may_begin_with_the_mark_of_windows_editors(tmp_path):
    path = tmp_path / "marked.json"
    path.write_text(json.dumps(TEMPLATE), encoding="utf-8-sig")
    assert read_config(path).recipe == config_from_dict(TEMPLATE).recipe


def test_all_networks_losses_and_schedules_parse():
    for network, loss, schedule in itertools.product([*ALIASES, *MODELS], LOSS_ALIASES, SCHEDULERS):
        content = changed(TEMPLATE, arch={"type": network}, loss=loss, lr_scheduler={"type": schedule})
        recipe = config_from_dict(changed(content, optimizer__differential_lr=False)).recipe
        assert recipe.model == ALIASES.get(network, network)
        assert (recipe.loss, recipe.schedule, recipe.base_lr) == (loss, SCHEDULERS[schedule][0], 0.04)


def test_keys_that_are_left_out_have_their_defaults():
    bare = {
        "name": "x", "arch": {"type": "ENet"}, "loss": "FocalLoss", "lr_scheduler": {"type": "OneCycle"},
        "train_loader": {"type": "GF3", "args": {"data_dir": "here", "batch_size": 4, "crop_size": 1200}},
        "optimizer": {"type": "AdamW", "args": {"lr": 1}}, "trainer": {"epochs": 2},
    }  # fmt: skip
    config = config_from_dict(bare)
    recipe = config.recipe
    assert (recipe.backbone, recipe.pretrained, recipe.aux_weight) == ("", False, 0.0)
    assert (recipe.min_scale, recipe.max_scale, recipe.flip, recipe.rotate, recipe.blur) == (0.5, 2.0, True, 10.0, 0.0)
    assert (recipe.rise, recipe.start_div, recipe.end_div) == (0.3, 10.0, 25.0)
    assert (recipe.low_momentum, recipe.high_momentum) == (0.85, 0.95)
    assert (recipe.val_period, recipe.early_stop, recipe.monitor) == (1, 0, "miou_with_background")
    assert (config.data.legend, config.data.sar) == (GF3, SarSettings())
    assert config.data.crop_size == 2400  # what a window of 1200 px shows at half its scale
    assert config.workers is None


def test_what_the_keys_of_windows_mean():
    def recipe_of(**args):
        return config_from_dict(changed(TEMPLATE, **{f"train_loader__args__{k}": v for k, v in args.items()})).recipe

    def windows(recipe):
        return recipe.min_scale, recipe.max_scale, recipe.flip, recipe.rotate, recipe.blur

    assert windows(recipe_of()) == (0.5, 2.0, True, 10.0, 0.0)
    assert windows(recipe_of(scale=False, flip=False, rotate=False, blur=True)) == (1.0, 1.0, False, 0.0, 0.5)
    assert windows(recipe_of(scale=[0.8, 1.25], rotate=25, blur=0.1)) == (0.8, 1.25, True, 25.0, 0.1)
    assert windows(recipe_of(augment=False, blur=True)) == (1.0, 1.0, False, 0.0, 0.0)


def test_schedules_optimizers_and_monitors_have_their_own_keys():
    cycle = {"phase1": 0.4, "start_div_factor": 20, "div_factor": 100, "momentums": [0.8, 0.9]}
    recipe = config_from_dict(changed(TEMPLATE, lr_scheduler={"type": "OneCycle", "args": cycle})).recipe
    assert (recipe.rise, recipe.start_div, recipe.end_div) == (0.4, 20, 100)
    assert (recipe.low_momentum, recipe.high_momentum) == (0.8, 0.9)
    poly = {"power": 1.5, "warmup_epochs": 5}
    recipe = config_from_dict(changed(TEMPLATE, lr_scheduler={"type": "Poly", "args": poly})).recipe
    assert (recipe.power, recipe.warmup) == (1.5, 0.05)
    for name, ours in OPTIMIZERS.items():
        assert config_from_dict(changed(TEMPLATE, optimizer__type=name)).recipe.optimizer == ours
    for words, ours in MONITORS.items():
        assert config_from_dict(changed(TEMPLATE, trainer__monitor=words)).recipe.monitor == ours
    blind = config_from_dict(changed(TEMPLATE, trainer__val=False, trainer__monitor="min loss")).recipe
    assert (blind.val_period, blind.monitor) == (0, "loss")
    assert config_from_dict(changed(TEMPLATE, trainer__monitor="off")).recipe.early_stop == 0


def test_the_section_recipe_has_all_that_the_trainer_had_no_key_for():
    own = {"seed": 7, "class_weights": "balanced", "jitter": 0.2, "quarter_turns": True, "aux_weight": 0.1, "ema": 0}
    recipe = config_from_dict(changed(TEMPLATE, recipe=own)).recipe
    assert {name: getattr(recipe, name) for name in own} == own


def test_legends_and_radar_settings(tmp_path):
    path = tmp_path / "legend.json"
    path.write_text(json.dumps(JINGWEI.to_dict()))
    loader = {"type": "Folders", "args": TEMPLATE["train_loader"]["args"] | {"legend": str(path), "split": "fields"}}
    content = changed(TEMPLATE, train_loader=loader, val_loader__type="Folders")
    config = config_from_dict(content)
    assert (config.data.legend, config.data.sar, config.data.split) == (JINGWEI, None, "fields")
    sar = {"values": "db", "lee": 7, "looks": 4, "low": [-30, -30, -30, -30], "high": [0, 0, 0, 0.5]}
    settings = config_from_dict(changed(content, train_loader__args__sar=sar)).data.sar
    assert settings == SarSettings("db", 7, 4, (-30,) * 4, (0, 0, 0, 0.5))


@pytest.mark.parametrize("data_dir", ["samples", "samples/train"])
def test_folders_have_a_legend_of_their_own_and_the_contests_data_the_contests(data_dir, tmp_path):
    (tmp_path / "samples" / "train").mkdir(parents=True)
    own, path = replace(JINGWEI, name="own"), tmp_path / "samples" / "legend.json"
    args = {"data_dir": str(tmp_path / data_dir), "batch_size": 2, "crop_size": 64}
    content = changed(TEMPLATE, train_loader={"type": "Folders", "args": args}, val_loader={"type": "Folders"})
    with pytest.raises(SettingError, match="legend is missing .*, and no legend.json lies in data_dir"):
        config_from_dict(content)
    path.write_text(json.dumps(own.to_dict()))
    config = config_from_dict(content)
    assert (config.data.legend, config.legend) == (own, str(path))
    named = config_from_dict(changed(content, train_loader__args__legend="gf3"))
    assert (named.data.legend, named.legend) == (GF3, "gf3")
    contest = config_from_dict(changed(content, train_loader__type="GF2", val_loader__type="GF2"))
    assert (contest.data.legend, contest.legend) == (GF2, "gf2")
    path.write_text("{")
    with pytest.raises(SettingError, match="train_loader.args.legend .*legend.json: is no JSON"):
        config_from_dict(content)


def test_data_is_prepared_once_for_all_configs_that_want_it_alike():
    config = config_from_dict(TEMPLATE)
    other_run = config_from_dict(changed(TEMPLATE, name="other", arch__type="UNet", arch__args={}, trainer__epochs=3))
    assert other_run.cache == config.cache
    assert config.cache.parent == Path("saved/data")
    assert config.cache.name.startswith("sat-")
    for changes in ({"tile_size": 512}, {"legend": "jingwei"}, {"val_fraction": 0.3}, {"split": "blocks"}):
        args = {f"train_loader__args__{name}": value for name, value in changes.items()}
        assert config_from_dict(changed(TEMPLATE, **args)).cache != config.cache


def test_changes_from_the_command_line_are_in_the_content(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(changed(TEMPLATE, trainer__epochs=...)))
    config = read_config(path, {"trainer.epochs": 3, "recipe.seed": 5, "optimizer.args.lr": 0.5})
    assert (config.recipe.epochs, config.recipe.seed, config.recipe.base_lr) == (3, 5, 0.05)
    assert (config.content["trainer"]["epochs"], config.content["recipe"]) == (3, {"seed": 5})


def test_every_key_is_explained():
    text = explain_keys()
    for key in ("name", "arch.args.backbone", "train_loader.args.sar", "trainer.val_per_epochs", "recipe"):
        assert f"  {key} " in text
    assert "momentum where the learning rate is highest" in text
    assert "(default: [0.85, 0.95])" in text


# ---- mistakes ----


def test_five_mistakes_are_named_at_once():
    message = mistakes(
        changed(
            TEMPLATE,
            arch__type="PSPnet",
            loss="Tversky",
            trainer__epoch=3,
            trainer__save_period="ten",
            optimizer__args__lr=-0.1,
        )
    )
    assert "5 problems" in message
    for part in (
        'arch.type is "PSPnet": known are FCN8, UNet, ',
        "loss Tversky: 'Tversky' is no loss, known are cross_entropy, ",
        "trainer.epoch is no key: known are epochs, save_dir, ",
        'trainer.save_period is "ten", not a whole number',
        "optimizer.args.lr is -0.1, not above 0",
    ):
        assert part in message


MISTAKES = {
    "train_loader.args.batchsize is no key: known are data_dir, batch_size,": {"train_loader__args__batchsize": 3},
    "seed is no key: known are name, n_gpu,": {"seed": 3},
    "recipe.sead is no key: known are label_smoothing|recipe.sead is no key: known are": {"recipe__sead": 3},
    "recipe.epochs is no key: it is trainer.epochs": {"recipe__epochs": 3},
    "recipe.seed is true, not a whole number": {"recipe__seed": True},
    "recipe.ema is 1, not from 0 to below 1": {"recipe__ema": 1},
    'recipe.precision is "fp8"|recipe.precision is fp8, none of auto, fp32': {"recipe__precision": "fp8"},
    "arch is 3, not a section": {"arch": 3},
    "arch.args.freeze_bn is 1, not true or false": {"arch__args__freeze_bn": 1},
    "arch.args.in_channels is 0, below 1": {"arch__args__in_channels": 0},
    "arch.args.backbone resnet5: no such encoder, known are resnet18": {"arch__args__backbone": "resnet5"},
    "arch.args.output_stride 32: pspnet can't have it, choose 8 or 16": {"arch__args__output_stride": 32},
    "arch.args.pretrained is true, but there are no ImageNet weights for ENet": {
        "arch": {"type": "ENet", "args": {"pretrained": True}}
    },
    'name is "a/b", which can\'t be a folder': {"name": "a/b"},
    'name is "..", which can\'t be a folder': {"name": ".."},
    'name is "runs", which is a folder of other things': {"name": "runs"},
    "name is missing": {"name": ...},
    "trainer.epochs is missing": {"trainer__epochs": ...},
    "n_gpu is -1, below 0": {"n_gpu": -1},
    "ignore_index is 0, not 255: pixels of no class are 255 here": {"ignore_index": 0},
    "ignore_index is null, not a whole number": {"ignore_index": None},
    "train_loader.args.crop_size is 16, below 32 px": {"train_loader__args__crop_size": 16},
    "train_loader.args.batch_size is 0, not above 0": {"train_loader__args__batch_size": 0},
    "train_loader.args.scale is [2, 0.5]|train_loader.args.scale 0.5 is below min_scale 2": {
        "train_loader__args__scale": [2, 0.5]
    },
    "train_loader.args.scale is no pair": {"train_loader__args__scale": [2]},
    'train_loader.args.scale is "big", not true or false or a list, each a number': {
        "train_loader__args__scale": "big"
    },
    "train_loader.args.rotate is 200.0, not between 0 and 180": {"train_loader__args__rotate": 200},
    "train_loader.args.shuffle is false, but": {"train_loader__args__shuffle": False},
    "train_loader.args.val is true, but": {"train_loader__args__val": True},
    "val_loader.args.val is false: ": {"val_loader__args__val": False},
    "train_loader.args.split is \"lines\": known are folders, blocks, fields": {"train_loader__args__split": "lines"},
    "train_loader.args.val_fraction is 1.5, not from 0": {"train_loader__args__val_fraction": 1.5},
    "train_loader.args.base_size is 0, below 1": {"train_loader__args__base_size": 0},
    "train_loader.args.base_size is 300, below crop_size 380: windows would": {"train_loader__args__base_size": 300},
    "train_loader.args.tile_size is 16, below 32": {"train_loader__args__tile_size": 16},
    "train_loader.args.num_workers is -1, below 0": {"train_loader__args__num_workers": -1},
    "train_loader.args.legend gf9: no such legend": {"train_loader__args__legend": "gf9"},
    "train_loader.args.legend is missing": {"train_loader__type": "Folders", "val_loader__type": "Folders"},
    "train_loader.args.sar is given, but the type is optical": {"train_loader__args__sar": {}},
    "train_loader.args.sar.leee is no key: known are values, lee,": {
        "train_loader__type": "GF3", "val_loader__type": "GF3", "train_loader__args__sar": {"leee": 7},
    },
    "train_loader.args.sar: is no side of a window": {
        "train_loader__type": "GF3", "val_loader__type": "GF3", "train_loader__args__sar": {"lee": 4},
    },
    'train_loader.type is "VOC": known are SAT, GF2, GF3, Folders': {
        "train_loader__type": "VOC", "val_loader__type": "VOC",
    },
    "val_loader.type is GF2, but train_loader.type is SAT": {"val_loader__type": "GF2"},
    "val_loader.args.data_dir is elsewhere, not the valid/ beside": {"val_loader__args__data_dir": "elsewhere"},
    'optimizer.type is "RMSprop": known are SGD, Adam, AdamW': {"optimizer__type": "RMSprop"},
    "optimizer.args.nesterov is no key: known are lr, weight_decay, momentum": {"optimizer__args__nesterov": True},
    "optimizer.args.momentum is 1, not from 0 to below 1": {"optimizer__args__momentum": 1},
    'lr_scheduler.type is "Step": known are Poly, OneCycle': {"lr_scheduler__type": "Step"},
    "lr_scheduler.args.power is no key: known are phase1,": {
        "lr_scheduler": {"type": "OneCycle", "args": {"power": 1}}
    },
    "lr_scheduler.args.momentums is no pair": {"lr_scheduler": {"type": "OneCycle", "args": {"momentums": [1]}}},
    "lr_scheduler.args.phase1 is 1, not from 0 to below 1": {
        "lr_scheduler": {"type": "OneCycle", "args": {"phase1": 1}}
    },
    "lr_scheduler.args.warmup_epochs is 100, of 100 epochs": {"lr_scheduler__args__warmup_epochs": 100},
    'trainer.monitor is "min Mean_IoU": known are max Mean_IoU,': {"trainer__monitor": "min Mean_IoU"},
    "trainer.monitor is min val_loss, but trainer.val is false: take min loss or off": {
        "trainer__val": False, "trainer__monitor": "min val_loss",
    },
    "trainer.monitor is max Mean_IoU, but trainer.val is false": {"trainer__val": False},
    "trainer.early_stop is -1, below 0": {"trainer__early_stop": -1},
    "trainer.val_per_epochs is 0, below 1": {"trainer__val_per_epochs": 0},
    "trainer.log_per_iter is -1, below 0": {"trainer__log_per_iter": -1},
    "trainer.epochs is NaN|trainer.epochs is Infinity, not a whole number": {"trainer__epochs": float("inf")},
}  # fmt: skip


@pytest.mark.parametrize("problem", MISTAKES)
def test_a_mistake_is_named(problem):
    message = mistakes(changed(TEMPLATE, **MISTAKES[problem]))
    assert any(part in message for part in problem.split("|")), message
    assert "problems:" not in message  # and nothing that is right


@pytest.mark.parametrize("content", [3, [], None, "x"])
def test_a_file_of_something_else_is_refused(content):
    assert "the file is " in mistakes(content)


@pytest.mark.parametrize("text", ["", "{", '{"name": "x", // a comment\n}', "\xff"])
def test_a_file_that_is_no_json_gets_one_line(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingError, match="x.json: is no JSON") as raised:
        read_config(path)
    assert "\n" not in str(raised.value)
    with pytest.raises(SettingError, match="none.json: no such file"):
        read_config(tmp_path / "none.json")


# ---- one step of everything ----

SMALL = {"fcn8": "vgg11", "unet": "plain16", "segnet": "vgg11_bn", "enet": "enet", "pspdensenet": "densenet121",
         "segformer": "mit_b0"}  # fmt: skip


@pytest.mark.parametrize("number", range(len(ALIASES)), ids=list(ALIASES))
def test_every_network_makes_a_step_with_each_loss_and_schedule_in_turn(number, monkeypatch):
    monkeypatch.setattr(fcn8, "WIDTH", 32)
    narrow = [8, "M", 16, "M", 24, 24, "M", 32, 32, "M", 32, 32, "M"]
    for vgg in ("vgg11", "vgg11_bn"):
        settings = {"config": narrow, "out_channels": [8, 16, 24, 32, 32, 32]}
        monkeypatch.setitem(smp.encoders.encoders[vgg], "params", smp.encoders.encoders[vgg]["params"] | settings)
    name = list(ALIASES)[number]
    args = {"backbone": SMALL.get(ALIASES[name], "resnet18"), "pretrained": False}
    content = changed(
        TEMPLATE,
        arch={"type": name, "args": args},
        loss=list(LOSS_ALIASES)[number % 5],
        lr_scheduler={"type": ("OneCycle", "Poly")[number % 2]},
        optimizer__type=("SGD", "AdamW", "Adam")[number % 3],
        use_synch_bn=False,
        recipe={"steps_per_epoch": 2, "precision": "fp32"},
    )
    recipe = config_from_dict(content).recipe
    kind = DataKind("uint8", (90.0,) * 3, (50.0,) * 3, GF2, (1,) * len(GF2))
    learner = Learner(recipe, kind, torch.device("cpu"), Team(), Start())
    before = [parameter.detach().clone() for parameter in learner.model.parameters()]
    generator = torch.Generator().manual_seed(number)
    pixels = torch.rand(2, 3, 64, 64, generator=generator) * 255
    labels = torch.randint(0, len(GF2), (2, 64, 64), generator=generator)
    labels[:, :8] = NODATA
    learner.begin_epoch()
    good, values = learner.step(Place(30, 1), [(pixels, labels)])
    assert good
    assert values["loss"] > 0
    assert any(not torch.equal(a, b) for a, b in zip(before, learner.model.parameters(), strict=True))
    encoder, heads = learner.optimizer.param_groups
    assert values["lr"] == encoder["lr"] == learning_rate(61, 200, recipe)
    assert heads["lr"] == pytest.approx(10 * encoder["lr"])  # differential_lr
    held = {group.get("momentum", group.get("betas", (None,))[0]) for group in (encoder, heads)}
    assert held == {momentum(61, 200, recipe)}


# ---- runs ----

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


TINY = changed(
    TEMPLATE, name="tiny", use_synch_bn=False, n_gpu=0,
    arch={"type": "AttentionUNet", "args": {"backbone": "mobilenetv3_small_050", "pretrained": False}},
    train_loader__args={"data_dir": "samples", "batch_size": 2, "crop_size": 48, "num_workers": 0},
    val_loader__args={"data_dir": "samples"}, optimizer__type="AdamW", optimizer__args={"lr": 0.01},
    lr_scheduler={"type": "OneCycle", "args": {}}, loss="CE_DiceLoss",
    trainer={"epochs": 3, "save_period": 2, "log_per_iter": 2, "monitor": "max FWIoU"},
    recipe={"steps_per_epoch": 3, "precision": "fp32"},
)  # fmt: skip


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


def rows_of(folder: Path) -> list[dict]:
    """The log without what depends on the clock."""
    clock = ("windows_per_s", "seconds")
    return [{k: v for k, v in row.items() if k not in clock} for row in read_log(folder / "log.csv")]


def same(one, two) -> bool:
    """Whether two nested contents are equal, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two


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
    monkeypatch.setattr(command_line, "time", SimpleNamespace(strftime=lambda how: "now"))
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
    assert f"written: {folder}" in capfd.readouterr().out


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
        (["-r", "tiny.json"], ["no config.json lies beside it", "-c"]),
        (["-r", "tiny.json", "-c", "tiny.json"], ["tiny.json: ", "was not opened"]),
        (["-c", "none.json"], ["none.json: no such file"]),
        (["-c", "bad.json"], ["bad.json: 2 problems: ", "arch.type", "trainer.epochs is 0"]),
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
    assert all(part in lines[0] for part in parts), error
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


def test_a_run_that_is_asked_to_stop_says_how_to_go_on(project, tmp_path, scripted, monkeypatch):
    scripted([0.5])
    step = Learner.step
    monkeypatch.setattr(Learner, "step", lambda *args: os.kill(os.getpid(), signal.SIGTERM) or step(*args))
    keeping = Keeping(tmp_path / "run", ".pth", config="{}")
    with pytest.raises(Interrupted, match=r"run/last.pth is saved: train.py -r .*run/last.pth goes on"):
        training.run(project, replace(QUICK, epochs=1), keeping, HERE)
    assert (tmp_path / "run" / "config.json").read_text() == "{}"
    with pytest.raises(Interrupted, match="run2/last.pt is saved: the same command goes on"):
        training.run(project, replace(QUICK, epochs=1), Keeping(tmp_path / "run2"), HERE)


def test_help_of_both_systems(place, capfd):
    assert train_py("-c", "tiny.json", "-h") == 0
    out = capfd.readouterr().out
    assert "--resume CHECKPOINT" in out
    assert "trainer.val_per_epochs" in out
    assert train_py("-h") == 0
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


def test_base_size_scales_the_usual_picture():
    content = changed(TINY, train_loader__args__base_size=120, train_loader__args__scale=[0.5, 3])
    config = config_from_dict(content).fitted([80, 80, 640])
    assert (config.recipe.min_scale, config.recipe.max_scale) == (0.75, 4.5)
    assert config_from_dict(TINY).fitted([80]) == config_from_dict(TINY)


def test_tiles_are_as_large_as_windows_of_pictures_that_base_size_shrinks():
    """Else windows would be padding for the larger part, though the pictures are there."""
    content = changed(TINY, train_loader__args__base_size=64, train_loader__args__crop_size=32)
    assert config_from_dict(content).data.crop_size == 1024
    config = config_from_dict(content).fitted([4096])
    assert config.recipe.min_scale == 0.5 / 64
    assert config.data.crop_size == 4096  # 32 px at a scale of 1/128
    assert config_from_dict(content).fitted([3000]).data.crop_size == 3000  # no larger than the pictures
    with pytest.raises(SettingError, match=r"train_loader.args.base_size: is 64: windows would show 12800 px"):
        config_from_dict(content).fitted([12800] * 2)


def test_base_size_goes_by_all_pictures_of_the_data(place):
    (place / "sized.json").write_text(json.dumps(changed(TINY, train_loader__args__base_size=160, trainer__epochs=1)))
    assert train_py("-c", "sized.json") == 0
    recipe = load_checkpoint(only_folder(place / "saved" / "tiny") / "best.pth").recipe
    plain = config_from_dict(TINY).recipe
    assert (recipe["min_scale"], recipe["max_scale"]) == (plain.min_scale * 2, plain.max_scale * 2)


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


# ---- devices ----


@pytest.mark.parametrize(
    ("chosen", "wanted", "there", "device", "said"),
    [
        (None, 1, 0, "cpu", ""),
        (None, 2, 0, "cpu", "no GPU here: training on the CPU\n"),
        ("0,1", 1, 0, "cpu", "no GPU here: training on the CPU\n"),
        (None, 0, 2, "cpu", ""),
        (None, 1, 2, "cuda:0", ""),
        (None, 2, 1, "cuda:0", "n_gpu is 2, but there are 1 GPUs here: training on these\n"),
        ("1", 1, 2, "cuda:1", ""),
        ("cpu", 2, 2, "cpu", ""),
        ("cuda:1", 1, 2, "cuda:1", ""),
    ],
)
def test_the_device_is_the_one_asked_for_or_what_there_is(monkeypatch, capsys, chosen, wanted, there, device, said):
    monkeypatch.setattr(devices, "gpu_count", lambda: there)
    assert command_line._device(chosen, wanted) == device
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("chosen", "wanted", "visible", "expected"),
    [("0,2", 1, None, "0,2"), (None, 2, None, "0,1"), (None, 9, None, "0,1,2"), ("1,2", 1, "5,6,7", "6,7")],
)
def test_more_gpus_get_a_process_each(monkeypatch, chosen, wanted, visible, expected):
    started = []
    monkeypatch.setattr(devices, "gpu_count", lambda: 3)
    monkeypatch.setattr(command_line.os, "execv", lambda program, arguments: started.append(arguments))
    monkeypatch.setattr(sys, "argv", ["train.py", "-c", "x.json"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    command_line._device(chosen, wanted)
    ((*_, module, standalone, count, script, flag, config),) = started
    assert (module, standalone) == ("torch.distributed.run", "--standalone")
    assert count == f"--nproc_per_node={len(expected.split(','))}"
    assert (script, flag, config) == ("train.py", "-c", "x.json")
    assert command_line.os.environ["CUDA_VISIBLE_DEVICES"] == expected
    monkeypatch.setenv("WORLD_SIZE", "2")  # in one of those processes
    assert command_line._device(chosen, wanted) == "auto"
    assert len(started) == 1


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(devices, "gpu_count", lambda: 2)
    with pytest.raises(SettingError, match="-d 0,2: there are 2 GPUs here: number them from 0"):
        command_line._device("0,2", 1)


# ---- what is kept, watched and stopped for ----

QUICK = replace(
    config_from_dict(TINY).recipe, loss="cross_entropy", steps_per_epoch=1, batch_size=2, schedule="constant",
    monitor="miou", min_scale=1.0, max_scale=1.0, rotate=0.0,
)  # fmt: skip


@pytest.fixture
def project(draw_scene, tmp_path) -> Workspace:
    """A project folder with a few crops of 64 px."""
    pixels, labels = draw_scene(192, 192, seed=3)
    write_png(tmp_path / "a_train" / "image_1.png", pixels)
    write_png(tmp_path / "a_train" / "image_1_label.png", labels)
    workspace = Workspace(tmp_path)
    cut_train(workspace, workspace.train_scenes(), CutSettings(64, 64), JINGWEI, workers=1)
    return workspace


@pytest.fixture
def scripted(monkeypatch):
    """Lets validations find these shares of right pixels, and losses, in turn; a step writes its epoch to `std`."""

    def step(learner, place, batches) -> Step:
        learner.model.std.fill_(place.epoch + 1)
        return Step(True, {"loss": 1.0, "lr": 0.1})

    monkeypatch.setattr(Learner, "step", step)

    def script(shares, losses=()) -> list:
        asked, turns = [], itertools.zip_longest(shares, losses, fillvalue=1.0)

        def validate(learner, *args):
            asked.append(1)
            share, loss = next(turns)
            matrix = ConfusionMatrix(len(JINGWEI))
            matrix.update(np.ones(100, np.uint8), np.where(np.arange(100) < 100 * share, 1, 0).astype(np.uint8))
            return Validation({"val_loss": loss} | scores(matrix, JINGWEI), [])

        monkeypatch.setattr(Learner, "validate", validate)
        return asked

    return script


def epoch_of(path: Path) -> int:
    """The epoch whose weights a checkpoint of a scripted run has."""
    return int(load_checkpoint(path).weights["std"].flatten()[0])


@pytest.mark.parametrize(
    ("val_period", "save_period", "validated", "numbered"),
    [(1, 0, [1, 2, 3, 4, 5], []), (2, 3, [2, 4, 5], [3]), (101, 2, [5], [2, 4]), (4, 100, [4, 5], [])],
)
def test_the_best_is_never_lost(project, tmp_path, scripted, val_period, save_period, validated, numbered):
    shares = [0.1, 0.2, 0.3, 0.9, 0.4]
    scripted(shares[epoch - 1] for epoch in validated)
    keeping = Keeping(tmp_path / "run", ".pth", tmp_path / "events", save_period=save_period)
    folder = training.run(project, replace(QUICK, epochs=5, val_period=val_period), keeping, HERE)
    rows = rows_of(folder)
    assert [row["epoch"] for row in rows if row.get("miou") is not None] == validated
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    best = max(validated, key=lambda epoch: shares[epoch - 1])
    assert load_checkpoint(folder / "best.pth").score == shares[best - 1]
    assert [epoch_of(folder / f"{name}.pth") for name in ("best", "last")] == [best, 5]
    assert all(epoch_of(folder / f"checkpoint-epoch{epoch}.pth") == epoch for epoch in numbered)
    last = load_checkpoint(folder / "last.pth").training
    assert (last["best_epoch"], last["best_score"]) == (best - 1, shares[best - 1])
    assert {path.name for path in folder.glob("checkpoint*")} == {f"checkpoint-epoch{epoch}.pth" for epoch in numbered}


@pytest.mark.parametrize(
    ("val_period", "early_stop", "shares", "epochs_run"),
    [
        (1, 2, [0.5, 0.6, 0.1, 0.2, 0.9], 4),
        (1, 3, [0.5, 0.6, 0.1, 0.2, 0.9, 0.1, 0.3, 0.4], 8),
        (3, 2, [0.5, 0.4, 0.9], 6),  # asked where there is a score, not between: after epoch 3 came 6
        (2, 4, [0.5, 0.4, 0.3, 0.9], 6),
        (2, 3, [0.1, 0.2, 0.3, 0.4, 0.5], 9),
    ],
)
def test_a_run_stops_once_it_has_long_not_been_better(
    project, tmp_path, scripted, val_period, early_stop, shares, epochs_run
):
    scripted(shares)
    recipe = replace(QUICK, epochs=9, val_period=val_period, early_stop=early_stop)
    keeping = Keeping(tmp_path / "run", ".pth", tensorboard=False)
    folder = training.run(project, recipe, keeping, HERE)
    assert len(rows_of(folder)) == epochs_run
    before = (folder / "last.pth").read_bytes()
    training.run(project, recipe, keeping, HERE)
    assert (folder / "last.pth").read_bytes() == before  # and stays stopped


def test_what_is_monitored_decides_what_is_best(project, tmp_path, monkeypatch, scripted):
    scripted([0.9, 0.1])
    losses, step = iter([3.0, 1.0, 2.0, 2.0]), Learner.step
    monkeypatch.setattr(Learner, "step", lambda *args: Step(True, step(*args).values | {"loss": next(losses)}))
    recipe = replace(QUICK, epochs=9, monitor="loss", early_stop=2, val_period=3)
    folder = training.run(project, recipe, Keeping(tmp_path / "loss", ".pth"), HERE)
    state = load_checkpoint(folder / "last.pth").training
    assert (state["best_epoch"], state["best_score"], state["epoch"]) == (1, -1.0, 4)
    assert epoch_of(folder / "best.pth") == 2


def test_of_a_monitored_validation_loss_the_lowest_is_the_best_and_a_run_stops_once_it_no_longer_falls(
    project, tmp_path, scripted, monkeypatch
):
    # The best miou is in epoch 1, and the loss of the training is 1.0 all along. Without a number, no epoch is better.
    script = [0.9, 0.1, 0.2, 0.3, 0.4], [None, 0.7, 0.3, 0.5, 0.3]
    scripted(*script)
    recipe = replace(QUICK, epochs=9, monitor="val_loss", early_stop=2)
    folder = training.run(project, recipe, Keeping(tmp_path / "run", ".pth"), HERE)
    state = load_checkpoint(folder / "last.pth").training
    assert (state["best_epoch"], state["best_score"], state["epoch"]) == (2, -0.3, 5)
    assert epoch_of(folder / "best.pth") == 3
    assert load_checkpoint(folder / "best.pth").scores["val_loss"] == 0.3
    assert [row["val_loss"] for row in rows_of(folder)] == script[1]
    scripted(*script)
    stopped = Keeping(tmp_path / "stopped", ".pth")
    add = journal.Journal.add
    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "add", lambda log, epoch, *args: 1 / (4 - epoch) and add(log, epoch, *args))
        with pytest.raises(ZeroDivisionError):
            training.run(project, recipe, stopped, HERE)
    assert load_checkpoint(stopped.file("last")).training["epoch"] == 4
    scripted(*(turns[4:] for turns in script))
    training.run(project, recipe, stopped, replace(HERE, resume=stopped.file("last")))
    assert load_checkpoint(stopped.file("last")).training == state
    assert rows_of(stopped.folder) == rows_of(folder)


def test_a_first_epoch_whose_validation_loss_is_no_number_is_better_than_none(project, tmp_path, scripted):
    scripted([0.9, 0.1], [None, 1e6])
    recipe, keeping = replace(QUICK, epochs=1, monitor="val_loss"), Keeping(tmp_path / "run")
    folder = training.run(project, recipe, keeping, HERE)
    assert epoch_of(folder / "best.pt") == 1
    training.run(project, replace(recipe, epochs=2), keeping, replace(HERE, resume=folder / "last.pt"))
    assert epoch_of(folder / "best.pt") == 2


@pytest.mark.parametrize("changes", [{"monitor": "off"}, {"val_period": 0}])
def test_without_a_score_to_watch_the_last_epoch_is_the_best(project, tmp_path, scripted, changes):
    asked = scripted([0.9, 0.1, 0.5])
    recipe = replace(QUICK, epochs=3, early_stop=1, **changes)  # never too long without a better one
    folder = training.run(project, recipe, Keeping(tmp_path / "off", ".pth"), HERE)
    assert len(asked) == (0 if "val_period" in changes else 3)
    assert [epoch_of(folder / f"{name}.pth") for name in ("best", "last")] == [3, 3]
    assert load_checkpoint(folder / "last.pth").training["epoch"] == 3


BACK = replace(QUICK, epochs=5)
RISING = [0.1, 0.2, 0.3, 0.4, 0.9]


@pytest.fixture
def go_back(project, tmp_path, scripted, monkeypatch):
    """Makes a run, goes back behind its second epoch for another three, and on for two: (recipe, scores by part...).

    Gives the run's folder and its last state after each part. Scores are shares of right pixels, 1 - loss of the
    validation and 1 - loss of the training alike.
    """

    def make(recipe: Recipe, *parts: list[float]):
        keeping = Keeping(tmp_path / "run", ".pth", save_period=2, tensorboard=False)
        starts = (None, "checkpoint-epoch2", "last")
        for part, start, epochs in zip(parts, starts, (5, 5, 7), strict=False):
            losses = [round(1 - share, 6) for share in part]
            scripted(part, losses)
            steps, step = iter(losses), Learner.step
            with monkeypatch.context() as patch:
                patch.setattr(Learner, "step", lambda *args: Step(True, step(*args).values | {"loss": next(steps)}))  # noqa: B023
                options = replace(HERE, resume=start and keeping.file(start))
                training.run(project, replace(recipe, epochs=epochs), keeping, options)
            yield keeping.folder, load_checkpoint(keeping.file("last")).training

    return make


@pytest.mark.parametrize("monitor", ["miou", "val_loss", "loss"])
def test_a_run_that_goes_back_keeps_a_best_that_it_does_not_reach(go_back, monitor):
    best = []
    parts = go_back(replace(BACK, monitor=monitor), RISING, [0.5, 0.7, 0.6], [0.8, 0.95])
    for folder, state in parts:
        best.append((epoch_of(folder / "best.pth"), load_checkpoint(folder / "best.pth").scores["miou"]))
        best[-1] += (state["best_epoch"] + 1,)  # of the history that the run has now
    assert best == [(5, 0.9, 5), (5, 0.9, 4), (7, 0.95, 7)]


def test_a_run_that_goes_back_to_the_same_epochs_ends_in_the_same_state(go_back):
    (folder, first), (_, second) = go_back(BACK, RISING, RISING[2:])
    assert second == first
    assert epoch_of(folder / "best.pth") == 5


def test_a_run_that_goes_back_stops_early_by_its_own_epochs(go_back):
    recipe = replace(BACK, early_stop=2)
    _, (_, state), (_, end) = go_back(recipe, RISING, [0.3, 0.4, 0.5], [0.4, 0.3])
    assert (state["epoch"], state["best_epoch"]) == (5, 4)
    assert (end["epoch"], end["best_epoch"]) == (7, 4)


def test_where_nothing_is_monitored_a_run_that_goes_back_has_its_last_epoch_as_the_best(go_back):
    best = []
    for folder, _ in go_back(replace(BACK, monitor="off"), RISING, [0.1, 0.1, 0.05]):
        best.append(load_checkpoint(folder / "best.pth").scores["miou"])
    assert best == [0.9, 0.05]


def test_losses_of_another_kind_are_not_compared(project, tmp_path, scripted):
    scripted([0.5, 0.5], [0.1, 2.0])
    keeping = Keeping(tmp_path / "run", ".pth")
    recipe = replace(QUICK, monitor="val_loss")
    folder = training.run(project, replace(recipe, epochs=1), keeping, HERE)
    options = replace(HERE, resume=folder / "last.pth")
    training.run(project, replace(recipe, epochs=2, loss="focal"), keeping, options)
    assert epoch_of(folder / "best.pth") == 2


def test_a_changed_monitor_starts_with_a_best_of_its_own(project, tmp_path, scripted):
    scripted([0.9, 0.1, 0.2])
    keeping = Keeping(tmp_path / "run", ".pth")
    folder = training.run(project, replace(QUICK, epochs=1), keeping, HERE)
    options = replace(HERE, resume=folder / "last.pth")
    training.run(project, replace(QUICK, epochs=2, monitor="loss"), keeping, options)
    assert load_checkpoint(folder / "last.pth").training["best_score"] < 0


def test_a_run_of_a_version_with_fewer_settings_goes_on(project, tmp_path, scripted):
    scripted([0.5, 0.6])
    keeping = Keeping(tmp_path / "run")
    recipe = replace(QUICK, epochs=2)
    folder = training.run(project, recipe, keeping, HERE)
    old = load_checkpoint(folder / "last.pt")
    fewer = {name: value for name, value in old.recipe.items() if name not in ("val_period", "flip", "rise")}
    save_checkpoint(folder / "last.pt", replace(old, recipe=fewer))
    training.run(project, recipe, keeping, HERE)
    with pytest.raises(SettingError, match="other settings \\(flip True -> False\\)"):
        training.run(project, replace(recipe, flip=False), keeping, HERE)


def test_curves_have_a_point_where_there_was_a_validation(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(
        journal.pyplot.Axes, "plot", lambda axes, x, y, **how: shown.append((how.get("label"), x, y)) or []
    )
    rows = [{"epoch": epoch, "loss": 1 / epoch, "lr": 0.1} for epoch in (1, 2, 3)]
    rows[1] |= {"val_loss": 0.6, "miou": 0.5, "iou building": 0.7, "iou grass": None}
    draw_curves(rows, GF2, tmp_path / "curves.png")
    lines = {label: (list(x), [round(value, 2) for value in y if value == value]) for label, x, y in shown}
    assert lines["loss"] == ([1, 2, 3], [1.0, 0.5, 0.33])
    assert lines["val_loss"] == ([2], [0.6])
    assert lines["mIoU"] == ([2], [0.5])
    assert lines["building"] == ([2], [0.7])
    assert lines["grass"] == ([2], [])
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_no_events_are_written_where_none_are_wanted(project, tmp_path, scripted):
    scripted([0.5])
    keeping = Keeping(tmp_path / "run", ".pth", tmp_path / "events", tensorboard=False, log_steps=1)
    folder = training.run(project, replace(QUICK, epochs=1), keeping, HERE)
    assert not (tmp_path / "events").exists()
    assert not list(folder.glob("events*"))


# ---- windows ----


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
