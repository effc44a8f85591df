"""Train the classifier's model: ``python -m server.classify.training.train [--check]``.

Fits the four routes and the gate on the corpus, calibrates both on rows held out of a second fit,
rounds the weights to bytes and writes the model file. ``--check`` writes nothing and exits 1 when
the file would change; ``--measure`` prints what cross-validation gives.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from server.classify.gate import LIKELY
from server.classify.model import MODEL_FILE, N_BUCKETS, STEP, pack, row_of
from server.classify.passage import read_passage
from server.classify.reading import reading_of
from server.classify.scorer import ROUTES
from server.classify.training.corpus import Example, read_corpus
from server.classify.training.fit import (
    CLASSES,
    Settings,
    fit,
    logistic,
    predict,
    softmax,
)

SETTINGS = Settings(epochs=4, rate=0.2, penalty=2e-3)
HELD_OUT = 4
"""Every fourth family of phrases is held out for the calibration: what users write is of none."""
UNSEEN = 0.85
"""Part of the calibrated scale that is kept: on messages of another author than those it was fitted
to, half the corpus against the other, the best scale is lower by this much."""
_SCALES = tuple(0.5 * 1.05**step for step in range(40))


@dataclass(frozen=True, slots=True)
class Rows:
    """The corpus as the fit sees it."""

    rows: list[list[tuple[int, float]]]
    routes: list[int]
    leaves: list[int]

    def only(self, numbers: Sequence[int]) -> Rows:
        """Some of the rows."""
        return Rows(
            [self.rows[number] for number in numbers],
            [self.routes[number] for number in numbers],
            [self.leaves[number] for number in numbers],
        )


def prepare(examples: Sequence[Example]) -> Rows:
    """Features and labels."""
    rows = []
    for example in examples:
        passed = read_passage(example.text)
        row = row_of(passed, reading_of(passed), answered=example.answered)
        rows.append([(bucket, strength) for strength, buckets in row for bucket in buckets])
    return Rows(
        rows,
        [ROUTES.index(example.route) for example in examples],
        [int(example.leaves) for example in examples],
    )


def fit_rows(data: Rows) -> list[list[float]]:
    """The weights of the routes and of the gate."""
    return fit(data.rows, data.routes, data.leaves, N_BUCKETS, SETTINGS)


def train(examples: Sequence[Example]) -> bytes:
    """The content of the model file."""
    data = prepare(examples)
    families = sorted({example.family for example in examples})
    folds = [families.index(example.family) % HELD_OUT for example in examples]
    known = data.only([number for number, fold in enumerate(folds) if fold])
    held = data.only([number for number, fold in enumerate(folds) if not fold])
    trial = fit_rows(known)
    sums = [predict(trial, row) for row in held.rows]
    route_scale = min(_SCALES, key=lambda scale: _route_surprise(sums, held.routes, scale))
    gate_scale = min(_SCALES, key=lambda scale: _gate_surprise(sums, held.leaves, scale))
    temperature = round(1 / (UNSEEN * route_scale), 3)
    return pack(_rounded(fit_rows(data)), temperature, round(gate_scale, 3))


def _route_surprise(sums: list[list[float]], routes: list[int], scale: float) -> float:
    """How unlikely held-out rows are when the sums are multiplied by ``scale``."""
    found = (softmax([scale * value for value in values[:CLASSES]]) for values in sums)
    return -sum(math.log(p[route]) for p, route in zip(found, routes, strict=True))


def _gate_surprise(sums: list[list[float]], leaves: list[int], scale: float) -> float:
    found = (logistic(scale * values[CLASSES]) for values in sums)
    return -sum(math.log(p if yes else 1 - p) for p, yes in zip(found, leaves, strict=True))


def _rounded(weights: list[list[float]]) -> array[int]:
    return array("b", (_byte(value) for bucket in weights for value in bucket))


def _byte(weight: float) -> int:
    return max(-127, min(127, round(weight / STEP)))


def cross_validate(examples: Sequence[Example], group: Callable[[int, Example], int]) -> str:
    """Accuracy of the routes, and recall of the gate at its threshold, on groups held out."""
    data = prepare(examples)
    groups = [group(number, example) for number, example in enumerate(examples)]
    right = offered = wrong = 0
    for name in sorted(set(groups)):
        inside = [number for number, own in enumerate(groups) if own == name]
        outside = [number for number, own in enumerate(groups) if own != name]
        weights, held = fit_rows(data.only(outside)), data.only(inside)
        for row, route, leaves in zip(held.rows, held.routes, held.leaves, strict=True):
            *sums, gate = predict(weights, row)
            right += sums.index(max(sums)) == route
            yes = logistic(gate) >= LIKELY
            offered += yes and leaves
            wrong += yes and not leaves
    safe = sum(data.leaves)
    return (
        f"accuracy {right / len(examples):.3f}, gate alone: recall {offered / safe:.3f}, "
        f"unsafe {wrong / (len(examples) - safe):.4f}"
    )


_FAMILIES = 5


def measure(examples: Sequence[Example]) -> str:
    """Cross-validation by row, by language and by family of phrases."""
    families = sorted({example.family for example in examples})
    languages = sorted({example.language for example in examples})
    ways: dict[str, Callable[[int, Example], int]] = {
        "by row": lambda number, _: number * 7919 % 104_729 % 5,
        "by language": lambda _, example: languages.index(example.language),
        "by family": lambda _, example: families.index(example.family) % _FAMILIES,
    }
    return "\n".join(f"{name}: {cross_validate(examples, way)}" for name, way in ways.items())


def main(arguments: Sequence[str]) -> int:
    """The command; 1 if ``--check`` finds a difference."""
    examples = read_corpus()
    if "--measure" in arguments:
        sys.stdout.write(f"{len(examples)} rows\n{measure(examples)}\n")
        return 0
    content = train(examples)
    if "--check" in arguments:
        return int(MODEL_FILE.read_bytes() != content)
    MODEL_FILE.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
