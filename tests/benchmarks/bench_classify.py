"""Cost of one classification: ``python tests/benchmarks/bench_classify.py`` from the top folder.

Prints CPU milliseconds of ``classify`` on a body that has been parsed, by message and by size of
the conversation before it: median and 99th percentile of many calls, and the same over all calls.
Every call is the first with its words: what is remembered of a message is forgotten in between.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from agent_bodies import Json, assistant, main_turn, tool_result, tool_use, user

from providers.types import Protocol
from server.classify import classify, trained, warm
from server.explain import read_as

ROUNDS = 200
SIZES = (0, 3_000, 11_000, 60_000, 180_000)
_REPORT = (
    "The importer drops rows when a column is empty, and nobody noticed before the audit in March. "
    "I think it starts in `read_rows`, since the count is right in src/importer/csv.py but wrong "
    "afterwards; the log says 1,204 rows. We must keep the old format, and the tests use it too. "
)
_CHINESE = (
    "请解释一下这段代码的作用，然后给出改进建议。订单模块在并发的时候会重复扣款，日志里没有报错。"
)
_JAPANESE = (
    "設定ファイルを読み込む部分で値が空のときに例外が発生します。原因を調べて直し方を教えて。"
)
MESSAGES = {
    "short": "fix the off by one in the pager",
    "question": "What is the difference between a mutex and a semaphore in POSIX?",
    "1,000": (_REPORT * 10)[:950] + " What do you suggest?",
    "3,000": (_REPORT * 20)[:2_950] + " What do you suggest?",
    "10,000": (_REPORT * 50)[:9_950] + " What do you suggest?",
    "code": "explain this code\n```python\n" + "x = f(x, y) + g(z)\n" * 500 + "```",
    "log": "2031-05-01 10:00:00 ERROR worker[3] job 17 failed\n" * 150 + "why does this happen?",
    "Chinese": _CHINESE,
    "Chinese 3k": (_CHINESE * 70)[:3_000],
    "Japanese": _JAPANESE,
    "Japanese 3k": (_JAPANESE * 80)[:3_000],
    "mixed": "このエラーを直して:\n```\nTypeError: x is not a function\n```\n" + _REPORT * 3,
}


def body(tokens: int, words: str, *, by_tools: bool = False) -> bytes:
    """A conversation of about ``tokens`` tokens of history that ends with ``words``."""
    turns: list[Json] = []
    share = 2_000 if not by_tools else 700
    filler = "river stone cloud " * (share * 4 // 18)
    for number in range(tokens // share):
        if by_tools:
            call = f"toolu_{number}"
            turns += [assistant(tool_use(call=call)), user(tool_result(filler, call=call))]
        else:
            turns += [user("go on with it"), assistant(filler)]
    if by_tools:
        turns.append(assistant("Done."))
    return json.dumps(main_turn(*turns, user(words))).encode()


def measure(content: bytes) -> list[float]:
    """Milliseconds of each call, in ascending order."""
    request = read_as(Protocol.MESSAGES, content)
    classify(request, None)
    times = []
    for _ in range(ROUNDS):
        trained._known.clear()
        started = time.process_time_ns()
        classify(request, None)
        times.append((time.process_time_ns() - started) / 1e6)
    return sorted(times)


def show(name: str, size: str, times: list[float]) -> None:
    """One line: the median and the 99th percentile."""
    middle, late = times[len(times) // 2], times[int(len(times) * 0.99)]
    print(f"{name:<12}{size:>14}{middle:>12.3f}{late:>10.3f}")


def main() -> None:
    warm()
    everything: list[float] = []
    print(f"{'message':<12}{'history':>14}{'median ms':>12}{'p99 ms':>10}")
    for name, words in MESSAGES.items():
        for size in SIZES:
            times = measure(body(size, words))
            everything += times
            show(name, f"{size:,}", times)
    for name in ("short", "10,000"):
        times = measure(body(180_000, MESSAGES[name], by_tools=True))
        everything += times
        show(name, "180,000 tools", times)
    show("all", "", sorted(everything))


if __name__ == "__main__":
    main()
