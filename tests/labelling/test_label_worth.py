"""The benchmark of the choice of places: what it counts, and what it compares."""

import importlib
from pathlib import Path

import pytest


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
