"""The docs' commands are replayed or say why not; their flags, columns and fields are those of the code."""

import ast
import contextlib
import csv
import glob
import io
import json
import re
import runpy
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from pages import DOCS, ROOT, SCRIPTS, TEXTS, blocks, commands
from test_readme import REPLAYED, SMALL, kind_of, shell_commands

from jingwei.legend import NODATA
from jingwei.models.checkpoints import load_checkpoint
from jingwei.training.recipes import Recipe

# Why a block is not replayed, as the comment above it says.
WHY = ("needs a cluster", "needs a GPU", "takes long", "needs data of its own", "installs packages")
# Flags of other programs, which the docs name too.
FOREIGN = {
    "--shm-size",
    "--logdir",
    "--nproc_per_node",
    "--nnodes",
    "--nthreads",
    "--ntasks-per-node",
    "--gpus-per-task",
}
# What makes a command of the docs small, where it is another than the README's.
SMALLER = SMALL | {
    "doctor.py": "--quick",
    "polygons.py": "",
    "train.py --config": "--scratch --epochs 1 --steps_per_epoch 2 --batch_size 2 --workers 0 --device cpu",
    "Unet_resnet34/train.py --refit": "--workers 0 --device cpu",  # all else is that of the run before
    "docs/draw_floors.py": "--output floors.svg",
    "docs/draw_schedules.py": "--output schedules.svg",
}
OWN = list(dict.fromkeys(c for text in TEXTS.values() for c in commands(text) if c not in REPLAYED))
PYTHON = [command for command in OWN if command.startswith("python ") and not command.startswith("python -m pytest ")]
# The quickstart makes what the recipes go on from.
PYTHON.sort(key=lambda command: command not in commands(DOCS["quickstart.md"]))


# ---- commands ----


def shown_files(text: str) -> dict[str, str]:
    """Path -> content of the JSON files that a text shows, each after the paragraph that names it in backticks."""
    shown = re.findall(r"`(\w+/\w+\.json)`(?:(?!```).)*?\n```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return dict(shown)


def write(path: Path, pixels_CHW: np.ndarray, **profile) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = pixels_CHW.shape
    profile |= {"count": bands, "height": height, "width": width, "dtype": pixels_CHW.dtype}
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels_CHW)


@pytest.fixture(scope="module")
def folder(draw_scene, tmp_path_factory) -> Path:
    """A folder with the data that the quickstart speaks of, and the JSON files that it shows."""
    root = tmp_path_factory.mktemp("docs")
    here = {"driver": "GTiff", "crs": "EPSG:32650", "transform": Affine(2, 0, 500000, 0, -2, 4400000)}
    for number, place, truth in [(1, "train_scenes", "train_scenes"), (2, "test_scenes", "truth")]:
        pixels, labels = draw_scene(230, 280, seed=number)
        bands = pixels.transpose(2, 0, 1).astype(np.uint16) * 40
        bands[3] = bands[0] // 2 + bands[1] // 3
        bands[:, pixels[..., 3] == 0] = 0
        write(root / "farm" / place / f"image_{number}.tif", bands, nodata=0, photometric="minisblack", **here)
        write(root / "farm" / truth / f"image_{number}_label.tif", labels[None] % 4, **here)
    for number in (1, 2, 3, 4, 5, 9):
        pixels, labels = draw_scene(96, 110, seed=number)
        side = root / "houses" / ("test" if number == 9 else "train")
        write(side / "img" / f"{number}.tif", np.ascontiguousarray(pixels[..., :3].transpose(2, 0, 1)), **here)
        write(side / "lbl" / f"{number}.png", np.where(labels[None] == 1, 255, 0).astype(np.uint8), driver="PNG")
    for name, content in shown_files(DOCS["quickstart.md"]).items():
        (root / name).write_text(content.replace('"pretrained": true', '"pretrained": false'), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def replayed(folder) -> dict[str, int]:
    """The status of every command that the docs have beyond those of the README, small, in their order."""
    torch.set_num_threads(1)
    outcomes = {}
    for command in PYTHON:
        script, *arguments = command.split()[1:]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            arguments = [path for each in arguments for path in (sorted(glob.glob(each)) or [each])]
            patch.setattr(sys, "argv", [script, *arguments, *SMALLER[kind_of(command)].split()])
            try:
                runpy.run_path(str(ROOT / script), run_name="__main__")
            except SystemExit as stopped:
                outcomes[command] = stopped.code or 0
            else:
                outcomes[command] = 0
    return outcomes


@pytest.mark.parametrize("command", PYTHON)
def test_the_command_ends_well(replayed, command):
    assert replayed[command] == 0


@pytest.mark.parametrize("name", TEXTS)
def test_every_command_is_replayed_or_says_why_not(name):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for why, block in blocks(TEXTS[name]):
        assert why is None or why in WHY, f"{name}: {why!r} is none of {WHY}"
        for command in shell_commands(f"```sh\n{block}```") if why is None else ():
            program, *arguments = command.split()
            assert program in ("python", "make"), f"{command}: say above its block why it is not replayed"
            if program == "make":
                assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in arguments), command
            elif arguments[:2] == ["-m", "pytest"]:
                assert_names_a_test(arguments[2])
            elif command not in REPLAYED:
                assert kind_of(command) in SMALLER, f"{command}: add {kind_of(command)} to SMALLER"


