"""Counting votes, pixel by pixel: of label maps (hard) and of class probabilities (soft).

All sums are in whole numbers, so ties are exact and results don't depend on the order of the voters or on the strip.
Every count gives, uint8 HW: the winner's label; the agreement, which is the winner's share of the weight
cast, 0 to 100; and the entropy of the classes' shares, 0 (all for one) to 100 (all classes alike). Soft votes give the
confidence too, which is the winner's mean probability, 0 to 100. A voter who has nothing to say at a pixel abstains, as
does one of weight 0; where all abstain, all of them are NODATA.
"""

import math

import numpy as np

from jingwei.legend import NODATA
from jingwei.system.compiled import compiled

CHUNK = 1024  # columns that a soft vote adds up at a time: their sums stay in the processor's cache
REMEMBERED = 4096  # combinations of votes whose count is remembered: maps of a few voters hold few hundreds
CERTAIN = 255  # what stands for a probability of 1
TERMS = 16384  # entries of the table that entropies are read from


@compiled
def count_votes(maps, weights, ranks, classes, labels, agreement, entropy):
    """Fills labels, agreement and entropy from maps_KHW (uint8), weights (int64 of K), ranks (int64 of 256).

    The class of most weight wins; of several, the one of lowest rank; of those, the first voter's. `classes` is how
    many there are in all.
    """
    voters, height, width = maps.shape
    scale = _percent_of_log(classes)
    differs = np.empty(width, np.uint8)
    # Where voters differ, they mostly do so as they did before: where such votes were counted last, by its hash.
    counted = np.full((REMEMBERED, 2), -1, np.int64)
    for r in range(height):
        # Where all agree, which is most of a map, the loops are plain enough to take many pixels at once.
        differs[:] = 0
        for k in range(1, voters):
            for c in range(width):
                differs[c] |= maps[k, r, c] ^ maps[0, r, c]
        for c in range(width):
            first = maps[0, r, c]
            labels[r, c] = first
            agreement[r, c] = NODATA if first == NODATA else 100
            entropy[r, c] = NODATA if first == NODATA else 0
        for c in range(width):
            if not differs[c]:
                continue
            key = 0
            for k in range(voters):
                key = (31 * key + maps[k, r, c]) % REMEMBERED
            row, col = counted[key]
            known = row >= 0
            for k in range(voters):
                known = known and maps[k, r, c] == maps[k, row, col]
            if known:
                labels[r, c], agreement[r, c], entropy[r, c] = labels[row, col], agreement[row, col], entropy[row, col]
            else:
                best, best_votes, cast = _winner(maps[:, r, c], weights, ranks)
                labels[r, c] = best
                agreement[r, c] = _share(best_votes, cast)
                entropy[r, c] = _entropy_of_votes(maps[:, r, c], weights, cast, scale)
            counted[key] = r, c


@compiled
def _winner(choices, weights, ranks):
    """(class, its votes, all votes cast)"""
    best, best_votes, cast = np.uint8(NODATA), np.int64(0), np.int64(0)
    for k in range(len(choices)):
        if choices[k] == NODATA or weights[k] == 0:
            continue
        cast += weights[k]
        if choices[k] == best:
            continue
        votes = _votes_for(choices[k], choices, weights)
        if votes > best_votes or (votes == best_votes and ranks[choices[k]] < ranks[best]):
            best, best_votes = choices[k], votes
    return best, best_votes, cast


@compiled
def _votes_for(land_class, choices, weights):
    votes = np.int64(0)
    for k in range(len(choices)):
        if choices[k] == land_class:
            votes += weights[k]
    return votes


@compiled
def _entropy_of_votes(choices, weights, cast, scale):
    if cast == 0:
        return np.uint8(NODATA)
    total = np.int64(0)  # in units of 2^-40: whole numbers add up to the same in any order
    for k in range(len(choices)):
        counted = _votes_for(choices[k], choices[:k], weights) > 0
        if counted or choices[k] == NODATA or weights[k] == 0:
            continue
        share = _votes_for(choices[k], choices, weights) / cast
        total += np.int64(-share * math.log(share) * 2.0**40 + 0.5)
    return _percent(total / 2.0**40, scale)


