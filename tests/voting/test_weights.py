"""Learned weights: greedy selection against plain searches, and from two small networks to a weighted vote."""

import json
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.crops.table import VALIDATION, read_crops
from jingwei.errors import CheckpointError, InputError, SettingError
from jingwei.evaluation.metrics import ConfusionMatrix
from jingwei.legend import GF3, JINGWEI, NODATA
from jingwei.models.checkpoints import load_checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.training import experiments, loop
from jingwei.training.experiments import read_training_data, score_experiment
from jingwei.training.loop import RunOptions
from jingwei.training.recipes import CROSS_ENTROPY
from jingwei.voting import weights as vote_weights
from jingwei.voting.vote import tie_ranks
from jingwei.voting.weights import LearnedWeights, ModelSample, draw_pixels, experiment_folders, learn_weights, select
from jingwei.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = replace(
    CROSS_ENTROPY, model="attention_unet", backbone="mobilenetv3_small_050", pretrained=False, output_stride=16,
    aux_weight=0.0, epochs=1, steps_per_epoch=12, batch_size=4, crop_sizes=(48,), precision="fp32", optimizer="adamw",
    base_lr=0.005,
)  # fmt: skip


# ---- selection ----


def best_of_all(score, voters: int, rounds: int) -> float:
    """The highest score of all choices of up to `rounds` voters."""
    choices = [np.array(counts) for counts in product(range(rounds + 1), repeat=voters) if 0 < sum(counts) <= rounds]
    return max(map(score, choices))


@pytest.mark.parametrize(
    ("target", "expected"),
    [((1, 0), [1, 0]), ((0.75, 0.25), [3, 1]), ((0.2, 0.4, 0.4), [1, 2, 2]), ((0, 0, 1), [0, 0, 1])],
)
def test_selection_finds_what_a_search_of_all_choices_finds(target, expected):
    def score(counts):
        return -float(((counts / counts.sum() - target) ** 2).sum())

    chosen = select(score, len(target), rounds=6)
    assert chosen.tolist() == expected
    assert score(chosen) == best_of_all(score, len(target), 6)


def test_of_equals_the_first_is_taken_and_no_round_more_than_helps():
    assert select(lambda counts: 0.5, 3).tolist() == [1, 0, 0]
    asked = []
    select(lambda counts: asked.append(counts.sum()) or 0.5, 2, rounds=7)
    assert asked == [n for n in range(1, 8) for _ in range(2)]


def plain_miou(labels: np.ndarray, choices: np.ndarray) -> float:
    """mIoU of classes 1 to 4, of those that are anywhere; -1 where none is."""
    pairs = [((labels == c) & (choices == c), (labels == c) | (choices == c)) for c in range(1, 5)]
    ious = [both.sum() / either.sum() for both, either in pairs if either.any()]
    return float(np.mean(ious)) if ious else -1.0


def plain_greedy(labels: np.ndarray, planes: np.ndarray, rounds: int) -> list[int]:
    """Greedy selection over means of probabilities_KCN, written down a second time."""

    def score(members: list[int]) -> float:
        return plain_miou(labels, planes[members].astype(np.int64).sum(0).argmax(0))

    members, best = [], []
    for _ in range(rounds):
        members = max(([*members, k] for k in range(len(planes))), key=score)
        best = members if not best or score(members) > score(best) else best
    return [best.count(k) for k in range(len(planes))]


def sample_of(labels: np.ndarray, planes_CN: np.ndarray) -> ModelSample:
    return ModelSample(labels, planes_CN.argmax(0).astype(np.uint8), planes_CN)


