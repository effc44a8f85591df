"""The trained model: weights by bucket, read from one file, and the sums they give.

The file holds a line of JSON (layout and calibration), then one signed byte for each bucket and
output. It is written by ``server.classify.training.train`` and is the same whenever that is run on
the same corpus, but for a weight here and there that another mathematical library rounds otherwise.
"""

from __future__ import annotations

import json
import math
from array import array
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from server.classify.features import BUCKETS, Features, features_of
from server.classify.passage import Passage
from server.classify.reading import Reading
from server.classify.scorer import ROUTES, cue_scores

MODEL_FILE = Path(__file__).with_name("data") / "model.bin"
OUTPUTS = len(ROUTES) + 1
"""A sum for each route, and one for "complete in itself"."""
BIAS, ANSWERED, CUES = BUCKETS, BUCKETS + 1, BUCKETS + 2
"""Buckets behind the hashed ones: always there; the model has spoken before; the scores by hand."""
N_BUCKETS = CUES + len(ROUTES)
STEP = 1 / 64
"""What one unit of a stored weight is worth."""

Row = tuple[tuple[float, tuple[int, ...]], ...]
"""A message: strengths, each with the buckets that have it."""
_SIGN, _CUE, _PIECES = 0.5, 1.0, 2.5


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the model makes of one message."""

    routes: tuple[float, ...]
    """Calibrated probabilities in the order of ``ROUTES``."""
    complete: float
    """Calibrated probability that the message can be answered from itself."""


@dataclass(frozen=True, slots=True)
class Model:
    """Weights and calibration."""

    weights: array[int]
    """``N_BUCKETS * OUTPUTS`` signed bytes."""
    temperature: float
    """Divides the sums of the routes before the softmax."""
    slope: float
    """Multiplies the sum of "complete in itself" before the logistic function."""
    rows: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)
    """The same weights by bucket, which are read more quickly."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(zip(*[iter(self.weights)] * OUTPUTS, strict=True)))

    def sums(self, row: Row) -> list[float]:
        """The sum of each output."""
        totals = [0.0] * OUTPUTS
        for strength, buckets in row:
            # Whole numbers first: exact in any order, and a column is summed more quickly.
            columns = zip(*map(self.rows.__getitem__, buckets), strict=True)
            for output, column in enumerate(columns):
                totals[output] += strength * sum(column)
        return [STEP * total for total in totals]

    def estimate(self, row: Row) -> Estimate:
        """Calibrated probabilities."""
        *routes, complete = self.sums(row)
        most = max(routes)
        powers = [math.exp((value - most) / self.temperature) for value in routes]
        total = sum(powers)
        inner = max(-30.0, min(30.0, self.slope * complete))
        return Estimate(tuple(power / total for power in powers), 1 / (1 + math.exp(-inner)))


def row_of(passed: Passage, reading: Reading, *, answered: bool) -> Row:
    """Strengths and buckets of one message."""
    features: Features = features_of(passed.prose, reading)
    scores = cue_scores(reading)
    share = _PIECES / math.sqrt(len(features.pieces) or 1)
    return (
        (_SIGN, features.signs),
        (share, features.pieces),
        *((_CUE * scores[route], (CUES + at,)) for at, route in enumerate(ROUTES)),
        (1.0, (BIAS, ANSWERED) if answered else (BIAS,)),
    )


def pack(weights: array[int], temperature: float, slope: float) -> bytes:
    """The bytes of the model's file."""
    head = {
        "buckets": N_BUCKETS,
        "outputs": OUTPUTS,
        "slope": slope,
        "temperature": temperature,
    }
    return json.dumps(head, sort_keys=True).encode() + b"\n" + weights.tobytes()


def unpack(content: bytes) -> Model:
    """The model in a file; ``ValueError`` if its layout is not this program's."""
    head, _, body = content.partition(b"\n")
    about = json.loads(head)
    if (about["buckets"], about["outputs"]) != (N_BUCKETS, OUTPUTS):
        raise ValueError("the model was trained for another layout")
    weights = array("b", body)
    if len(weights) != N_BUCKETS * OUTPUTS:
        raise ValueError("the model is cut off")
    return Model(weights, about["temperature"], about["slope"])


@cache
def model() -> Model:
    """The shipped model; read once."""
    return unpack(MODEL_FILE.read_bytes())
