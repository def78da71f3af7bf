"""Recipes: to JSON and back, and every mistake named."""

import json
import math
import re
from dataclasses import fields, replace

import pytest

from jingwei.errors import SettingError
from jingwei.training.losses import parse_loss
from jingwei.training.recipes import CROSS_ENTROPY, RECIPES, Recipe, quick, read_recipe, recipe_from_dict
from jingwei.training.schedules import find_schedule


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_recipe_survives_its_json(recipe, tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(recipe.to_dict()))
    assert read_recipe(path) == recipe


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_named_recipe_passes_its_own_check_and_names_known_parts(recipe):
    assert recipe.check() is recipe
    parse_loss(recipe.loss)
    find_schedule(recipe.schedule)
    assert RECIPES[recipe.name] is recipe


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_quick_recipe_keeps_its_loss_schedule_and_kinds_of_windows(recipe):
    small = quick(recipe).check()
    for name in ("name", "loss", "schedule", "average_cycles", "pretrained"):
        assert getattr(small, name) == getattr(recipe, name)
    assert [2 * size for size in small.crop_sizes] == list(recipe.crop_sizes)
    assert small.epochs * small.steps_per_epoch == 400
    assert (small.ema > 0) != small.average_cycles


def test_a_quick_recipe_with_another_loss_says_which_of_its_settings_is_in_the_way():
    with pytest.raises(SettingError, match=r"class_weights is balanced, but the loss dice .* \(equal leaves it out\)"):
        replace(quick(CROSS_ENTROPY), loss="dice").check()
    replace(quick(CROSS_ENTROPY), loss="dice", class_weights="equal").check()


def test_a_part_of_a_recipe_keeps_the_defaults_of_the_rest():
    recipe = recipe_from_dict({"epochs": 3, "crop_sizes": [448, 512]})
    assert recipe == replace(Recipe(), epochs=3, crop_sizes=(448, 512))


def test_unknown_keys_are_an_error_that_lists_the_known_ones():
    with pytest.raises(SettingError) as raised:
        recipe_from_dict({"epochs": 3, "learning_rate": 0.1, "lr": 0.2}, where="my.json")
    message = str(raised.value)
    assert message.startswith("my.json: unknown keys learning_rate, lr: known are ")
    for field in fields(Recipe):
        assert field.name in message


def test_values_of_a_wrong_type_are_named_all_at_once():
    content = {"epochs": 3.5, "base_lr": "fast", "flip": 1, "seed": True, "crop_sizes": [512, "x"], "ema": float("nan")}
    with pytest.raises(SettingError) as raised:
        recipe_from_dict(content | {"lr": 1})
    message = str(raised.value)
    for problem in ["epochs is 3.5, not a whole number", 'base_lr is "fast", not a number', "seed is true, not a whole",
                    "flip is 1, not true or false", 'crop_sizes is [512, "x"], not a list, each a whole number',
                    "ema is NaN, not a number", "unknown keys lr"]:  # fmt: skip
        assert problem in message
    assert recipe_from_dict({"base_lr": 1, "momentum": 0}) == replace(Recipe(), base_lr=1.0, momentum=0.0)


def test_check_refuses_what_is_no_choice():
    with pytest.raises(
        SettingError, match="optimizer is lion, not one of sgd, adam, adamw; monitor is f1, not one of miou,"
    ):
        replace(CROSS_ENTROPY, optimizer="lion", monitor="f1").check()


def test_check_names_every_impossible_value_in_one_error():
    recipe = replace(
        CROSS_ENTROPY, epochs=0, output_stride=4, base_lr=-1.0, crop_sizes=(512, 16), min_scale=3.0,
        warmup=1.0, jitter=-0.5,
    )  # fmt: skip
    with pytest.raises(SettingError) as raised:
        recipe.check()
    message = str(raised.value)
    assert "\n" not in message
    for problem in ["epochs is 0", "output_stride is 4", "base_lr is -1.0", "crop_size is 512, 16",
                    "max_scale 2.0 is below min_scale 3.0", "warmup is 1.0", "jitter is -0.5"]:  # fmt: skip
        assert problem in message


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"batch_size": 0}, "batch_size is 0, not above 0"),
        ({"crop_sizes": ()}, "crop_size is empty"),
        ({"crop_sizes": (512, 8193)}, "crop_size is 512, 8193, above 8192 px: too much for memory"),
        ({"crop_sizes": (31,)}, "crop_size is 31, below 32 px"),
        ({"last_mult": 0}, "last_mult is 0, not above 0"),
        ({"warmup": -0.1}, "warmup is -0.1, not from 0 to below 1"),
        ({"ema": 1}, "ema is 1, not from 0 to below 1"),
        ({"hue": 0.6}, "hue is 0.6, not between 0 and 0.5"),
        ({"seed": -1}, "seed is -1, below 0"),
        ({"weight_decay": math.nan}, "weight_decay is nan, not a finite number"),
        ({"base_lr": math.inf}, "base_lr is inf, not a finite number"),
        ({"min_scale": 0.01}, "min_scale is 0.01: windows of 512 px would show 51200 px of a picture, above 8192 px"),
        (
            {"min_scale": 1e-320},
            "min_scale is 1e-320: windows of 512 px would show 1000000000000 px of a picture, above 8192 px",
        ),
        ({"min_scale": 0}, "min_scale is 0, not above 0"),
        ({"min_scale": math.nan}, "min_scale is nan, not a finite number"),
        (
            {"early_stop": 5, "monitor": "off"},
            "early_stop is 5, but monitor is off: nothing says which epoch is better",
        ),
        ({"early_stop": 5, "val_period": 0}, "early_stop is 5, but val_period 0 leaves out the validation"),
        ({"output_stride": 4}, "output_stride is 4, not 8, 16 or 32, nor 0 for the usual one"),
    ],
)
def test_check_refuses_what_is_out_of_bounds(values, problem):
    with pytest.raises(SettingError, match=rf"recipe cross_entropy: (.*; )?{re.escape(problem)}(:|;)"):
        replace(CROSS_ENTROPY, **values).check()


def test_every_number_of_a_recipe_has_bounds():
    numbers = [each for each in fields(Recipe) if each.type in (int, float, tuple[int, ...])]
    assert len(numbers) > 30
    assert [each.name for each in numbers if not each.metadata["bounds"]] == []


def test_every_field_is_explained():
    assert all(field.metadata["help"] for field in fields(Recipe))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[1]", b"3"])
def test_a_recipe_file_that_cannot_be_read_gives_one_line(content, tmp_path):
    path = tmp_path / "recipe.json"
    path.write_bytes(content)
    with pytest.raises(SettingError) as raised:
        read_recipe(path)
    assert "recipe.json" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_recipe_file_gives_one_line(tmp_path):
    with pytest.raises(SettingError, match="recipe.json: no such file: train the experiment again"):
        read_recipe(tmp_path / "recipe.json")
