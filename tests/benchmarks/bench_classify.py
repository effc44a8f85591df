"""Cost of one classification: ``python tests/benchmarks/bench_classify.py`` from the top folder.

Prints CPU milliseconds of ``classify`` on a body that has been parsed, by size of the conversation
and by message: median and 99th percentile of many calls. Every call is the first with its words:
what is remembered of a message is forgotten in between.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from agent_bodies import assistant, main_turn, user

from providers.types import Protocol
from server.classify import classify, trained
from server.explain import read_as

ROUNDS = 400
SIZES = (0, 3_000, 11_000, 60_000, 180_000)
MESSAGES = {
    "short": "fix the off by one in the pager",
    "question": "What is the difference between a mutex and a semaphore in POSIX?",
    "long": "Please look at the importer, it drops rows when a column is empty. " * 40,
    "code": "explain this code\n```python\n" + "x = f(x, y) + g(z)\n" * 200 + "```",
    "chinese": "请解释一下这段代码的作用，然后给出改进建议。" * 60,
}


def body(tokens: int, words: str) -> bytes:
    """A conversation of about ``tokens`` tokens of history that ends with ``words``."""
    turns = []
    share = 2_000 * 4
    for _ in range(tokens * 4 // share):
        turns += [user("go on with it"), assistant("river stone cloud " * (share // 18))]
    return json.dumps(main_turn(*turns, user(words))).encode()


def measure(content: bytes) -> tuple[float, float]:
    """Median and 99th percentile in milliseconds."""
    request = read_as(Protocol.MESSAGES, content)
    classify(request, None)
    times = []
    for _ in range(ROUNDS):
        trained._known.clear()
        started = time.process_time_ns()
        classify(request, None)
        times.append((time.process_time_ns() - started) / 1e6)
    times.sort()
    return times[ROUNDS // 2], times[int(ROUNDS * 0.99)]


def main() -> None:
    print(f"{'message':<12}{'history':>10}{'median ms':>12}{'p99 ms':>10}")
    for name, words in MESSAGES.items():
        for size in SIZES:
            middle, late = measure(body(size, words))
            print(f"{name:<12}{size:>10,}{middle:>12.3f}{late:>10.3f}")


if __name__ == "__main__":
    main()
