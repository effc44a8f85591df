"""A process that writes turns to a ledger, and says which are recorded, until it is killed.

    python ledger_crash_child.py PATH BOOT_ID THREADS DURABILITY

Prints ``ready`` and waits for a line; from then on prints ``open ID`` or ``closed ID`` once that
row is durable. DURABILITY is that of the ledger, or ``journal``. Every fifth turn of a thread stays open, every third of the others is waited for;
every second one that ends settles its saving.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path

sys.path[:0] = os.environ["LEDGER_CHILD_PATH"].split(os.pathsep)

from turn_factory import finish, opened  # noqa: E402

from server.clock import SystemClock  # noqa: E402
from server.ledger import Ledger  # noqa: E402
from server.record import Proposal, Saving  # noqa: E402

PROPOSAL = Proposal("groq", "m", "would_move", "why")
SAVING = Saving("open", 0.01, 0.25, -1.0, 1.0, 0.25, baseline_usd=0.5)

_say_one_at_a_time = threading.Lock()


def say(line: str) -> None:
    """Hand the line to the system in one piece: what was said survives our death."""
    with _say_one_at_a_time:
        os.write(1, line.encode() + b"\n")


def work(ledger: Ledger) -> None:
    """Open and close turns as fast as they become durable."""
    for number in itertools.count():
        turn = opened(proposal=PROPOSAL)
        ledger.open_turn(turn).result()
        say(f"open {turn.id}")
        if number % 5 == 4:
            continue
        recorded = ledger.close_turn(finish(turn, saving=SAVING), lambda: None)
        if number % 2 == 0:
            ledger.settle_saving(turn.id, replace(SAVING, state="settled", usd=-0.5))
        if number % 3 == 0:
            recorded.result()
            say(f"closed {turn.id}")


def main() -> None:
    """See the module docstring."""
    path, boot_id, threads, durability = sys.argv[1:]
    has_journal = durability == "journal"
    ledger = Ledger(
        Path(path),
        clock=SystemClock(),
        boot_id=boot_id,
        durability="normal" if has_journal else durability,
        has_journal=has_journal,
    )
    ledger.start()
    say("ready")
    sys.stdin.readline()
    for _ in range(int(threads)):
        threading.Thread(target=work, args=(ledger,), daemon=True).start()
    sys.stdin.read()
    ledger.close(10)


if __name__ == "__main__":
    main()