@compiled
def count_soft_votes(planes, weights, ranks, labels, agreement, entropy, confidence):
    """Fills labels, agreement, entropy and confidence.

    From planes_KCHW (uint8, 255 = certain), weights (int64 of K) and ranks (int64 of 256).
    The class of the highest weighted mean wins; of several, the one of lowest rank; of those, the one that the first
    voter who gives them unlike values thinks likelier; at last the lowest id. A voter agrees who gives no class more
    than the winner, and abstains where all classes have 0.
    """
    voters, classes, height, width = planes.shape
    scale, terms = _percent_of_log(classes), _entropy_terms()
    # Arrays of a chunk's columns, and plain loops over them: so many pixels are taken at once.
    sums = np.empty((classes, CHUNK), np.int64)
    highest = np.empty((voters, CHUNK), np.uint8)  # what each voter gives to its own choice
    best = np.empty(CHUNK, np.uint8)
    agreeing, cast = np.empty(CHUNK, np.int64), np.empty(CHUNK, np.int64)
    nats = np.empty(CHUNK, np.float64)
    for r in range(height):
        for left in range(0, width, CHUNK):
            count = min(CHUNK, width - left)
            values = planes[:, :, r, left : left + count]
            _add_up(values, weights, sums, highest)
            _choose(values, sums, weights, ranks, best)
            _count_agreeing(values, highest, weights, best, agreeing, cast)
            _add_entropy(sums[:, :count], terms, nats)
            for c in range(count):
                silent = cast[c] == 0
                labels[r, left + c] = NODATA if silent else best[c]
                agreement[r, left + c] = 100 if agreeing[c] == cast[c] > 0 else _share(agreeing[c], cast[c])
                entropy[r, left + c] = NODATA if silent else _percent(nats[c], scale)
                confidence[r, left + c] = _share(sums[best[c], c], CERTAIN * cast[c])


@compiled
def _add_up(planes, weights, sums, highest):
    """Fills sums_CW with the weighted sums over planes_KCW, and highest_KW with each voter's highest value."""
    voters, classes, width = planes.shape
    sums[:, :width] = 0
    highest[:, :width] = 0
    for k in range(voters):
        weight = weights[k]
        for land_class in range(classes):
            for c in range(width):
                value = planes[k, land_class, c]
                sums[land_class, c] += weight * np.int64(value)
                highest[k, c] = max(highest[k, c], value)


@compiled
def _choose(values, sums, weights, ranks, best):
    """Fills best_W with the class of the highest sum, ties by the rules."""
    classes, width = values.shape[1:]
    top = sums[0, :width].copy()
    tied = np.zeros(width, np.uint8)
    best[:width] = 0
    for land_class in range(1, classes):
        for c in range(width):
            value = sums[land_class, c]
            tied[c] = (tied[c] and value < top[c]) or value == top[c] > 0
            best[c] = land_class if value > top[c] else best[c]
            top[c] = max(top[c], value)
    for c in range(width):
        if tied[c]:
            for land_class in range(best[c] + 1, classes):
                if sums[land_class, c] == top[c] and _goes_before(land_class, best[c], values[:, :, c], weights, ranks):
                    best[c] = land_class


@compiled
def _goes_before(one, other, values, weights, ranks):
    """Whether class `one` wins the tie against `other`, which has a lower id. values_KC are those of a pixel."""
    if ranks[one] != ranks[other]:
        return ranks[one] < ranks[other]
    for k in range(len(values)):
        if weights[k] > 0 and values[k, one] != values[k, other]:
            return values[k, one] > values[k, other]
    return False


@compiled
def _count_agreeing(values, highest, weights, best, agreeing, cast):
    """Fills agreeing_W and cast_W with the weights of those who agree and of all who don't abstain."""
    voters, classes, width = values.shape
    agreeing[:width] = 0
    cast[:width] = 0
    to_best = np.empty(width, np.uint8)
    for k in range(voters):
        for land_class in range(classes):
            for c in range(width):
                value, before = values[k, land_class, c], to_best[c]
                to_best[c] = value if best[c] == land_class else before
        for c in range(width):
            cast[c] += weights[k] if highest[k, c] > 0 else 0
            agreeing[c] += weights[k] if to_best[c] == highest[k, c] > 0 else 0


@compiled
def _add_entropy(sums, terms, nats):
    """Fills nats_W with the entropy of the shares that sums_CW have; 0 where all are 0."""
    classes, width = sums.shape
    total = np.zeros(width, np.float64)
    for land_class in range(classes):
        for c in range(width):
            total[c] += sums[land_class, c]
    nats[:width] = 0
    for c in range(width):
        total[c] = TERMS / max(total[c], 1.0)
    for land_class in range(classes):
        for c in range(width):
            place = sums[land_class, c] * total[c]
            below = int(place)
            nats[c] += terms[below] + (place - below) * (terms[below + 1] - terms[below])


@compiled
def _entropy_terms():
    """-p ln p for p = 0, 1/TERMS ... 1: read between its entries, the entropy is right to 0.01 percent."""
    terms = np.zeros(TERMS + 2, np.float64)
    for i in range(1, TERMS):
        terms[i] = -i / TERMS * math.log(i / TERMS)
    return terms


@compiled
def _percent_of_log(classes):
    """What turns nats into percent of the entropy of classes that are all alike."""
    return 100 / math.log(classes) if classes > 1 else 0.0


@compiled
def _percent(nats, scale):
    # Ids that the legend doesn't know may make more classes than there are.
    return np.uint8(min(100, int(nats * scale + 0.5)))


@compiled
def _share(part, cast):
    """Percent, rounded; NODATA of nothing."""
    return np.uint8((200 * part + cast) // (2 * cast)) if cast > 0 else np.uint8(NODATA)