@given(data=st.data())
def test_soft_selection_is_that_of_a_plain_loop_and_never_below_the_best_single(data):
    voters, pixels = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 12))
    labels = data.draw(arrays(np.uint8, pixels, elements=st.integers(0, 4)))
    planes = data.draw(arrays(np.uint8, (voters, 5, pixels), elements=st.integers(1, 255)))
    samples = [sample_of(labels, planes_CN) for planes_CN in planes]
    # Ties go to the lowest id, as numpy's argmax has it.
    score = vote_weights.scorer(samples, JINGWEI, tie_ranks("0,1,2,3,4", JINGWEI), True)
    weights = select(score, voters, rounds=5)
    assert weights.tolist() == plain_greedy(labels, planes, 5)
    singles = [plain_miou(labels, values.argmax(0)) for values in planes]
    assert max(singles) <= score(weights) <= best_of_all(score, voters, 5)


@given(data=st.data())
def test_hard_selection_is_never_below_the_best_single(data):
    voters, pixels = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 30))
    labels = data.draw(arrays(np.uint8, pixels, elements=st.integers(0, 4)))
    choices = data.draw(arrays(np.uint8, (voters, pixels), elements=st.integers(0, 4)))
    samples = [ModelSample(labels, chosen, np.zeros((5, pixels), np.uint8)) for chosen in choices]
    score = vote_weights.scorer(samples, JINGWEI, tie_ranks("first", JINGWEI), False)
    singles = [plain_miou(labels, chosen) for chosen in choices]
    assert [score(one) for one in np.eye(voters, dtype=np.int64)] == pytest.approx(singles)
    assert score(select(score, voters)) >= max(singles) - 1e-12


def test_two_models_that_know_other_classes_are_better_together():
    """Each knows two of the classes surely, and guesses the other two badly."""
    labels = np.repeat(np.array([1, 2, 3, 4], np.uint8), 50)
    planes = np.full((3, 5, 200), 10, np.uint8)
    planes[0, labels, np.arange(200)] = np.where(labels < 3, 255, 0)
    planes[1, labels, np.arange(200)] = np.where(labels < 3, 0, 255)
    planes[2, 1] = 200  # says the same everywhere
    score = vote_weights.scorer([sample_of(labels, p) for p in planes], JINGWEI, tie_ranks("first", JINGWEI), True)
    assert select(score, 3).tolist() == [1, 1, 0]
    assert score(np.array([1, 1, 0])) == 1


# ---- the sample ----


@given(data=st.data())
def test_drawn_pixels_are_labelled_ones_each_once(data):
    labels = data.draw(arrays(np.uint8, st.integers(0, 60), elements=st.sampled_from([0, 1, 4, NODATA])))
    count = data.draw(st.integers(0, 70))
    drawn = draw_pixels("a.png", labels, count)
    assert (np.diff(drawn) > 0).all()
    assert len(drawn) == min(count, (labels != NODATA).sum())
    assert (labels[drawn] != NODATA).all()


