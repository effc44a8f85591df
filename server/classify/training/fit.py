"""Logistic regression in plain Python: sparse rows, AdaGrad steps, a penalty on large weights.

Two questions are fitted side by side: which of four classes a row is (softmax), and one yes or no
(logistic). Every step is done in a fixed order with a seeded generator, so that the same rows
always give the same weights.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

Row = Sequence[tuple[int, float]]
"""Bucket and strength of each feature."""
CLASSES = 4
OUTPUTS = CLASSES + 1
_SETTLED = 0.03
"""How far a probability may be off without a step."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the weights are found."""

    epochs: int
    rate: float
    penalty: float
    seed: int = 7


def fit(
    rows: Sequence[Row],
    classes: Sequence[int],
    answers: Sequence[int],
    n_buckets: int,
    settings: Settings,
) -> list[list[float]]:
    """Weights by bucket: one for each class, then one for the yes or no (1 or 0)."""
    weights = [[0.0] * OUTPUTS for _ in range(n_buckets)]
    means = [[0.0] * OUTPUTS for _ in range(n_buckets)]
    squares = [[1e-2] * OUTPUTS for _ in range(n_buckets)]
    order = list(range(len(rows)))
    # The order of the rows needs no secrecy, only repetition.
    shuffler = random.Random(settings.seed)  # noqa: S311
    for _ in range(settings.epochs):
        shuffler.shuffle(order)
        for number in order:
            row = rows[number]
            sums = predict(weights, row)
            slopes = softmax(sums[:CLASSES])
            slopes[classes[number]] -= 1
            slopes.append(logistic(sums[CLASSES]) - answers[number])
            _step(weights, squares, row, slopes, settings)
        for mean, own in zip(means, weights, strict=True):
            for output, weight in enumerate(own):
                mean[output] += weight / settings.epochs
    return means


def predict(weights: Sequence[Sequence[float]], row: Row) -> list[float]:
    """The sums of a row."""
    one = two = three = four = five = 0.0
    for bucket, strength in row:
        # Written out, because this and the step are the whole of the training time.
        a, b, c, d, e = weights[bucket]
        one += strength * a
        two += strength * b
        three += strength * c
        four += strength * d
        five += strength * e
    return [one, two, three, four, five]


def softmax(sums: Sequence[float]) -> list[float]:
    """Probabilities of classes."""
    most = max(sums)
    powers = [math.exp(value - most) for value in sums]
    total = sum(powers)
    return [power / total for power in powers]


def logistic(value: float) -> float:
    """Probability of a yes."""
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, value))))


def _step(
    weights: list[list[float]],
    squares: list[list[float]],
    row: Row,
    slopes: Sequence[float],
    settings: Settings,
) -> None:
    rate, penalty, root = settings.rate, settings.penalty, math.sqrt
    # What is already right to within a few hundredths teaches nothing and costs most of the time.
    wrong = [(output, slope) for output, slope in enumerate(slopes) if abs(slope) > _SETTLED]
    for bucket, strength in row:
        own, seen = weights[bucket], squares[bucket]
        for output, slope in wrong:
            weight = own[output]
            push = slope * strength + penalty * weight
            seen[output] = square = seen[output] + push * push
            own[output] = weight - rate * push / root(square)
