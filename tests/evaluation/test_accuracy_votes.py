"""What the accuracy benchmark keeps of a run, votes that are made of it, and learning from a network's own labels."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

LEGEND = {
    "classes": [{"id": n, "name": name, "color": f"#00000{n}"} for n, name in enumerate("abc")],
    "background": None,
}


pytestmark = pytest.mark.usefixtures("benchmarks")


def brightness(pixels: torch.Tensor) -> torch.Tensor:
    """Logits of two classes: how bright a pixel is, and how bright its left neighbour is."""
    return torch.cat([pixels, pixels.roll(1, 3)], dim=1)


def test_mirrored_views_are_turned_back_before_their_mean():
    from accuracy_score import mirrored_mean

    pixels = torch.rand(1, 1, 3, 4)
    found = mirrored_mean(brightness, pixels)
    assert torch.equal(found["once"], brightness(pixels).softmax(1))
    right = torch.cat([pixels, pixels.roll(-1, 3)], dim=1).softmax(1)  # seen in a mirror, left is right
    torch.testing.assert_close(found["flips"], (brightness(pixels).softmax(1) + right) / 2)


def test_labelled_pixels_of_a_scene_are_scored_with_their_own_probabilities():
    from accuracy_score import score

    labels = np.full((520, 40), 255, np.uint8)
    labels[500:515, :30] = np.arange(30) % 2
    pixels = np.arange(labels.size, dtype=np.float32).reshape(*labels.shape, 1) / labels.size
    parts = list(score(lambda x: torch.cat([x, 0 * x], dim=1), (pixels, labels), np.zeros(1), 9))
    assert [len(truth) for truth, _ in parts] == [12 * 30, 3 * 30]  # 512 px a window
    np.testing.assert_array_equal(np.concatenate([truth for truth, _ in parts]), labels[labels != 255])
    expected = 255 / (1 + np.exp(-pixels[labels != 255, 0]))
    for way in ("once", "flips"):
        found = np.concatenate([found[way] for _, found in parts])
        np.testing.assert_allclose(found[:, 0], expected, atol=0.51)
        np.testing.assert_allclose(found.sum(axis=1), 255, atol=1)


def keep_run(folder: Path, name: str, fold: str, labels: list[int], probabilities: list[list[int]]) -> Path:
    """A run's result and what was scored, with the mIoU that its probabilities give."""
    from accuracy_score import scores_of

    from jingwei.legend import find_legend

    path = folder / f"{name}.json"
    seen = np.array(labels, np.uint8), np.array(probabilities, np.uint8)
    np.savez_compressed(path.with_suffix(".npz"), labels=seen[0], once=seen[1], flips=seen[1])
    scores = scores_of(*seen, find_legend(str(folder / "legend.json")))
    path.write_text(json.dumps({"job": {"fold": fold, "folder": str(folder)}, **scores, "flips": scores}))
    return path


def test_runs_of_a_fold_vote_by_their_probabilities(tmp_path, monkeypatch, capsys):
    import accuracy_votes

    (tmp_path / "legend.json").write_text(json.dumps(LEGEND))
    labels = [0, 1, 2, 0]
    # Each is wrong at another pixel, and less sure there than the other.
    first = keep_run(tmp_path, "ours-0", "here", labels, [[200, 55, 0], [130, 125, 0], [0, 0, 255], [255, 0, 0]])
    second = keep_run(tmp_path, "ours-1", "here", labels, [[120, 135, 0], [0, 255, 0], [0, 5, 250], [255, 0, 0]])
    other = keep_run(tmp_path, "plain-0", "here", labels, [[255, 0, 0], [255, 0, 0], [0, 0, 255], [255, 0, 0]])
    monkeypatch.setattr(sys, "argv", ["accuracy_votes.py", str(first), str(second), "--against", str(other)])
    accuracy_votes.main()
    lines = capsys.readouterr().out.splitlines()
    # One wrong pixel of class 1: IoU 2/3, 0, 1; of class 0: 1/2, 1/2, 1. The vote has all right.
    assert lines[2] == "| here | once | 2 | 0.611 | 1.000 | 0.556 | +44.4 |"
    assert lines[3] == "| all folds | once | | | | | +44.4 |"
    assert lines[4].startswith("| here | flips | 2 | 0.611 | 1.000")


def test_runs_that_were_scored_on_other_pixels_do_not_vote(tmp_path):
    from accuracy_votes import vote

    from jingwei.legend import find_legend

    (tmp_path / "legend.json").write_text(json.dumps(LEGEND))
    paths = [keep_run(tmp_path, f"ours-{n}", "here", [0, n], [[255, 0, 0], [0, 255, 0]]) for n in (1, 2)]
    with pytest.raises(SystemExit, match="scored on other pixels"):
        vote(paths, "once", find_legend(str(tmp_path / "legend.json")))


