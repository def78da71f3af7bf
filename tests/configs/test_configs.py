"""Config files of system B: what they say, and every mistake in them named."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from config_files import TEMPLATE, TINY, changed

from jingwei.configs.config import config_from_dict, read_config
from jingwei.configs.sections import MONITORS, OPTIMIZERS, SCHEDULERS, explain_keys
from jingwei.errors import SettingError
from jingwei.inputs.sar import SarSettings
from jingwei.legend import GF2, GF3, JINGWEI, NODATA
from jingwei.models import fcn8
from jingwei.models.families import ALIASES, MODELS
from jingwei.models.libraries import smp
from jingwei.training.distributed import Team
from jingwei.training.learner import Learner
from jingwei.training.position import Position
from jingwei.training.recipes import LOSS_ALIASES, Recipe
from jingwei.training.schedules import learning_rate, momentum
from jingwei.training.start import DataKind, Start

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "configs").glob("*.json"))


def mistakes(content) -> str:
    with pytest.raises(SettingError) as raised:
        config_from_dict(content, "my.json")
    message = str(raised.value)
    assert message.startswith("my.json: ")
    assert all(line.startswith("  * ") for line in message.splitlines()[1:])
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
    with pytest.raises(
        SettingError, match="args.legend .*legend.json: is not JSON .*: see the example of a legend in [^:]*$"
    ):
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
    assert "5 problems: " in message
    assert message.count("\n  * ") == 5
    for part in (
        'arch.type is "PSPnet": did you mean PSPNet? known are FCN8, UNet, ',
        "loss Tversky: 'Tversky' is not a loss, known are cross_entropy, ",
        "trainer.epoch is not a key: did you mean epochs? known are epochs, save_dir, ",
        'trainer.save_period is "ten", not a whole number',
        "optimizer.args.lr is -0.1, not above 0",
    ):
        assert part in message


MISTAKES = {
    "train_loader.args.batchsize is not a key: did you mean batch_size? known are data_dir, ": {
        "train_loader__args__batchsize": 3,
    },
    "seed is not a key: known are name, n_gpu,": {"seed": 3},
    "recipe.sead is not a key: did you mean seed? known are class_weights, ": {"recipe__sead": 3},
    "recipe.epochs is not a key: it is trainer.epochs": {"recipe__epochs": 3},
    "recipe.seed is true, not a whole number": {"recipe__seed": True},
    "recipe.ema is 1, not from 0 to below 1": {"recipe__ema": 1},
    'recipe.precision is "fp8"|recipe.precision is fp8, not one of auto, fp32': {"recipe__precision": "fp8"},
    "arch is 3, not a section": {"arch": 3},
    "arch.args.freeze_bn is 1, not true or false": {"arch__args__freeze_bn": 1},
    "arch.args.in_channels is 0, below 1": {"arch__args__in_channels": 0},
    "arch.args.backbone resnet5: no such encoder, did you mean resnet50? known are resnet18": {
        "arch__args__backbone": "resnet5"
    },
    "arch.args.output_stride 32: pspnet can't have it, choose 8 or 16": {"arch__args__output_stride": 32},
    "arch.args.pretrained is true, but there are no ImageNet weights for ENet": {
        "arch": {"type": "ENet", "args": {"pretrained": True}}
    },
    'name is "a/b", which can\'t be a folder': {"name": "a/b"},
    'name is "..", which can\'t be a folder': {"name": ".."},
    'name is "runs", which is a folder of other things': {"name": "runs"},
    'name is "a:b", which can\'t be a folder': {"name": "a:b"},
    "name is missing": {"name": ...},
    "name is empty": {"name": ""},
    "loss is empty": {"loss": ""},
    "arch.type is empty": {"arch": {"type": ""}},
    "train_loader.args.crop_size is 30000, above 8192 px": {
        "train_loader__args__crop_size": 30000, "train_loader__args__base_size": None,
    },
    "train_loader.args.tile_size is 9000, above 8192 px": {"train_loader__args__tile_size": 9000},
    "train_loader.args.scale begins at 0.01: windows of 512 px show 51200 px": {
        "train_loader__args__scale": [0.01, 1], "train_loader__args__crop_size": 512,
        "train_loader__args__base_size": None,
    },
    "recipe.class_weights: ": {"recipe__class_weights": "1,2"},
    "lr_scheduler.args.power is -1, not above 0": {"lr_scheduler__args__power": -1},
    "train_loader.args.data_dir is \"nowhere\": no such folder": {
        "train_loader__type": "Folders", "val_loader": {}, "train_loader__args__data_dir": "nowhere",
    },
    "trainer.epochs is missing": {"trainer__epochs": ...},
    "n_gpu is -1, below 0": {"n_gpu": -1},
    "ignore_index is 0, not 255: pixels of no class are 255 here": {"ignore_index": 0},
    "ignore_index is null, not a whole number": {"ignore_index": None},
    "train_loader.args.crop_size is 16, below 32 px": {"train_loader__args__crop_size": 16},
    "train_loader.args.batch_size is 0, not above 0": {"train_loader__args__batch_size": 0},
    "train_loader.args.scale is [2, 0.5]|train_loader.args.scale 0.5 is below min_scale 2": {
        "train_loader__args__scale": [2, 0.5]
    },
    "train_loader.args.scale is not a pair": {"train_loader__args__scale": [2]},
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
    "train_loader.args.legend is missing": {
        "train_loader__type": "Folders", "val_loader": {}, "train_loader__args__data_dir": ".",
    },
    "train_loader.args.sar is given, but the type is optical": {"train_loader__args__sar": {}},
    "train_loader.args.sar.leee is not a key: did you mean lee? known are values, lee,": {
        "train_loader__type": "GF3", "val_loader__type": "GF3", "train_loader__args__sar": {"leee": 7},
    },
    "train_loader.args.sar: is not a window's side": {
        "train_loader__type": "GF3", "val_loader__type": "GF3", "train_loader__args__sar": {"lee": 4},
    },
    'train_loader.type is "VOC": known are SAT, GF2, GF3, Folders': {
        "train_loader__type": "VOC", "val_loader__type": "VOC",
    },
    "val_loader.type is GF2, but train_loader.type is SAT": {"val_loader__type": "GF2"},
    "val_loader.args.data_dir is elsewhere, not the valid/ beside": {"val_loader__args__data_dir": "elsewhere"},
    'optimizer.type is "RMSprop": known are SGD, Adam, AdamW': {"optimizer__type": "RMSprop"},
    "optimizer.args.nesterov is not a key: known are lr, weight_decay, momentum": {"optimizer__args__nesterov": True},
    "optimizer.args.momentum is 1, not from 0 to below 1": {"optimizer__args__momentum": 1},
    'lr_scheduler.type is "Step": known are Poly, OneCycle': {"lr_scheduler__type": "Step"},
    "lr_scheduler.args.power is not a key: known are phase1,": {
        "lr_scheduler": {"type": "OneCycle", "args": {"power": 1}}
    },
    "lr_scheduler.args.momentums is not a pair": {"lr_scheduler": {"type": "OneCycle", "args": {"momentums": [1]}}},
    "lr_scheduler.args.phase1 is 1, not from 0 to below 1": {
        "lr_scheduler": {"type": "OneCycle", "args": {"phase1": 1}}
    },
    "lr_scheduler.args.warmup_epochs is 100, of 100 epochs": {"lr_scheduler__args__warmup_epochs": 100},
    'trainer.monitor is "min Mean_IoU": did you mean max Mean_IoU? known are ': {"trainer__monitor": "min Mean_IoU"},
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


def test_names_may_have_spaces():
    assert config_from_dict(changed(TEMPLATE, name="my first")).recipe.name == "my first"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"name": "a", "train": {"dir": "D:\\data"}}', "write paths with /, as in D:/data"),
        ('{"name": "a", "arch": {"type": "UNet", "type": "ENet"}}', "has the key type twice: keep one of them"),
    ],
)
def test_what_json_itself_says_little_of_gets_a_remedy(tmp_path, text, part):
    (tmp_path / "my.json").write_text(text)
    with pytest.raises(SettingError, match=part):
        read_config(tmp_path / "my.json")


@pytest.mark.parametrize("content", [3, [], None, "x"])
def test_a_file_of_something_else_is_refused(content):
    assert "the file is " in mistakes(content)


@pytest.mark.parametrize("text", ["", "{", '{"name": "x", // a comment\n}', "\xff"])
def test_a_file_that_is_no_json_gets_one_line(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingError, match="x.json: is not (JSON|UTF-8 text)") as raised:
        read_config(path)
    assert "\n" not in str(raised.value)
    with pytest.raises(SettingError, match="none.json: no such file"):
        read_config(tmp_path / "none.json")


# ---- one step of everything ----

SMALL = {"fcn8": "vgg11", "unet": "plain16", "segnet": "vgg11_bn", "enet": "enet", "pspdensenet": "densenet121",
         "segformer": "mit_b0", "vit": "vit_tiny_patch16_224"}  # fmt: skip


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
    good, values = learner.step(Position(30, 1), [(pixels, labels)])
    assert good
    assert values["loss"] > 0
    assert any(not torch.equal(a, b) for a, b in zip(before, learner.model.parameters(), strict=True))
    encoder, heads = learner.optimizer.param_groups
    assert values["lr"] == encoder["lr"] == learning_rate(61, 200, recipe)
    assert heads["lr"] == pytest.approx(10 * encoder["lr"])  # differential_lr
    held = {group.get("momentum", group.get("betas", (None,))[0]) for group in (encoder, heads)}
    assert held == {momentum(61, 200, recipe)}


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