def assert_names_a_test(where: str) -> None:
    """That `tests/a/test_b.py::test_c` is there."""
    path, _, test = where.partition("::")
    assert (ROOT / path).exists(), where
    assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), where


@pytest.mark.parametrize("name", TEXTS)
def test_no_command_hides_outside_an_sh_block(name):
    prose = re.sub(r"^```.*?^```", "", TEXTS[name], flags=re.MULTILINE | re.DOTALL)
    hidden = re.findall(r"^ {4}(?:python|pip|make|torchrun|dask|kubectl|srun|#!/bin/bash).*", prose, re.MULTILINE)
    assert not hidden, f"put it into a block of `sh`: {hidden}"


def test_the_quickstart_shows_the_files_that_it_needs():
    assert set(shown_files(DOCS["quickstart.md"])) == {"farm/legend.json", "houses/legend.json", "houses/config.json"}


def test_own_classes_and_bands_come_through_to_maps_polygons_and_report(replayed, folder):
    checkpoint = load_checkpoint(folder / "farm/model/attention_unet/first/best.pt")
    assert (checkpoint.spec.bands, checkpoint.dtype) == (4, "uint16")
    assert checkpoint.legend.names == ("other", "wheat", "maize", "forest")
    with rasterio.open(folder / "farm/test/mask2/filled.tif") as filled:
        assert (filled.crs.to_epsg(), filled.transform.a) == (32650, 2)
        assert set(np.unique(filled.read(1))) <= {0, 1, 2, 3, NODATA}
    assert (folder / "farm/polygons/image_2.gpkg").exists()
    assert (folder / "farm/report/index.html").exists()


def test_masks_of_0_and_255_come_through_to_maps_polygons_and_report(replayed, folder):
    (run,) = (folder / "saved" / "houses").iterdir()
    assert load_checkpoint(run / "best.pth").legend.names == ("other", "house")
    beside = {f"9_{kind}{ending}" for kind in ("gt", "label") for ending in (".png", ".pgw", ".png.aux.xml")}
    assert {path.name for path in (folder / "houses/found").iterdir()} == {"9.xml"} | beside
    (labels,) = folder.glob("houses/maps/test/mask_9/houses_*.tif")
    with rasterio.open(labels) as found:
        assert found.crs.to_epsg() == 32650
    assert (folder / "houses/maps/polygons/9.gpkg").exists()
    assert (folder / "houses/maps/report/index.html").exists()


# ---- flags ----

HELP: dict[tuple[str, ...], set[str]] = {}


class Text(io.StringIO):
    """What is printed."""

    def reconfigure(self, **how):
        """As sys.stdout has it."""


def flags_of(*command: str) -> set[str]:
    """The flags that a script names in its --help_all: (script,), or (script, "--config", file)."""
    if command not in HELP:
        script = ROOT / command[0]
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(Text()) as text:
            patch.syspath_prepend(script.parent)
            patch.setattr(
                sys, "argv", [*command, "-h" if command[0].startswith(("benchmarks/", "docs/")) else "--help_all"]
            )
            with contextlib.suppress(SystemExit):
                runpy.run_path(str(script), run_name="__main__")
        HELP[command] = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", text.getvalue()))
        assert HELP[command], f"{command[0]} -h names no flag"
    return HELP[command]


def script_and_flags(words: list[str]) -> tuple[tuple[str, ...], list[str]] | None:
    """What -h is to be asked for, and the flags that follow it; None where no script of ours is called."""
    for place, word in enumerate(words):
        if word.endswith(".py") and not word.startswith("tests/") and (ROOT / word).is_file():
            rest = [w.split("=")[0] for w in words[place + 1 :]]
            by_config = word == "train.py" and {"--config", "-c", "-r"} & set(rest)
            named = (word, "--config", "FILE") if by_config else (word,)
            return named, [w for w in rest if re.match(r"--?[a-z]", w) and w != "-h"]
    return None


