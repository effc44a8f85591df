"""What a front end may ask of the record beside the snapshot; answers as commands do.

Everything is read in a thread, one question at a time, so that running streams do not wait.

``sessions(since=0)`` [``server.ledger_groups.session_sums``];
``session_turns(session)`` [turns: summaries, newest first];
``report(since=0)`` [``server.report``];
``sent(since=0)`` [sent: ``server.ledger_groups.sent``];
``request(turn_id, texts=False, is_remote=False)``: what a turn asked, block by block, and where it parts from the
call before: [``server.turn_story.story_of``, and where its body was kept ``has_text`` true,
``blocks`` with ``title chars`` and, with ``texts``, ``text``, and ``difference``:
``server.body_view.Difference`` or ``None``; ``why`` says why there is no text].
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from providers.pricing import Prices
from server import body_view, command_table
from server.backtest_prices import PriceBook
from server.capture import Capture
from server.clock import Clock
from server.config import Settings
from server.engine import CommandResult
from server.ledger_groups import sent, session_sums, session_turns
from server.ledger_schema import LedgerError
from server.private_files import UnsafeFileError
from server.report_make import make_report
from server.savings_assumptions import Assumptions
from server.tool_names import known_names
from server.turn_story import story_of

MOST_TURNS: Final = 300
PAUSE_S: Final = 0.001
"""The thread of a report stands back so long, again and again."""

CAPTURE_OFF: Final = "Texts are not kept; capture.enabled in the settings keeps them for a while."
NOT_KEPT: Final = "The text of this turn was not kept, or is no longer."

KEY_PUBLIC: Final = (
    "Texts do not leave the gateway's own screen as long as its key is the public default; "
    "set STACKBILT_GATEWAY_KEY."
)


class BadQuestion(Exception):
    """An argument is of the wrong kind."""


class Views:
    """Answers the questions above; belongs to the loop's thread."""

    def __init__(
        self,
        ledger: Path,
        settings: Callable[[], Settings],
        prices: Prices,
        clock: Clock,
        capture: Capture,
        *,
        digest_key: bytes = b"",
        is_key_public: bool = False,
        is_demo: bool = False,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._prices = prices
        self._clock = clock
        self._capture = capture
        self._names = known_names(digest_key)
        self._is_demo = is_demo
        self._is_key_public = is_key_public
        self._one_at_a_time = asyncio.Lock()

    async def run(self, name: str, arguments: Mapping[str, Any]) -> CommandResult | None:
        """Answer a question; ``None`` when it is not one of these."""
        questions: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
            "sessions": self._sessions,
            "session_turns": self._session_turns,
            "report": self._report,
            "sent": self._sent,
            "request": self._request,
        }
        if name not in questions:
            return None
        try:
            async with self._one_at_a_time:
                found = await command_table.run(questions, name, arguments)
        except BadQuestion as error:
            return CommandResult(False, f"{name}: {error}")
        except (LedgerError, sqlite3.Error, OSError, UnsafeFileError) as error:
            return CommandResult(False, f"the record cannot be read: {error}")
        return CommandResult(True, "", found) if isinstance(found, dict) else found

    async def _sessions(self, since: float = 0.0) -> dict[str, Any]:
        now = self._clock.time()
        return await asyncio.to_thread(
            session_sums, self._ledger, now=now, since=_time(since), demo=self._is_demo
        )

    async def _session_turns(self, session: str) -> dict[str, Any]:
        _text(session)
        turns = await asyncio.to_thread(session_turns, self._ledger, session, MOST_TURNS)
        return {"turns": turns}

    async def _report(self, since: float = 0.0) -> dict[str, Any]:
        book = PriceBook(self._prices, Assumptions())
        return await asyncio.to_thread(
            make_report,
            self._ledger,
            self._settings(),
            book,
            since=_time(since),
            demo=self._is_demo,
            pause=_stand_back,
        )

    async def _sent(self, since: float = 0.0) -> dict[str, Any]:
        found = await asyncio.to_thread(sent, self._ledger, _time(since), demo=self._is_demo)
        return {"since": since, "sent": found}

    async def _request(
        self, turn_id: str, texts: bool = False, is_remote: bool = False
    ) -> dict[str, Any]:
        _text(turn_id)
        is_refused = is_remote and self._is_key_public
        found = await asyncio.to_thread(self._told, turn_id, texts is True and not is_refused)
        if is_refused and found["has_text"]:
            found |= {"has_text": False, "why": KEY_PUBLIC, "difference": None}
        return found

    def _told(self, turn_id: str, texts: bool) -> dict[str, Any]:
        story = story_of(self._ledger, turn_id, self._names) or {
            "previous": None,
            "change": None,
            "blocks": [],
        }
        kept = self._capture.read(turn_id)
        if kept is None:
            why = NOT_KEPT if self._capture.is_on else CAPTURE_OFF
            return story | {"has_text": False, "why": why}
        blocks = body_view.fold(kept.get("body"))
        before = self._capture.read(story["previous"]) if story["previous"] else None
        old = body_view.fold(before.get("body")) if before else []
        same = body_view.same_blocks(old, blocks)
        found = body_view.difference(old, blocks) if before else None
        return story | {
            "has_text": True,
            "why": None if before or not story["previous"] else "the call before was not kept",
            "blocks": [
                block.as_json(with_text=texts) | {"is_same": at < same}
                for at, block in enumerate(blocks)
            ],
            "difference": found.as_json() if found else None,
        }


def _time(since: object) -> float:
    """Seconds since the epoch; raises ``BadQuestion``."""
    if isinstance(since, bool) or not isinstance(since, int | float) or not math.isfinite(since):
        raise BadQuestion("that is no time")
    return float(since)


def _text(value: object) -> None:
    if not isinstance(value, str):
        raise BadQuestion("that is no name")


def _stand_back() -> None:
    time.sleep(PAUSE_S)
