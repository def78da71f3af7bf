"""The accuracy benchmark: its statistics against figures by hand, its folds, and that it goes on where it stopped."""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("benchmarks")


def test_a_gain_has_the_mean_and_students_interval_of_the_paired_differences():
    from pairing import paired_gain

    base = {("a", 0): 0.50, ("a", 1): 0.40, ("b", 0): 0.30, ("b", 1): 0.9}
    ours = {("a", 0): 0.52, ("a", 1): 0.44, ("b", 0): 0.36, ("c", 0): 0.1}
    gain = paired_gain(ours, base)
    # Differences 0.02, 0.04, 0.06: deviation 0.02, and Student's 97.5 % point for 2 degrees of freedom is 4.302653.
    assert gain.pairs == 3
    assert gain.mean == pytest.approx(0.04)
    assert gain.high - gain.mean == pytest.approx(4.302653 * 0.02 / 3**0.5, rel=1e-6)
    assert gain.mean - gain.low == pytest.approx(gain.high - gain.mean)


def test_seeds_of_one_fold_are_one_pair_where_folds_count():
    from pairing import gain_over_folds

    base = dict.fromkeys([("a", 0), ("a", 1), ("b", 0)], 0.0)
    gain = gain_over_folds({("a", 0): 0.1, ("a", 1): 0.3, ("b", 0): 0.4}, base)
    assert (gain.pairs, gain.mean) == (2, pytest.approx(0.3))


def test_no_pair_and_one_pair_have_no_interval():
    from pairing import gain

    assert gain([]).pairs == 0
    assert gain([0.1]).mean == pytest.approx(0.1)
    assert np.isnan([gain([]).mean, gain([0.1]).low, gain([0.1]).high]).all()


def jobs(tmp_path: Path, seeds: int = 2, **changes) -> list[dict]:
    from accuracy import jobs_of
    from accuracy_folds import Fold

    usual = {"backbone": "resnet18", "weights": None, "cpu_seconds": 1.0, "score_windows": 4, "first_seed": 0}
    usual |= {
        "crop_size": 64,
        "batch_size": 2,
        "folder": tmp_path,
        "work": tmp_path,
        "arms": ["plain", "ours"],
        "seeds": seeds,
    }
    folds = [Fold(name, [(Path("x.png"), Path("y.png"))], []) for name in ("a", "b")]
    return jobs_of(argparse.Namespace(**(usual | changes)), folds)


def test_a_benchmark_that_stopped_goes_on_with_the_runs_that_are_missing(tmp_path):
    from accuracy import run_all, table

    done, stop_at = [], 4

    def execute(job: dict, path: Path, core: int) -> None:
        done.append((job["arm"], job["fold"], job["seed"]))
        if len(done) == stop_at:
            raise KeyboardInterrupt
        path.parent.mkdir(exist_ok=True)
        score = 0.5 + 0.1 * (job["arm"] == "ours") + 0.01 * job["seed"]
        path.write_text(json.dumps({"miou": score, "steps": 10, "cpu_seconds": 1.0, "iou": [score, None]}))

    with pytest.raises(KeyboardInterrupt):
        run_all(jobs(tmp_path), tmp_path, [0], execute)
    assert done == [("plain", "a", 0), ("ours", "a", 0), ("plain", "b", 0), ("ours", "b", 0)]
    done, stop_at = [], None
    results = run_all(jobs(tmp_path), tmp_path, [0], execute)
    assert done == [("ours", "b", 0), ("plain", "a", 1), ("ours", "a", 1), ("plain", "b", 1), ("ours", "b", 1)]
    assert len(results) == 8
    again = run_all(jobs(tmp_path), tmp_path, [0], execute=lambda *job: pytest.fail("all is done"))
    assert again == results
    text = table(results, ["land", "water"])
    assert "| plain | 4 | 10 | 1 | 0.505 |  |  | 0.505 | - |" in text
    assert "| ours | 4 | 10 | 1 | 0.605 | +10.0 (+10.0 to +10.0) | +10.0 (+10.0 to +10.0) | 0.605 | - |" in text