@pytest.mark.parametrize("name", TEXTS)
def test_every_flag_of_a_command_is_one_of_its_script(name):
    for why in (None, *WHY):
        for command in commands(TEXTS[name], why):
            found = script_and_flags(command.split())
            if found:
                named, flags = found
                assert set(flags) <= flags_of(*named), f"{command}: {named[0]} -h has other flags"


@pytest.mark.parametrize("name", TEXTS)
def test_every_flag_in_the_text_is_one_of_a_script(name):
    prose = re.sub(r"^```.*?^```", "", TEXTS[name], flags=re.MULTILINE | re.DOTALL)
    every = set().union(*(flags_of(script) for script in SCRIPTS), flags_of("train.py", "--config", "FILE"), FOREIGN)
    every |= _flags_in_blocks(name)
    for span in re.findall(r"`([^`]+)`", prose):
        flags = re.findall(r"(?<![\w-])--[a-z][\w-]*", span)
        script = script_and_flags(span.split()) if flags else None
        known = flags_of(*script[0]) | FOREIGN if script else every
        assert set(flags) <= known, f"{name}: `{span}`"


def _flags_in_blocks(name: str) -> set[str]:
    """The flags of the commands that a text has in its blocks: it may speak of them again."""
    every = [command for why in (None, *WHY) for command in commands(TEXTS[name], why)]
    return {word for command in every for word in command.split() if word.startswith("--")}


def test_every_field_of_a_recipe_is_told():
    told = set(re.findall(r"`--(\w+)", DOCS["recipes.md"]))
    for field in fields(Recipe):
        name = {"name": "exp", "pretrained": "scratch"}.get(field.name, field.metadata["flag"] or field.name)
        assert {name, f"no_{name}"} & told, f"--{name} stands nowhere in recipes.md"


def test_the_picture_of_the_house_is_the_one_that_is_there(replayed, folder):
    drawn = (folder / "floors.svg").read_text(encoding="utf-8")
    assert (ROOT / "docs" / "floors.svg").read_text(encoding="utf-8") == drawn, "run python docs/draw_floors.py"


# ---- formats ----


def told(name: str) -> bool:
    """Whether formats.md has a name in backticks."""
    return f"`{name}`" in DOCS["formats.md"]


def test_the_formats_page_knows_the_columns_and_fields_that_are_written(replayed, folder):
    farm = folder / "farm"
    with open(farm / "train" / "crops.csv", newline="") as file:
        columns = next(csv.reader(file))
    assert not [c for c in columns if not told(re.sub(r"\d+$", "1" if c[0] != "c" else "0", c))]
    with open(farm / "model/attention_unet/first/log.csv", newline="") as file:
        columns = next(csv.reader(file))
    assert not [c for c in columns if not told(c) and not c.startswith("iou ") and c not in ("focal", "lovasz")]
    experiment = farm / "model/attention_unet/first"
    content = torch.load(experiment / "best.pt", weights_only=True)
    assert not [key for key in (*content, *content["spec"]) if not told(key)]
    for path in experiment.iterdir():
        assert told(path.name) or path.name.startswith("events"), path
    (source,) = (folder / "saved" / "data").glob("*/train/source.json")
    assert json.loads(source.read_text()) == {}


def test_the_formats_page_knows_the_keys_of_radar_settings():
    tree = ast.parse((ROOT / "jingwei" / "inputs" / "sar.py").read_text(encoding="utf-8"))
    (settings,) = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "SarSettings"]
    assert not [n.target.id for n in settings.body if isinstance(n, ast.AnnAssign) and not told(n.target.id)]


# ---- the tests themselves ----


def test_a_marker_holds_for_the_block_below_it_alone():
    text = "<!-- needs a GPU -->\n```sh\na\n```\n\n```sh\nb\n```\n<!-- needs a GPU -->\n\n```sh\nc\n```\n"
    assert commands(text) == ["b", "c"]
    assert commands(text, "needs a GPU") == ["a"]


def test_shown_files_belong_to_the_name_right_above_them():
    text = "`a/b.json` and `c/d.json` say:\n\n```json\n1\n```\n`e/f.json`:\n\n```json\n2\n```\n"
    assert shown_files(text)["e/f.json"] == "2\n"
