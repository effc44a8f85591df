"""The training: the corpus is sound, a fit learns, and the shipped file is what it gives."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from server.classify.model import MODEL_FILE, unpack
from server.classify.scorer import ROUTES
from server.classify.training.corpus import read_corpus
from server.classify.training.fit import Settings, fit, logistic, predict, softmax
from server.classify.training.train import cross_validate, train

EXAMPLES = read_corpus()
LANGUAGES = {"en", "zh", "ja", "es", "de", "fr", "pt", "ru"}


@pytest.mark.timeout(240)
def test_the_shipped_model_is_what_the_corpus_gives() -> None:
    made, shipped = unpack(train(EXAMPLES)), unpack(MODEL_FILE.read_bytes())
    assert (made.temperature, made.slope) == (shipped.temperature, shipped.slope)
    # The last place of ``exp`` differs between machines, and in a few weights decides the rounding.
    apart = [abs(a - b) for a, b in zip(made.weights, shipped.weights, strict=True) if a != b]
    assert max(apart, default=0) <= 1
    assert len(apart) < len(shipped.weights) / 100


def test_the_corpus_covers_every_class_in_every_language() -> None:
    counts = Counter((example.language, example.route) for example in EXAMPLES)
    offers = Counter((example.language, example.leaves) for example in EXAMPLES)
    for language in LANGUAGES:
        assert min(counts[language, route] for route in ROUTES) >= 10
        assert min(offers[language, leaves] for leaves in (True, False)) >= 15


def test_no_message_stands_twice_and_none_that_acts_may_leave() -> None:
    texts = Counter(example.text.casefold() for example in EXAMPLES)
    assert not [text for text, count in texts.items() if count > 1]
    assert not [e for e in EXAMPLES if e.leaves and e.route == "fallback_safe"]


def test_a_class_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    line = {"route": "poetry", "leaves": False, "family": "x", "text": "hello"}
    (tmp_path / "en.jsonl").write_text(json.dumps(line), "utf-8")
    with pytest.raises(ValueError, match="poetry"):
        read_corpus(tmp_path)


def test_a_fit_learns_what_the_rows_say() -> None:
    rows = [[(kind, 1.0), (4, 1.0)] for kind in range(4)] * 5
    classes = [0, 1, 2, 3] * 5
    answers = [1, 0, 0, 1] * 5
    weights = fit(rows, classes, answers, 5, Settings(epochs=30, rate=0.3, penalty=1e-4))
    for row, kind, answer in zip(rows, classes, answers, strict=True):
        *sums, gate = predict(weights, row)
        shares = softmax(sums)
        assert shares.index(max(shares)) == kind
        assert (logistic(gate) > 0.5) == bool(answer)


def test_other_seeds_give_other_weights() -> None:
    rows = [[(n % 3, 1.0)] for n in range(12)]
    labels = [n % 4 for n in range(12)]
    fits = [
        fit(rows, labels, labels, 3, Settings(epochs=2, rate=0.1, penalty=0.0, seed=seed))
        for seed in (1, 1, 2)
    ]
    assert fits[0] == fits[1] != fits[2]


def test_a_held_out_language_is_still_mostly_understood() -> None:
    few = [e for e in EXAMPLES if e.language in ("en", "de")][::4]
    line = cross_validate(few, lambda _, example: example.language == "de")
    assert float(line.split()[1].rstrip(",")) > 0.5
