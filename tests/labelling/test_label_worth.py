"""The benchmark of the choice of places: what it counts, and what it compares."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from sample_folders import blocky, painted

from jingwei.legend import JINGWEI

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def label_worth(benchmarks):
    return importlib.import_module("label_worth")


def result(arm, fold, seed, miou, labelled, budget=None):
    job = {"arm": arm, "fold": fold, "seed": seed} | ({"budget": budget} if budget else {})
    return {"job": job, "miou": miou, "labelled": labelled}


RESULTS = [
    result("start", "a", 0, 0.20, 1000),
    result("chosen_1", "a", 0, 0.31, 2000, 0.01), result("random_1", "a", 0, 0.30, 2000, 0.01),
    result("chosen_1", "a", 1, 0.35, 2000, 0.01), result("random_1", "a", 1, 0.30, 2000, 0.01),
    result("chosen_1", "b", 0, 0.90, 2000, 0.01), result("random_2", "a", 0, 0.28, 4000, 0.02),
]  # fmt: skip


def test_only_pairs_of_one_place_and_seed_are_compared(label_worth):
    first, half, each = label_worth.tables(RESULTS).split("\n\n")
    row = next(line for line in first.splitlines() if line.startswith("| 1 %"))
    assert row.startswith("| 1 % | 2 | 2 | 0.330 | 0.300 | +3.0 (")
    assert row.endswith("| +3.0 |")
    assert half == "1 % chosen - 2 % random: +3.0, 1 pairs"
    assert "| chosen 1 | 0.310, 0.350 | 0.900 |" in each.splitlines()


@pytest.mark.parametrize("rivals", [[], [0.02]])
def test_both_arms_of_a_budget_go_on_from_the_same_start(label_worth, rivals):
    jobs = label_worth.second_jobs({"seed": 3}, Path("start.json"), [0.01, 0.04], rivals)
    assert [job["arm"] for job in jobs] == ["chosen_1", "random_1", "chosen_4", "random_4"] + ["random_2"] * len(rivals)
    assert {(job["first"], job["seed"]) for job in jobs} == {("start.json", 3)}


@pytest.mark.slow
def test_a_call_from_its_start_to_its_table(tmp_path):
    folder = tmp_path / "fields"
    folder.mkdir()
    (folder / "legend.json").write_text(json.dumps(JINGWEI.to_dict()))
    for number in (1, 2):
        labels = blocky((160, 160), len(JINGWEI), number)
        cv2.imwrite(str(folder / f"image_{number}.png"), painted(labels, JINGWEI))
        cv2.imwrite(str(folder / f"image_{number}_label.png"), labels)
    command = [sys.executable, ROOT / "benchmarks" / "label_worth.py", folder, "--work", tmp_path / "work"]
    command += ["--window", "32", "--start", "0.1", "--budgets", "0.4", "--seeds", "1", "--cpu_seconds", "1"]
    command += ["--crop_size", "32", "--batch_size", "2", "--score_windows", "1"]
    table = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "| 40 % | 10 | 2 |" in table, "not both scenes in turn, in both arms"
    runs = [json.loads(path.read_text()) for path in (tmp_path / "work" / "runs").glob("*.json")]
    assert len(runs) == 6
    assert all(sum(map(sum, run["counts"])) == 160 * 160 for run in runs), "not all pixels were scored"
    again = subprocess.run([*command, "--table"], check=True, capture_output=True, text=True).stdout
    assert again == table, "a second call didn't find the runs"
