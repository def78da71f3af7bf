"""Whether what evaluate.py --sample_file states holds: samples drawn over and over on maps whose truth is known.

    python benchmarks/certificate.py [--redraws 1000] [--points 300 1000]

Three made-up maps of five unequal classes: wrong by 5 %, wrong by 25 %, and with a rare class that is mostly wrong; the
surer a pixel, the more often it is right. For each, how often the bounds of 95 % held, how often a part was certified
of which more than alpha is wrong, and how wide Olofsson's intervals and the exact ones are.
"""

import argparse

import numpy as np

from jingwei.evaluation.accuracy import allocate, assess
from jingwei.evaluation.certificate import Points, accuracy_bounds, certified_part, error_at_most, users_bounds

PIXELS = 400_000
SHARES = np.array([0.55, 0.25, 0.12, 0.06, 0.02])
MAPS = {"5 % wrong": (0.05,) * 5, "25 % wrong": (0.25,) * 5, "rare class wrong": (0.03, 0.03, 0.05, 0.1, 0.6)}
ALPHA = 0.1


def make_map(wrong: tuple[float, ...], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mapped, truth, confidence) of PIXELS pixels."""
    mapped = rng.choice(len(SHARES), PIXELS, p=SHARES)
    confidence = rng.integers(40, 101, PIXELS)
    chance = np.array(wrong)[mapped] * 2 * (100 - confidence) / 60  # of an error: twice the mean at 40, none at 100
    other = (mapped + rng.integers(1, len(SHARES), PIXELS)) % len(SHARES)
    return mapped, np.where(rng.random(PIXELS) < chance, other, mapped), confidence


def judge(mapped: np.ndarray, truth: np.ndarray, confidence: np.ndarray, points: int, redraws: int) -> str:
    classes = len(SHARES)
    rng = np.random.default_rng(1)
    members = [np.flatnonzero(mapped == c) for c in range(classes)]
    pixels = np.zeros((classes, 101), np.int64)
    np.add.at(pixels, (mapped, confidence), 1)
    weights = pixels.sum(axis=1)
    right = mapped == truth
    users = np.array([right[m].mean() for m in members])
    shares = allocate(weights, points)
    held, certified, false, widths = np.zeros(3 + classes), [], 0, []
    for _ in range(redraws):
        drawn = np.concatenate([rng.choice(m, n, replace=False) for m, n in zip(members, shares, strict=True)])
        sample = Points(mapped[drawn], truth[drawn], confidence[drawn])
        low, high = accuracy_bounds(sample, weights)
        counts = np.zeros((classes, classes), np.int64)
        np.add.at(counts, (sample.mapped, sample.truth), 1)
        overall = assess(counts, weights).overall
        each = [a <= u <= b for (a, b), u in zip(users_bounds(sample, classes), users, strict=True)]
        normal = abs(overall.value - right.mean()) <= overall.margin
        held += [low <= right.mean() <= high, 1 - right.mean() <= error_at_most(sample, weights), normal, *each]
        part = certified_part(sample, pixels, ALPHA)
        certified.append(part.share if part else 0)
        false += part is not None and (~right[confidence >= part.confidence]).mean() > ALPHA
        widths.append((high - low, 2 * float(overall.margin)))
    held /= redraws
    exact, normal = np.mean(widths, axis=0)
    falsely = f"falsely {false / redraws:.3f}"
    return (
        f"accuracy {held[0]:.3f} one-sided {held[1]:.3f} users, least {held[3:].min():.3f} | Olofsson's {held[2]:.3f}"
        f" | widths {exact:.3f}, {normal:.3f} | certified {np.mean(certified):.2f} of the map, {falsely}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redraws", type=int, default=1000)
    parser.add_argument("--points", type=int, nargs="+", default=[300, 1000])
    args = parser.parse_args()
    for name, wrong in MAPS.items():
        made = make_map(wrong, np.random.default_rng(0))
        for points in args.points:
            print(f"{name:17} {points:5d} points: {judge(*made, points, args.redraws)}", flush=True)