def test_other_settings_are_other_runs(tmp_path):
    from accuracy import result_path

    paths = {result_path(job, tmp_path) for job in jobs(tmp_path) + jobs(tmp_path, cpu_seconds=2.0)}
    assert len(paths) == 16


def test_every_arm_is_a_recipe_that_can_be():
    from accuracy_arms import ARMS, parse_arm, recipe_of

    usual = {"backbone": "resnet18", "batch_size": 2, "crop_size": 64, "seed": 3}
    for text in ("plain", *ARMS, "own=ours,ema=0.5,base_lr=0.01"):
        name, recipe, changes = parse_arm(text)
        job = json.loads(json.dumps(usual | {"recipe": recipe, "changes": changes}))
        made = recipe_of(job, 5).check()
        assert (made.seed, made.steps_per_epoch, made.batch_size, made.backbone) == (3, 5, 2, "resnet18"), name
        assert made.crop_sizes == ((256, 224) if name == "multiscale" else (64,))
    assert (made.class_weights, made.ema, made.base_lr) == ("balanced", 0.5, 0.01)
    for wrong in ("theirs", "own=theirs", "own=ours,speed=3"):
        with pytest.raises(SystemExit, match="error: --arms"):
            parse_arm(wrong)


def labelled(folder: Path, name: str, labels: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / f"{name}.png"), np.repeat(labels[..., None] * 20, 3, axis=2).astype(np.uint8))
    cv2.imwrite(str(folder / f"{name}_label.png"), labels.astype(np.uint8))


def test_scenes_left_out_are_never_trained_on(tmp_path):
    from accuracy_folds import folds_of

    for name in ("image_1", "image_2", "image_10"):
        labelled(tmp_path / "set", name, np.ones((40, 50)))
    folds = folds_of(tmp_path / "set", tmp_path / "work", ["image_1", "image_2+image_10"], 0, 0)
    assert [(fold.name, [image.stem for image, _ in fold.train]) for fold in folds] == [
        ("image_1", ["image_2", "image_10"]),
        ("image_2+image_10", ["image_1"]),
    ]
    for fold in folds:
        assert not set(fold.train) & set(fold.test)
    with pytest.raises(SystemExit, match="image_3: not among image_1, image_2, image_10"):
        folds_of(tmp_path / "set", tmp_path / "work", ["image_3"], 0, 0)


def test_fields_are_trained_on_or_scored_and_all_of_them_scored_once(tmp_path):
    from accuracy_folds import folds_of

    labels = np.full((80, 60), 255)
    labels[65:75, 5:40] = 2  # a class of a single field: none of it would be left to learn from
    for number in range(9):
        row, col = 20 * (number // 3), 20 * (number % 3)
        labels[row + 2 : row + 12 + number, col + 2 : col + 18] = number % 2
    labelled(tmp_path / "set", "image_1", labels)
    scored = np.zeros(labels.shape, int)
    for fold in folds_of(tmp_path / "set", tmp_path / "work", None, 0, 3):
        train, test = (cv2.imread(str(pair[0][1]), cv2.IMREAD_UNCHANGED) for pair in (fold.train, fold.test))
        assert not ((train != 255) & (test != 255)).any()
        np.testing.assert_array_equal(np.minimum(train, test), labels)
        assert (train == 2).sum() == 350
        assert {0, 1} <= set(np.unique(test))
        scored += test != 255
    np.testing.assert_array_equal(scored, (labels != 255) & (labels != 2))


def test_blocks_share_no_pixel(tmp_path):
    from accuracy_folds import folds_of

    labels = np.arange(200 * 220).reshape(200, 220) % 251
    labelled(tmp_path / "set", "image_1", labels)
    folds = folds_of(tmp_path / "set", tmp_path / "work", None, 2, 0)
    assert len(folds) == 4
    for number, fold in enumerate(folds):
        (test,) = fold.test
        row, col = divmod(number, 2)
        found = cv2.imread(str(test[1]), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(found, labels[100 * row + 32 : 100 * row + 68, 110 * col + 32 : 110 * col + 78])
        assert len(fold.train) == 3
