"""The commands of the README and of the pages that continue it, run on a tiny county: they do what they promise."""

import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from jingwei.legend import GF2, JINGWEI, NODATA
from jingwei.models.checkpoints import load_checkpoint
from jingwei.raster.crop_files import read_crop
from jingwei.training.curves import draw_curves
from jingwei.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
# Replayed one after another, in one folder.
PAGES = ("README.md", "Unet_resnet34/README.md", "docs/pipeline.md", "docs/gf2_gf3.md")
SMALL_TRAINING = (
    "--scratch --backbone test_resnet --output_stride 16 --crop_size 64 --batch_size 2 --epochs 1 "
    "--steps_per_epoch 2 --workers 0 --device cpu"
)
# What makes each command small. A script that is missing here fails the replay: add it, so that it is replayed too.
SMALL = {
    "doctor.py": "{data} --quick",
    "generate_train_data.py": "--crop_size 64",
    "generate_test_data.py": "",
    "train.py": SMALL_TRAINING,
    "train_focalloss.py": SMALL_TRAINING,
    "train_swa.py": SMALL_TRAINING,
    "train_multiscale.py": SMALL_TRAINING.replace("--crop_size 64", "--crop_size 64 48"),
    "Unet_resnet34/train.py": SMALL_TRAINING,
    "predict.py": "--window 96 --overlap 24 --device cpu",
    "Unet_resnet34/predict.py": "--window 96 --overlap 24 --device cpu",
    "vote.py": "",
    "fill_hole.py": "",
    "evaluate.py": "",
    "report.py": "",
    "polygons.py": "",
    "export.py": "--tile 64",
    "data/make_gf_sample.py": "--data_dir {data}/gf_sample --scenes 3 --size 96",
    "train.py --config": "--epochs 1 --steps_per_epoch 2 --batch_size 2 --workers 0 --device cpu",
    "inference.py": "--window 96 --overlap 24 --device cpu",
}
# Those that are told all paths.
NO_DATA_DIR = ("doctor.py", "data/make_gf_sample.py", "train.py --config", "inference.py")


