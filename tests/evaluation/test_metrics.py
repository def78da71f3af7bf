"""Scores against hand-computed values, scikit-learn and torchmetrics."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as reference

from jingwei.evaluation.metrics import ConfusionMatrix, scores, table
from jingwei.legend import GF3, JINGWEI, NODATA
from jingwei.models.mixed_wheels import declare_missing_operators

declare_missing_operators()  # torchmetrics imports torchvision
from torchmetrics.classification import MulticlassJaccardIndex  # noqa: E402

IDS = st.sampled_from([0, 1, 2, 3, 4, NODATA])
PAIRS = st.integers(1, 60).flatmap(
    lambda n: st.tuples(arrays(np.uint8, n, elements=IDS), arrays(np.uint8, n, elements=IDS))
)


def matrix_of(labels, predictions, num_classes=5) -> ConfusionMatrix:
    matrix = ConfusionMatrix(num_classes)
    matrix.update(np.asarray(labels, np.uint8), np.asarray(predictions, np.uint8))
    return matrix


def test_hand_computed_scores():
    # Class 0: 3 labelled, 4 predicted, 2 hit. Class 1: 4, 3, 2. Class 2: 1, 1, 1.
    matrix = matrix_of([0, 0, 0, 1, 1, 1, 1, 2], [0, 0, 1, 1, 1, 0, 0, 2], num_classes=3)
    assert matrix.counts.tolist() == [[2, 1, 0, 0], [2, 2, 0, 0], [0, 0, 1, 0]]
    assert matrix.counts.dtype == np.int64
    np.testing.assert_allclose(matrix.iou, [2 / 5, 2 / 5, 1])
    np.testing.assert_allclose(matrix.f1, [4 / 7, 4 / 7, 1])
    np.testing.assert_allclose(matrix.precision, [2 / 4, 2 / 3, 1])
    np.testing.assert_allclose(matrix.recall, [2 / 3, 2 / 4, 1])
    assert matrix.accuracy == pytest.approx(5 / 8)
    assert matrix.mean_iou() == pytest.approx((0.4 + 0.4 + 1) / 3)
    assert matrix.mean_iou([1, 2]) == pytest.approx(0.7)
    assert matrix.fwiou == pytest.approx(3 / 8 * 0.4 + 4 / 8 * 0.4 + 1 / 8)
    chance = (3 * 4 + 4 * 3 + 1) / 64
    assert matrix.kappa == pytest.approx((5 / 8 - chance) / (1 - chance))


@given(PAIRS)
def test_counts_equal_those_of_scikit_learn(pair):
    labels, predictions = pair
    matrix = matrix_of(labels, predictions)
    known = labels != NODATA
    if known.any():
        expected = reference.confusion_matrix(labels[known], predictions[known], labels=[*range(5), NODATA])[:5]
        np.testing.assert_array_equal(matrix.counts, expected)
    else:
        assert not matrix.counts.any()


@given(PAIRS)
def test_scores_equal_those_of_scikit_learn(pair):
    labels, predictions = (a[(pair[0] != NODATA) & (pair[1] != NODATA)] for a in pair)
    matrix = matrix_of(labels, predictions)
    if not len(labels):
        return
    seen = sorted({*labels.tolist(), *predictions.tolist()})
    np.testing.assert_allclose(
        matrix.iou[seen], reference.jaccard_score(labels, predictions, labels=seen, average=None, zero_division=0)
    )
    np.testing.assert_allclose(
        matrix.f1[seen], reference.f1_score(labels, predictions, labels=seen, average=None, zero_division=0)
    )
    assert np.isnan(np.delete(matrix.iou, seen)).all()
    assert matrix.accuracy == pytest.approx(reference.accuracy_score(labels, predictions))
    weighted = reference.jaccard_score(labels, predictions, labels=seen, average="weighted", zero_division=0)
    assert matrix.fwiou == pytest.approx(weighted)
    if len(seen) > 1:
        kappa = reference.cohen_kappa_score(labels, predictions)
        assert matrix.kappa == pytest.approx(kappa, nan_ok=True)


def test_iou_equals_that_of_torchmetrics():
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 2, 3, 4, NODATA], (3, 40, 50)).astype(np.uint8)
    predictions = np.where(rng.random(labels.shape) < 0.6, np.minimum(labels, 4), rng.integers(0, 5, labels.shape))
    jaccard = MulticlassJaccardIndex(5, average="none", ignore_index=NODATA)
    expected = jaccard(torch.from_numpy(predictions.astype(np.int64)), torch.from_numpy(labels.astype(np.int64)))
    np.testing.assert_allclose(matrix_of(labels, predictions).iou, expected.numpy(), rtol=1e-6)


def test_nodata_labels_do_not_count():
    assert matrix_of([NODATA, NODATA, 1], [0, NODATA, 1]).counts.sum() == 1


def test_pixels_left_out_by_a_prediction_count_as_missed():
    matrix = matrix_of([1, 1, 1, 2], [1, NODATA, NODATA, 2])
    assert matrix.iou[1] == pytest.approx(1 / 3)
    assert matrix.recall[1] == pytest.approx(1 / 3)
    assert matrix.precision[1] == 1
    assert matrix.accuracy == pytest.approx(2 / 4)
    assert scores(matrix, JINGWEI)["missed"] == 2
    assert "2 labelled pixels have no prediction" in table(matrix, JINGWEI)


def test_absent_classes_have_no_score_and_wrongly_predicted_ones_score_0():
    matrix = matrix_of([0, 0, 1], [0, 3, 1])
    assert np.isnan(matrix.iou[[2, 4]]).all()
    assert matrix.iou[3] == 0
    assert matrix.mean_iou() == pytest.approx((1 / 2 + 1 + 0) / 3)


@given(PAIRS, PAIRS)
def test_merged_matrices_equal_one_of_all_pixels(one, other):
    merged = matrix_of(*one).merge(matrix_of(*other))
    both = matrix_of(*(np.concatenate([a, b]) for a, b in zip(one, other, strict=True)))
    np.testing.assert_array_equal(merged.counts, both.counts)


@pytest.mark.parametrize(
    ("labels", "predictions", "named"), [([7, 0], [0, 0], r"\[7\]"), ([0, 1], [5, 254], r"\[5, 254\]")]
)
def test_unknown_ids_are_named_and_nothing_is_added(labels, predictions, named):
    matrix = ConfusionMatrix(5)
    with pytest.raises(ValueError, match=rf"ids {named}, but 5 classes"):
        matrix.update(np.array(labels, np.uint8), np.array(predictions, np.uint8))
    assert not matrix.counts.any()


def test_an_unknown_prediction_where_nothing_is_labelled_does_not_matter():
    assert not matrix_of([NODATA], [77]).counts.any()


def test_views_of_any_shape_and_stride_are_counted_right():
    rng = np.random.default_rng(0)
    labels, predictions = (rng.integers(0, 5, (60, 80), dtype=np.uint8) for _ in range(2))
    expected = matrix_of(labels[::2, 5:].copy(), predictions[::2, 5:].copy())
    matrix = ConfusionMatrix(5)
    matrix.update(labels[::2, 5:], predictions[::2, 5:])
    np.testing.assert_array_equal(matrix.counts, expected.counts)


def test_counts_stay_exact_beyond_what_float32_counts():
    pixels = np.ones((4100, 4100), np.uint8)  # 16.8 million, more than 2^24
    pixels[0, 0] = 0
    matrix = matrix_of(pixels, pixels)
    assert matrix.counts[1, 1] == 4100**2 - 1
    assert matrix.counts[0, 0] == 1


def test_an_empty_matrix_has_no_scores_but_a_table():
    matrix = ConfusionMatrix(5)
    content = scores(matrix, JINGWEI)
    assert content["miou"] is None
    assert content["kappa"] is None
    assert content["fwiou"] is None
    assert content["mean_f1"] is None
    assert content["pixels"] == 0
    json.dumps(content, allow_nan=False)
    assert " - " in table(matrix, JINGWEI)


def test_scores_are_json_and_hold_both_means():
    matrix = matrix_of([0, 0, 1, 2], [0, 1, 1, 2])
    content = json.loads(json.dumps(scores(matrix, JINGWEI), allow_nan=False))
    assert content["miou"] == pytest.approx(0.75)
    assert content["miou_with_background"] == pytest.approx((0.5 + 0.5 + 1) / 3, abs=1e-6)
    assert content["classes"]["corn"] == {"iou": 1, "f1": 1, "precision": 1, "recall": 1, "pixels": 1}
    assert content["classes"]["building"]["iou"] is None
    assert "mIoU with background" in table(matrix, JINGWEI)
    assert "with background" not in table(ConfusionMatrix(6), GF3)
