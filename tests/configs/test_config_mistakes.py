"""Mistakes in config files: every one is named, with what to write instead."""

import pytest
from config_files import TEMPLATE, changed

from jingwei.configs.config import config_from_dict, read_config
from jingwei.errors import SettingError

pytestmark = pytest.mark.usefixtures("one_thread")


def mistakes(content) -> str:
    with pytest.raises(SettingError) as raised:
        config_from_dict(content, "my.json")
    message = str(raised.value)
    assert message.startswith("my.json: ")
    assert all(line.startswith("  * ") for line in message.splitlines()[1:])
    return message


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
    "train_loader.args.scale is 0.01: windows of 512 px would show 51200 px": {
        "train_loader__args__scale": [0.01, 1], "train_loader__args__crop_size": 512,
        "train_loader__args__base_size": None,
    },
    "train_loader.args.scale is 0.02: windows of 512 px would show 25600 px": {
        "train_loader__args__scale": [0.02, 1], "train_loader__args__crop_size": 512,
        "train_loader__args__base_size": None, "train_loader__args__tile_size": 1024,
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


def test_a_validation_from_another_folder_than_the_valid_beside_train_is_refused(tmp_path):
    """It would be scored on that valid, without a word."""

    def config_of(named: str) -> dict:
        folders = {"train_loader__args__data_dir": tmp_path / "train", "val_loader__args__data_dir": tmp_path / named}
        return changed(TEMPLATE, **{key: str(folder) for key, folder in folders.items()})

    for name in ("train", "val", "test"):
        (tmp_path / name).mkdir()
    assert config_from_dict(config_of("val")).data.root == tmp_path
    for named in ("test", "valid"):  # of which one is not what is read, the other not there
        assert f"val_loader.args.data_dir is {tmp_path / named}, not the valid/ beside" in mistakes(config_of(named))
    (tmp_path / "valid").mkdir()
    assert config_from_dict(config_of("valid")).data.root == tmp_path
    assert f"val_loader.args.data_dir is {tmp_path / 'val'}, not the valid/ beside" in mistakes(config_of("val"))
