"""Cost of StreamTap per event: ``python tests/benchmarks/bench_tap.py`` from the top folder.

Prints CPU microseconds per event, the best of several rounds, for one event a chunk (what a slow
stream looks like) and for many events a chunk (what a burst looks like).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from anthropic_streams import block_stop, input_json_delta, signature_delta, text_delta

from providers.protocols.anthropic.stream import PING, StreamTap

EVENTS = 20_000
ROUNDS = 7

CASES = {
    "text delta": text_delta(0, " and so the answer is"),
    "tool argument delta": input_json_delta(1, '", "content": "def run(self):\\n'),
    "signature delta (600 B)": signature_delta(0, "Q" * 600),
    "text delta, CRLF": text_delta(0, " and so the answer is").replace(b"\n", b"\r\n"),
    "block stop": block_stop(0),
    "ping": PING,
}


def per_event_us(event: bytes, events_per_chunk: int) -> float:
    """Best round, in microseconds per event."""
    chunk = event * events_per_chunk
    best = float("inf")
    for _ in range(ROUNDS):
        tap = StreamTap()
        started = time.process_time()
        for _ in range(EVENTS // events_per_chunk):
            tap.feed(chunk)
        best = min(best, time.process_time() - started)
    return best / EVENTS * 1e6


def per_byte_ns(size: int) -> float:
    """A single delta of ``size`` bytes that arrives in 64 KiB chunks, in nanoseconds per byte."""
    event = input_json_delta(0, "x" * size)
    step = 64 * 1024
    best = float("inf")
    for _ in range(ROUNDS):
        tap = StreamTap()
        started = time.process_time()
        for start in range(0, len(event), step):
            tap.feed(event[start : start + step])
        best = min(best, time.process_time() - started)
    return best / len(event) * 1e9


def main() -> None:
    print(f"{'event':<26}{'1 a chunk':>12}{'50 a chunk':>12}   (us per event)")
    for name, event in CASES.items():
        print(f"{name:<26}{per_event_us(event, 1):>12.2f}{per_event_us(event, 50):>12.2f}")
    print(f"one delta of 4 MiB in 64 KiB chunks: {per_byte_ns(4 << 20):.2f} ns per byte")


if __name__ == "__main__":
    main()
