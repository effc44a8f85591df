"""The events watchers receive: metadata only, JSON-able, numbered without gaps.

An event is ``{"v": 1, "seq": int, "at": float, "type": str, ...}``. Types:

=====================  ==========================================================================
``turn.opened``        ``turn``: summary (server.record.Turn.summary); the row was accepted
``turn.updated``       ``turn``: summary; classified, attempt failed, first semantic byte ...
``turn.progress``      ``turn_id``, ``bytes_down``, ``output_estimate``; LOSSY, newest wins
``turn.finished``      ``turn``: summary in its terminal state, priced
``saving.settled``     ``turn_id``, ``saving``: ``Saving.as_json``; the session went on and showed it
``cold.found``         ``turn_id``, ``cold``: ``server.cold.Cold.as_json``; why its cache was cold
``provider.changed``   ``provider``: one entry of ``snapshot["providers"]``
``ledger.changed``     ``ledger``: ``snapshot["ledger"]``
``mode.changed``       ``shadow``: bool, ``source``: who changed it, ``persisted``: bool
``routing.changed``    ``routing``: ``snapshot["routing"]``, ``source``: who changed it
``answer.compared``    ``turn_id``, ``passed``: bool, ``failed``: names of checks, ``entry``: one
                       of ``snapshot["verification"]``
``rung.changed``       ``id at kind provider model from_rung to_rung reason source`` of a move on
                       the ladder, and ``verification``: ``snapshot["verification"]``
``verifier.changed``   ``verifier``: ``snapshot["verifier"]``, ``source``: who changed it
``gateway.changed``    ``state``: ``serving`` or ``draining``, ``in_flight``: int
``rejected``           ``reason``, ``http_status``, ``count``: unauthenticated or malformed
``log``                ``level``, ``logger``, ``message``
=====================  ==========================================================================
"""

from __future__ import annotations

from typing import Any

VERSION = 1

Event = dict[str, Any]
"""One event; see the module docstring for its shapes."""

TURN_OPENED = "turn.opened"
TURN_UPDATED = "turn.updated"
TURN_PROGRESS = "turn.progress"
TURN_FINISHED = "turn.finished"
SAVING_SETTLED = "saving.settled"
COLD_FOUND = "cold.found"
PROVIDER_CHANGED = "provider.changed"
LEDGER_CHANGED = "ledger.changed"
MODE_CHANGED = "mode.changed"
ROUTING_CHANGED = "routing.changed"
ANSWER_COMPARED = "answer.compared"
RUNG_CHANGED = "rung.changed"
VERIFIER_CHANGED = "verifier.changed"
GATEWAY_CHANGED = "gateway.changed"
REJECTED = "rejected"
LOG = "log"

LOSSY = frozenset({TURN_PROGRESS})
"""Types a slow watcher may miss; every other type is kept or answered with a resync."""
