"""Config files of system B: what their keys mean, and one training step of everything."""

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
