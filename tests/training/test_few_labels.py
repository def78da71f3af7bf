"""Some strokes and points in large crops: every window shows some of them, and an epoch is more than a step."""

from dataclasses import replace

import numpy as np

from jingwei.crops.table import TRAIN, VALIDATION, Crop, notes_on_classes
from jingwei.evaluation.metrics import FEW, ConfusionMatrix, few_note, table
from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA
from jingwei.training.augment import random_window
from jingwei.training.recipes import FOCAL_LOVASZ
from jingwei.training.sampling import with_steps


def test_every_window_shows_a_label():
    labels = np.full((400, 400), NODATA, np.uint8)
    labels[37, 350:354] = 2
    labels[390, 10] = 3
    pixels = np.ones((400, 400, 3), np.uint8)
    seen = set()
    for seed in range(60):
        _, window = random_window(pixels, labels, 32, 1.0, np.random.default_rng(seed))
        assert (window != NODATA).any()
        seen |= set(np.unique(window).tolist())
    assert seen == {2, 3, NODATA}
    _, window = random_window(pixels, np.full((400, 400), NODATA, np.uint8), 32, 1.0, np.random.default_rng(0))
    assert (window == NODATA).all()


def crops(valid: int, count: int, split=TRAIN) -> list[Crop]:
    pixels = (0, 0, valid, 0, 0)
    return [
        Crop(f"a_{k}.png", "a", Window(0, 0, 1024, 1024), valid, pixels, (1.0,), (1.0,), split) for k in range(count)
    ]


def test_an_epoch_of_few_labels_is_more_than_a_step():
    recipe = replace(FOCAL_LOVASZ, crop_sizes=(512,), batch_size=8, steps_per_epoch=0, min_scale=1.0, max_scale=1.0)
    assert with_steps(recipe, crops(1024**2, 40)).steps_per_epoch == 20
    assert with_steps(recipe, crops(300_000, 40)).steps_per_epoch == 6
    assert with_steps(recipe, crops(50, 40)).steps_per_epoch == 5


def test_tables_say_how_few_pixels_a_score_rests_on():
    matrix = ConfusionMatrix(len(JINGWEI))
    matrix.update(np.array([1] * FEW + [2] * 37, np.uint8), np.array([1] * FEW + [2] * 37, np.uint8))
    note = "few labelled pixels, so their scores say little: corn (37 px)"
    assert few_note(matrix, JINGWEI) == note
    assert table(matrix, JINGWEI).splitlines()[-1] == note
    assert few_note(ConfusionMatrix(len(JINGWEI)), JINGWEI) is None
    lines = notes_on_classes([*crops(2000, 2), *crops(20, 2, VALIDATION)], JINGWEI)
    assert lines[-1] == "few validation pixels, so their scores will say little: corn (40 px)"