def test_only_what_a_network_is_sure_of_becomes_a_label_and_no_true_label_does(tmp_path):
    from accuracy_run import sure_windows

    pixels = np.zeros((40, 48, 1), np.uint8)
    pixels[:, :16], pixels[:, 16:32] = 200, 1  # class 0 surely; between both; and not seen
    truth = np.full((40, 48), 1, np.uint8)
    (pair,) = sure_windows(
        lambda x: torch.cat([x, 0 * x], dim=1), [(pixels, truth)], np.zeros(1), 4, confidence=0.9, folder=tmp_path
    )
    believed = cv2.imread(str(pair[1]), cv2.IMREAD_UNCHANGED)
    assert (believed[:, :16] == 0).all()
    assert (believed[:, 16:] == 255).all()


def test_crops_of_own_labels_are_half_of_what_is_drawn():
    from accuracy_run import SURE, with_equal_halves

    from jingwei.crops.table import Crop, Statistics
    from jingwei.grid import Window
    from jingwei.legend import JINGWEI
    from jingwei.training.experiments import TrainingData

    def crops(scene: str, count: int) -> list[Crop]:
        return [Crop(f"{scene}_{n}.png", scene, Window(0, 0, 8, 8), 64, (64,), (1.0,), (1.0,)) for n in range(count)]

    def data(*training: Crop) -> TrainingData:
        return TrainingData(Path("x"), list(training), [], JINGWEI, "uint8", Statistics((1.0,), (1.0,)))

    true, own = crops("image_1", 12), crops(f"{SURE}0", 2) + crops(f"{SURE}1", 1)
    found = with_equal_halves(data(*own, *true)).training
    assert [crop.scene for crop in found].count("image_1") == 12
    assert {crop.name: found.count(crop) for crop in own} == {crop.name: 4 for crop in own}
    assert with_equal_halves(data(*true)).training == true  # a network that was sure of nothing


def test_a_budget_does_not_count_what_is_paused(monkeypatch):
    import accuracy_run

    now = [100.0]
    monkeypatch.setattr(accuracy_run.time, "process_time", lambda: now[0])
    budget = accuracy_run.Budget(10)
    now[0] += 3
    with budget.paused():
        now[0] += 50
    now[0] += 2
    assert (budget.spent(), budget.share()) == (5, 0.5)


def test_sets_are_pooled_fold_by_fold_and_only_runs_of_one_setting_are_paired():
    from accuracy_sets import SETTINGS, table

    usual = dict.fromkeys(SETTINGS, 1) | {"backbone": "resnet18", "weights": None}

    def run(folder: str, arm: str, fold: str, seed: int, miou: float, seconds: int = 60) -> dict:
        where = {"folder": f"/x/{folder}", "arm": arm, "fold": fold, "seed": seed, "cpu_seconds": seconds}
        return {"miou": miou, "job": usual | where}

    results = [
        *(run("one", "plain", "a", seed, 0.5) for seed in (0, 1)),
        *(run("one", "ours", "a", seed, 0.5 + 0.02 * seed) for seed in (0, 1)),
        run("one", "plain", "a", 0, 0.6, seconds=180),
        run("one", "ours", "b", 0, 0.9),  # nothing to be held against
        run("two", "plain", "a", 0, 0.2),
        run("two", "ours_radar", "a", 0, 0.25),
    ]
    lines = table(results, "plain", ["ours", "ours_radar"]).splitlines()
    assert lines[2] == "| one | 60 | resnet18, scratch | 2 | 0.500 | 0.510 | +1.0 (-11.7 to +13.7) | +1.0 |"
    assert lines[3] == "| two | 60 | resnet18, scratch | 1 | 0.200 | 0.250 | +5.0 | +5.0 |"
    # The mean of 0, 2 and 5 points over runs; of 1 and 5 over folds.
    assert lines[4].startswith("| all |  |  | 3 | 0.400 | 0.423 | +2.3 (")
    assert "| +3.0 (" in lines[4]
    with pytest.raises(ValueError, match="two runs"):
        table([*results, run("one", "ours_radar", "a", 0, 0.1)], "plain", ["ours", "ours_radar"])


def test_networks_of_one_run_vote_by_the_mean_of_their_probabilities():
    from accuracy_run import voted

    labels = np.array([0, 1], np.uint8)
    first, second = (np.array(values, np.uint8) for values in ([[200, 55], [100, 155]], [[100, 155], [140, 115]]))
    found = voted([{"labels": labels, "once": each, "flips": 255 - each} for each in (first, second)])
    assert found["once"].tolist() == [[150, 105], [120, 135]]
    assert found["flips"].tolist() == [[105, 150], [135, 120]]
    assert found["once"].dtype == np.uint8
    assert found["labels"] is labels
    one = voted([{"labels": labels, "once": first, "flips": second}])
    np.testing.assert_array_equal(one["once"], first)
    np.testing.assert_array_equal(one["flips"], second)
