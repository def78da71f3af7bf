"""Flags that all commands have, and other names of flags."""

import os
import re
from dataclasses import fields

import pytest
from in_process import status_of

from jingwei.cli.parser import Parser
from jingwei.raster.opening import ALLOW_REMOTE, remote_allowed
from jingwei.system.progress import Progress
from jingwei.training.recipes import Recipe
from jingwei.training.schedules import SCHEDULES


@pytest.fixture
def parsed(monkeypatch):
    """What a parser with a pair of flags and one of two names makes of arguments."""
    monkeypatch.setenv(ALLOW_REMOTE, "")
    monkeypatch.setattr(Progress, "hidden", False)
    parser = Parser("Tries flags.")
    parser.flag("crop_size", "a side", "window", type=int, nargs="+", default=[9])
    parser.flag("input", "a file")
    parser.flag("output", "a file")
    parser.pair("input", "output")
    return parser.parse_args


@pytest.mark.parametrize("name", ["--crop_size", "--crop-size", "--window"])
def test_a_flag_may_have_other_names(parsed, name):
    assert parsed([name, "5", "6"]).crop_size == [5, 6]


def test_training_takes_the_side_of_its_windows_by_either_name(call):
    help_text = call("train.py", "-h")[1]
    assert "--crop_size" in help_text
    assert "--window" in help_text


def test_half_of_a_pair_is_refused(parsed):
    from jingwei.errors import SettingError

    assert parsed(["--input", "a", "--output", "b"]).output == "b"
    with pytest.raises(SettingError, match="--input and --output go together: give both or neither"):
        parsed(["--output", "b"])


def test_who_trusts_a_file_says_so_to_all_processes(parsed):
    parsed([])
    assert not remote_allowed()
    parsed(["--allow_remote"])
    assert remote_allowed()
    assert os.environ[ALLOW_REMOTE] == "1"


def test_status_of_gives_what_a_command_ends_with():
    assert status_of(lambda: None) == 0


@pytest.mark.parametrize("script", ["train.py", "train_swa.py", "Unet_resnet34/train.py", "predict.py"])
def test_help_is_short_and_help_all_has_every_flag_in_a_group(call, script):
    short, long = (set(re.findall(r"^  (?:-h, )?--(\w+)", call(script, flag)[1], re.MULTILINE))
                   for flag in ("-h", "--help_all"))  # fmt: skip
    assert 12 <= len(short - {"help", "help_all"}) <= 14
    assert short < long
    out = call(script, "-h")[1]
    assert f"{len(long - short)} more flags: --help_all explains every one." in out
    left = call(script, "--help_all")[1].split("\noptions:\n")[1]
    assert set(re.findall(r"^  (?:-h, )?--(\w+)", left, re.MULTILINE)) == {"help", "help_all", "quiet", "allow_remote"}


def test_a_parser_with_few_flags_shows_all_of_them(call):
    short, long = (set(re.findall(r"--\w+", call("vote.py", flag)[1])) for flag in ("-h", "--help_all"))
    assert short == long


def test_the_help_names_every_schedule():
    (text,) = (field.metadata["help"] for field in fields(Recipe) if field.name == "schedule")
    assert all(name in text for name in SCHEDULES)