def shell_commands(text: str) -> list[str]:
    """The commands of the fenced `sh` blocks, in order, continued lines joined, comments left out."""
    blocks = re.findall(r"^```(?:sh|bash|shell|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [" ".join(shlex.split(line, comments=True)) for line in lines if shlex.split(line, comments=True)]


BY_PAGE = {page: shell_commands((ROOT / page).read_text(encoding="utf-8")) for page in PAGES}
COMMANDS = BY_PAGE["README.md"]
REPLAYED = [command for commands in BY_PAGE.values() for command in commands]  # in order, repeated ones too


def kind_of(command: str) -> str:
    """A command's key in SMALL."""
    script, *arguments = command.split()[1:]
    return next((f"{script} {flag}" for flag in ("--config", "--refit") if flag in arguments), script)


def small_arguments(command: str, data: Path) -> tuple[str, list[str]]:
    """A README command as (script, arguments) that runs on the tiny county. KeyError for a script not known here."""
    script, *arguments = command.split()[1:]
    kind = kind_of(command)
    in_data = re.compile(r"^data(/sample)?(?=/|$)")
    arguments = [in_data.sub(str(data), argument) for argument in arguments]
    arguments += SMALL[kind].format(data=data).split()
    return script, arguments if kind in NO_DATA_DIR else [*arguments, "--data_dir", str(data)]


@pytest.fixture(scope="module")
def replayed(county, tmp_path_factory) -> dict:
    """The project folder after all commands, and how each of them ended: {"data": folder, command: status}."""
    torch.set_num_threads(1)
    data = tmp_path_factory.mktemp("readme") / "data"
    shutil.copytree(county, data)
    (data.parent / "configs").symlink_to(ROOT / "configs")
    outputs: dict = {"data": data}
    for command in REPLAYED:
        if command.startswith("python "):
            script, arguments = small_arguments(command, data)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", [script, *arguments])
                patch.setattr("jingwei.training.log.draw_curves", draw_curves)
                patch.syspath_prepend((ROOT / script).parent)  # as Python does for a script
                patch.chdir(data.parent)  # system B's paths start here: data/, configs/, saved/
                try:
                    runpy.run_path(str(ROOT / script), run_name="__main__")
                    status = 0
                except SystemExit as stopped:
                    status = stopped.code or 0
                outputs[command] = outputs.get(command) or status
    return outputs


def test_every_command_is_one_that_is_tested_here():
    assert all(BY_PAGE.values())
    for command in REPLAYED:
        program, *arguments = command.split()
        assert program in ("python", "make"), f"{command}: neither replayed nor looked up"
        if program == "python":
            assert kind_of(command) in SMALL, f"{command}: add {kind_of(command)} to SMALL, so that it is replayed"
            assert (ROOT / arguments[0]).is_file()


def test_the_pages_show_every_stage():
    assert {kind_of(command) for command in REPLAYED if command.startswith("python ")} >= set(SMALL)


def test_the_readme_has_the_commands_of_the_contests_readme_to_the_letter():
    assert {
        "python generate_train_data.py",
        "python generate_test_data.py",
        "python train.py --train --exp bn_lr7e-3 --epochs 20 --base_lr 0.007",
        "python train_focalloss.py --train --exp bn_lr7e-3 --epochs 20 --base_lr 0.007",
        "python train_swa.py --train --exp bn_lr7e-3 --epochs 30 --base_lr 0.007",
        "python train_multiscale.py --train --exp bn_lr7e-3 --epochs 30 --base_lr 0.007",
        "python predict.py",
        "python vote.py",
        "python fill_hole.py",
    } <= set(COMMANDS)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 1200


@pytest.mark.parametrize("command", [c for c in dict.fromkeys(REPLAYED) if c.startswith("make ")])
def test_make_has_every_target_that_the_pages_name(command):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in command.split()[1:]:
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("command", [c for c in dict.fromkeys(REPLAYED) if c.startswith("python ")])
def test_the_command_ends_well(replayed, command):
    assert replayed[command] == 0


def experiments() -> list[tuple[str, str]]:
    """(recipe, experiment) of every training command of the README."""
    recipes = {
        "train.py": "cross_entropy",
        "train_focalloss.py": "focal_lovasz",
        "train_swa.py": "swa",
        "train_multiscale.py": "multiscale",
        "Unet_resnet34/train.py": "attention_unet",
    }
    found = []
    for command in COMMANDS:
        parts = command.split()
        if "--train" in parts:
            found.append((recipes[parts[1]], parts[parts.index("--exp") + 1]))
    return found


def test_cutting_leaves_crops_of_the_same_name_and_their_table(replayed):
    train = replayed["data"] / "train"
    pictures, labels = ({path.name for path in (train / kind).iterdir()} for kind in ("data", "label"))
    assert labels <= pictures  # a picture without labels on its side of this split waits for another split
    assert "image_1_000128_000064.png" in pictures
    rows = (train / "crops.csv").read_text().splitlines()
    assert len(rows) == len(labels) + 1
    assert {"name", "scene", "row", "col", "split"} < set(rows[0].split(","))
    assert (train / "split_image_1.png").exists()


def test_the_test_scene_is_a_tiled_geotiff_with_mask_and_room_for_maps(replayed):
    with rasterio.open(replayed["data"] / "test" / "image3" / "image_3.tif") as scene:
        assert scene.shape == (170, 140)
        assert scene.block_shapes[0] == (256, 256)
        assert scene.count == 3
        alpha = read_crop_alpha(replayed["data"])
        np.testing.assert_array_equal(scene.read_masks(1) != 0, alpha != 0)


def read_crop_alpha(data: Path) -> np.ndarray:
    with rasterio.open(next(data.glob("*test*/image_3.png"))) as scene:
        return scene.read(4)


@pytest.mark.parametrize(("recipe", "exp"), experiments())
def test_training_leaves_the_files_of_an_experiment(replayed, recipe, exp):
    folder = replayed["data"] / "model" / recipe / exp
    names = {path.name for path in folder.iterdir()}
    assert {"last.pt", "best.pt", "recipe.json", "log.csv", "curves.png"} < names
    assert any(name.startswith("events.out.tfevents") for name in names)


def test_predicting_voting_and_filling_leave_their_maps(replayed):
    folder = replayed["data"] / "test" / "mask3"
    files = {path.name for path in folder.iterdir() if path.is_file()}
    maps = {name for name in files if name.endswith(".tif")}
    assert maps == {f"{recipe}_{exp}.tif" for recipe, exp in experiments()} | {
        "vote.tif",
        "agreement.tif",
        "entropy.tif",
        "filled.tif",
    }
    assert {name.replace(".tif", ".qml") for name in maps} <= files
    assert {path.name for path in (folder / "confidence").iterdir()} >= {"vote.tif"}
    outside = read_crop_alpha(replayed["data"]) == 0
    for name in maps:
        with rasterio.open(folder / name) as written:
            assert written.shape == (170, 140)
            assert written.nodata == NODATA
            values = written.read(1)
        np.testing.assert_array_equal(values == NODATA, outside)
        highest = 100 if name in ("agreement.tif", "entropy.tif") else len(JINGWEI) - 1
        assert values[~outside].max() <= highest


def test_the_submission_is_the_filled_map_at_the_scenes_size_with_ids_of_the_legend_alone(replayed):
    submitted = sorted(path.name for path in (replayed["data"] / "submit").iterdir())
    assert submitted == ["fill_vis_3.png", "image_3_predict.png", "image_3_predict.qml"]
    with rasterio.open(replayed["data"] / "submit" / "image_3_predict.png") as png:
        assert (png.count, png.dtypes, png.shape) == (1, ("uint8",), (170, 140))
        labels = png.read(1)
    assert set(np.unique(labels)) <= set(range(len(JINGWEI)))
    with rasterio.open(replayed["data"] / "test" / "mask3" / "filled.tif") as filled:
        values = filled.read(1)
    np.testing.assert_array_equal(labels, np.where(values == NODATA, 0, values))
    assert read_crop(replayed["data"] / "submit" / "fill_vis_3.png").shape[2] == 3


def test_samples_of_system_b_become_pictures_and_annotations(replayed):
    maps = replayed["data"] / "gf_sample" / "maps" / "optical"
    names = ["test_A/6.xml", "test_A/6_gt.png", "test_B/7.xml", "test_B/7_gt.png"]
    assert sorted(str(path.relative_to(maps)) for path in maps.rglob("*.*")) == names
    assert read_crop(maps / "test_A" / "6_gt.png").shape == (96, 96, 3)


def test_a_config_leaves_a_run_that_can_be_gone_on_with(replayed):
    (run,) = (replayed["data"].parent / "saved" / "GF2_cpu").iterdir()
    names = {path.name for path in run.iterdir()}
    assert {"best.pth", "last.pth", "config.json", "log.csv", "curves.png"} <= names
    assert load_checkpoint(run / "best.pth").legend == GF2


def test_the_report_has_a_page_and_the_layers_of_the_scene(replayed):
    report = replayed["data"] / "report"
    assert (report / "index.html").is_file()
    layers = {path.name.split("-")[0] for path in (report / "tiles" / "image_3").iterdir()}
    assert layers == {"scene", "map", "confidence", "truth"}  # the last vote was a soft one


def test_the_workspace_finds_all_of_it(replayed):
    workspace = Workspace(replayed["data"])
    scene = next(iter(workspace.cut_scenes()))
    assert len(workspace.predictions(scene)) == len(experiments())
    assert workspace.vote_or_best(scene).name == "vote.tif"
    assert not list(replayed["data"].rglob("*.part"))


def test_an_unknown_command_would_fail_this_file(tmp_path):
    text = "```sh\npython surprise.py --x  # why not\n```\n```json\nnot a command\n```\n"
    assert shell_commands(text) == ["python surprise.py --x"]
    with pytest.raises(KeyError):
        small_arguments("python surprise.py --x", tmp_path)