def test_drawn_pixels_lie_all_over_a_crop_and_are_the_same_everywhere():
    labels = np.zeros(100_000, np.uint8)
    drawn = draw_pixels("image_1_000000_000000.png", labels, 1000)
    assert drawn[:3].tolist() == [46, 158, 228]
    per_tenth = np.bincount(drawn // 10_000, minlength=10)
    assert (abs(per_tenth - 100) < 40).all()
    assert set(drawn) != set(draw_pixels("image_1_000000_001024.png", labels, 1000))


@pytest.fixture(scope="module")
def world(county, tmp_path_factory) -> Path:
    """Training crops, and two experiments unlike in family, encoder and normalisation. Only to be read."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("world")
    workspace = Workspace(root)
    cut_train(workspace, Workspace(county).train_scenes(), CutSettings(64, 64), JINGWEI, workers=2)
    loop.train(workspace, SMALL, "trained", RunOptions(device="cpu", workers=0))
    torch.manual_seed(0)
    model = build_model(ModelSpec("deeplabv3", "mobilenetv3_small_050", 3, 5, 16), (10,) * 3, (200,) * 3)
    recipe = replace(SMALL, name="swa", model="deeplabv3", backbone="mobilenetv3_small_050").to_dict()
    first = load_checkpoint(workspace.experiment(SMALL.name, "trained") / "best.pt")
    other = replace(
        first, spec=model.spec, mean=(10.0,) * 3, std=(200.0,) * 3, recipe=recipe, weights=model.state_dict()
    )
    folder = workspace.experiment("swa", "by_chance")
    save_checkpoint(folder / "best.pt", other)
    (folder / "recipe.json").write_text(json.dumps(recipe))
    return root


@pytest.fixture
def workspace(world, tmp_path) -> Workspace:
    """A world of one's own."""
    return Workspace(Path(shutil.copytree(world, tmp_path / "data", copy_function=shutil.copy2)))


MAPS = [Path("elsewhere/cross_entropy_trained.tif"), Path("swa_by_chance.tif")]


def samples_of(workspace: Workspace) -> list[ModelSample]:
    data = read_training_data(workspace)
    folders = experiment_folders(workspace, MAPS)
    return [vote_weights.validation_sample(folder, workspace.crops, data, "cpu", 0) for folder in folders]


@pytest.mark.parametrize("soft", [False, True])
def test_scores_are_those_of_the_validation(workspace, soft):
    """Few pixels: the sample is all of them, so a single model's score is the very one that training prints."""
    learned = learn_weights(workspace, MAPS, JINGWEI, soft=soft, device="cpu", workers=0)
    singles, samples = [], samples_of(workspace)
    for sample, recipe, exp in zip(samples, ("cross_entropy", "swa"), ("trained", "by_chance"), strict=True):
        matrix, legend, _ = score_experiment(workspace, recipe, exp, "cpu", 0)
        singles.append(matrix.mean_iou(legend.foreground))
        ours = ConfusionMatrix(len(JINGWEI))
        ours.update(sample.labels, sample.choices)
        np.testing.assert_array_equal(ours.counts, matrix.counts)
        assert learned.pixels == matrix.counts.sum()
    assert learned.best_single == pytest.approx(max(singles), abs=2e-3 if soft else 0)  # 8 bits make some ties
    assert learned.weighted >= max(learned.best_single, learned.equal if sum(learned.weights) == 2 else -1)
    for sample in samples:
        assert sample.labels.shape == sample.choices.shape == sample.probabilities.shape[1:]
        assert abs(sample.probabilities.astype(int).sum(0) - 255).max() <= 3
        own = np.take_along_axis(sample.probabilities, sample.choices[None], axis=0)[0]
        np.testing.assert_array_equal(own, sample.probabilities.max(0))
    ballots = np.stack([sample.probabilities.astype(np.int64) for sample in samples])
    if soft:
        weighted = np.tensordot(learned.weights, ballots, axes=1).argmax(0)
        assert learned.weighted == pytest.approx(plain_miou(samples[0].labels, weighted), abs=2e-3)


def test_each_network_sees_its_own_mean_where_nothing_was_seen(workspace, monkeypatch):
    load, means = experiments.validation_loader, []
    monkeypatch.setattr(experiments, "validation_loader", lambda *how: means.append(how[2]) or load(*how))
    samples_of(workspace)
    assert means == [read_training_data(workspace).statistics.mean, (10, 10, 10)]


def test_a_sample_keeps_pixels_of_every_crop_and_the_same_of_every_model(workspace, monkeypatch):
    everything = samples_of(workspace)[0]
    crops = [crop for crop in read_crops(workspace.crops) if crop.split == VALIDATION]
    for path in workspace.models.rglob("validation_sample.npz"):
        path.unlink()
    monkeypatch.setattr(vote_weights, "PIXELS", 300)
    one, other = samples_of(workspace)
    np.testing.assert_array_equal(one.labels, other.labels)
    assert 300 <= one.labels.size <= 300 + len(crops)
    shares = [np.bincount(sample.labels, minlength=5) / sample.labels.size for sample in (one, everything)]
    assert abs(shares[0] - shares[1]).max() < 0.1
    monkeypatch.setattr(vote_weights, "PIXELS", 1)
    assert [sample.labels.size for sample in samples_of(workspace)] == [len(crops)] * 2


def test_a_sample_is_made_once(workspace, monkeypatch):
    before = samples_of(workspace)
    run, runs = vote_weights._sample_of, []
    monkeypatch.setattr(vote_weights, "_sample_of", lambda file, *how: runs.append(file.parent.name) or run(file, *how))

    def made_again() -> list[str]:
        runs.clear()
        for ours, theirs in zip(samples_of(workspace), before, strict=True):
            for one, other in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(one, other)
        return list(runs)

    assert made_again() == []
    best = workspace.experiment("swa", "by_chance") / "best.pt"
    kept = best.with_name("validation_sample.npz")
    content = kept.read_bytes()
    for broken in (b"", b"no archive", content[: len(content) // 2], content[:200] + b"x" * 50 + content[250:]):
        kept.write_bytes(broken)
        assert made_again() == ["by_chance"]
        assert kept.read_bytes() == content  # the same bytes, whenever it is made
    shutil.copyfile(best, best.with_name("copy"))
    best.with_name("copy").replace(best)
    assert made_again() == ["by_chance"]
    workspace.crops.write_bytes(workspace.crops.read_bytes())
    assert made_again() == ["trained", "by_chance"]
    assert made_again() == []


def test_a_run_that_is_stopped_leaves_no_sample(workspace, monkeypatch):
    def stopped(*arrays, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", stopped)
    with pytest.raises(KeyboardInterrupt):
        samples_of(workspace)
    assert not list(workspace.models.rglob("*sample*"))


# ---- mistakes ----


def test_maps_of_no_experiment_are_refused(workspace):
    with pytest.raises(SettingError, match="vote.tif is not the map of an experiment.*cross_entropy/trained, swa/by"):
        learn_weights(workspace, [*MAPS, Path("vote.tif")], JINGWEI)
    shutil.rmtree(workspace.models)
    with pytest.raises(SettingError, match="known are none yet"):
        learn_weights(workspace, MAPS, JINGWEI)


def test_without_crops_there_are_no_weights(workspace):
    crops = workspace.crops.read_text()
    workspace.crops.write_text(crops.replace(",validation,", ",train,"))
    with pytest.raises(InputError, match="no crop is for validation"):
        learn_weights(workspace, MAPS, JINGWEI)
    workspace.crops.unlink()
    with pytest.raises(InputError, match="crops.csv: no such file: run generate_train_data.py first"):
        learn_weights(workspace, MAPS, JINGWEI)


def test_another_legend_is_refused(workspace):
    with pytest.raises(SettingError, match="the vote's legend is gf3, that of the crops is jingwei"):
        learn_weights(workspace, MAPS, GF3)
    path = workspace.experiment("swa", "by_chance") / "best.pt"
    checkpoint = load_checkpoint(path)
    save_checkpoint(path, replace(checkpoint, legend=GF3, spec=replace(checkpoint.spec, classes=len(GF3))))
    with pytest.raises(CheckpointError, match="by_chance/best.pt: was trained on other classes"):
        learn_weights(workspace, MAPS, JINGWEI, device="cpu", workers=0)


def test_the_report_names_every_map_with_its_share():
    lines = LearnedWeights([3, 0, 1], 0.5, 0.25, 0.625, 12_345).report(["unet", "deeplab", "swa"]).splitlines()
    assert lines[0] == "weights, learned on 12,345 validation pixels:"
    assert [line.split() for line in lines[1:4]] == [["unet", "0.75"], ["deeplab", "0.00"], ["swa", "0.25"]]
    assert lines[4] == "validation mIoU: best single map 0.5000, equal vote 0.2500, weighted vote 0.6250"
