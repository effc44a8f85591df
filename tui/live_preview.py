"""What routing would move, in words: for going live, and for a changed preference list. Pure.

Reads the answers of the engine's ``preview_live`` and ``check_route`` without trusting them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from providers.profiles import profiles
from tui import format as fmt
from tui import saving_text
from tui.lines import EMPTY, Line, clip, join, line, wrap
from tui.provider_page import key_env
from tui.rows import count_of, mappings_in, number_of, text_of

MOVES = frozenset({"would_move", "moved"})
"""States of a turn that really goes elsewhere once shadow is off."""

_MOST_MOVES = 500
_WIDE = 76
_WITH_RANGE = 104
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Move:
    """Recent turns of one class and kind, and where they would have gone."""

    route: str
    kind: str
    provider: str
    model: str | None
    state: str
    turns: int
    input_tokens: int | None
    usd: float | None
    """Cache-aware net of the priced turns; ``None`` when there are none."""
    low_usd: float | None
    high_usd: float | None
    unpriced: int

    @property
    def target(self) -> str:
        """``provider/model``."""
        return f"{self.provider}/{self.model}" if self.model else self.provider


@dataclass(frozen=True, slots=True)
class Preview:
    """Recent turns under one routing."""

    turns: int = 0
    moves: tuple[Move, ...] = ()
    stays: int = 0

    @property
    def moved(self) -> tuple[Move, ...]:
        """Those that would really go elsewhere."""
        return tuple(move for move in self.moves if move.state in MOVES)


@dataclass(frozen=True, slots=True)
class Net:
    """A sum over moves; dollars are ``None`` while nothing in it has a price."""

    turns: int = 0
    unpriced: int = 0
    usd: float | None = None
    low_usd: float | None = None
    high_usd: float | None = None


def preview_from(value: object) -> Preview:
    """A preview: ``{turns, moves, stays}``, or only the list of moves."""
    table: Mapping[str, Any] = value if isinstance(value, dict) else {"moves": value}
    found = mappings_in(table.get("moves"))
    moves = tuple(move for item in found[:_MOST_MOVES] if (move := _move(item)).turns)
    stays = count_of(table.get("stays")) or 0
    turns = count_of(table.get("turns"))
    moving = sum(move.turns for move in moves)
    return Preview(moving + stays if turns is None else turns, moves, stays)


def _move(item: Mapping[str, Any]) -> Move:
    turns = count_of(item.get("turns")) or 0
    unpriced = count_of(item.get("unpriced")) or 0
    # A sum over no priced turn says nothing, and 0 would look like one.
    is_priced = turns > unpriced
    return Move(
        route=text_of(item.get("route")) or fmt.UNKNOWN,
        kind=text_of(item.get("kind")) or "",
        provider=text_of(item.get("provider")) or fmt.UNKNOWN,
        model=text_of(item.get("model")),
        state=text_of(item.get("state")) or "",
        turns=turns,
        input_tokens=count_of(item.get("input_tokens")),
        usd=number_of(item.get("usd")) if is_priced else None,
        low_usd=number_of(item.get("low_usd")) if is_priced else None,
        high_usd=number_of(item.get("high_usd")) if is_priced else None,
        unpriced=unpriced,
    )


def net_of(moves: Iterable[Move]) -> Net:
    """The sum; a move whose price is unknown counts among the unpriced turns."""
    net = Net()
    for move in moves:
        if move.usd is None:
            net = replace(net, turns=net.turns + move.turns, unpriced=net.unpriced + move.turns)
            continue
        net = Net(
            net.turns + move.turns,
            net.unpriced + move.unpriced,
            (net.usd or 0.0) + move.usd,
            (net.low_usd or 0.0) + (move.usd if move.low_usd is None else move.low_usd),
            (net.high_usd or 0.0) + (move.usd if move.high_usd is None else move.high_usd),
        )
    return net


# ------------------------------------------------------------------------------------- words


def going_live(
    preview: Preview, providers: Mapping[str, Mapping[str, Any]], width: int
) -> list[Line]:
    """The whole text of the question, ``providers`` being ``snapshot["providers"]`` by name."""
    moved = preview.moved
    lines = [*wrap(_opening(preview), width, "strong")]
    for sentence in destinations(moved, providers):
        lines += wrap(sentence, width, "warn")
    lines.append(EMPTY)
    if moved:
        lines += [
            *(clip(one, width) for one in table(moved, width)),
            *wrap(sum_in_words(net_of(moved)), width),
            EMPTY,
        ]
    left = list(left_behind(preview, providers))
    for sentence in left:
        lines += wrap(sentence, width, "muted")
    lines += [EMPTY] if left else []
    return [*lines, *wrap(_closing(preview), width)]


def _opening(preview: Preview) -> str:
    turns = sum(move.turns for move in preview.moved)
    if not preview.turns:
        return "No turn has been seen yet, so it is not known what would change."
    of_all = "The only turn" if preview.turns == 1 else f"Of the last {preview.turns} turns"
    if not turns:
        none = "would have stayed where it was" if preview.turns == 1 else "none would have moved"
        return f"Nothing would change so far. {of_all}{' ' if preview.turns == 1 else ', '}{none}."
    if preview.turns == 1:
        return "The only turn so far would have gone elsewhere."
    return f"{of_all}, {turns} would have gone elsewhere and {preview.turns - turns} not."


def _closing(preview: Preview) -> str:
    start = "Once live" if preview.moved else "Once live, later turns may still move:"
    comma = "," if preview.moved else ""
    return (
        f"{start}{comma} a request that your routes send elsewhere is answered by that model, and "
        "its whole text goes there. S takes everything back at once."
    )


def sum_in_words(net: Net) -> str:
    """``Together they would have saved $0.0123 (a loss of ... to a gain of ...).``"""
    if net.usd is None:
        return "What that would have saved or lost is not known: no price for these turns."
    verb = "saved" if net.usd >= 0 else "lost"
    reach = saving_text.between(net.low_usd, net.high_usd)
    text = f"Together they would have {verb} {fmt.total(abs(net.usd))}"
    text += f" ({reach})." if reach else "."
    if net.unpriced:
        text += f" {net.unpriced} of {net.turns} turns could not be priced."
    return text


def destinations(
    moves: Iterable[Move], providers: Mapping[str, Mapping[str, Any]]
) -> Sequence[str]:
    """One sentence for every company that would be sent text, the most turns first."""
    turns: dict[str, int] = {}
    for move in moves:
        turns[move.provider] = turns.get(move.provider, 0) + move.turns
    named = sorted(turns.items(), key=lambda item: -item[1])
    return [
        f"Text of these turns would go to {company(name, providers.get(name) or {})}"
        + (f": {fmt.plural(count, 'turn')}." if len(named) > 1 else ".")
        for name, count in named
    ]


def company(name: str, provider: Mapping[str, Any]) -> str:
    """``Groq (api.groq.com)``; a name of the user's own stays as it is."""
    known = profiles().get(name)
    title = known.title if known is not None else name
    return f"{title} ({_host(text_of(provider.get('base_url')))})"


def _host(base_url: str | None) -> str:
    try:
        parts = urlsplit(base_url or "")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        return "address not known"
    shown = host if port in (None, _PORTS.get(parts.scheme)) else f"{host}:{port}"
    return f"{shown}, on this machine" if _is_here(host) else shown


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_LEFT_WORDS: Mapping[str, str] = {
    "needs_key": "more would go to {target} once {key} is set",
    "unsupported": "would go to {target} if this gateway could carry {them} there: {they}",
    "observed": "would go to {target} if the mode did not only observe: {they}",
}
_ONE = {"them": "it", "they": "it stays"}
_MANY = {"them": "them", "they": "they stay"}


def left_behind(preview: Preview, providers: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """A sentence for each target that gets nothing, and why."""
    counts: dict[tuple[str, str, str], int] = {}
    for move in preview.moves:
        if move.state in _LEFT_WORDS:
            at = (move.state, move.provider, move.target)
            counts[at] = counts.get(at, 0) + move.turns
    for (state, provider, target), count in counts.items():
        key = key_env(provider, providers.get(provider) or {}) or "its key"
        number = _ONE if count == 1 else _MANY
        words = _LEFT_WORDS[state].format(target=target, key=key, **number)
        yield f"{fmt.plural(count, 'turn')} {words}."
    if preview.stays:
        stay = "stays where it is" if preview.stays == 1 else "stay where they are"
        yield f"{fmt.plural(preview.stays, 'turn')} {stay}: no route sends such a turn elsewhere."


# ------------------------------------------------------------------------------------- table


def table(moves: Sequence[Move], width: int) -> list[Line]:
    """The moves: in columns where there is room, else two lines each."""
    if width < _WIDE:
        return [shown for move in moves for shown in _stacked(move, width)]
    what = 26
    reach = 23 if width >= _WITH_RANGE else 0
    to = (
        width
        - what
        - 5
        - fmt.TOKENS_WIDTH
        - saving_text.GAIN_WIDTH
        - 4
        - (reach + 1 if reach else 0)
    )
    head = [("what", what, "left"), ("goes to", to, "left"), ("turns", 5, "right")]
    head += [("input", fmt.TOKENS_WIDTH, "right"), ("net", saving_text.GAIN_WIDTH, "right")]
    head += [("range", reach, "right")] if reach else []
    lines = [join([line((_fit(text, cells, side), "muted")) for text, cells, side in head], " ")]
    for move in moves:
        cells = [
            line((fmt.fit(_what(move), what), "text")),
            line((fmt.fit(move.target, to), "accent")),
            line((fmt.fit(fmt.tokens(move.turns), 5, "right"), "text")),
            line((fmt.fit(fmt.tokens(move.input_tokens), fmt.TOKENS_WIDTH, "right"), "text")),
            line(
                (fmt.fit(saving_text.gain(move.usd), saving_text.GAIN_WIDTH, "right"), _role(move))
            ),
        ]
        if reach:
            cells.append(line((fmt.fit(_range(move), reach, "right"), "muted")))
        lines.append(join(cells, " "))
    return lines


def _stacked(move: Move, width: int) -> list[Line]:
    figures = f"{fmt.plural(move.turns, 'turn')}, {fmt.tokens(move.input_tokens)} in, "
    spans = line(f"  {figures}", (saving_text.gain(move.usd), _role(move)))
    reach = _range(move)
    if reach and sum(len(text) for text, _ in spans) + len(reach) + 2 <= width:
        spans = (*spans, (f"  {reach}", "muted"))
    target = max(10, width - 2 - len(_what(move)) - 3)
    return [
        line(_what(move), (" → ", "muted"), (fmt.neutralise(move.target, target), "accent")),
        spans,
    ]


def _fit(text: str, cells: int, side: str) -> str:
    return fmt.fit(text, cells, "right" if side == "right" else "left")


def _what(move: Move) -> str:
    kind = f" {move.kind}" if move.kind and move.kind != move.route else ""
    return fmt.neutralise(f"{move.route}{kind}", 26)


def _role(move: Move) -> str:
    return saving_text.gain_role(move.usd, is_real=False)


def _range(move: Move) -> str:
    if move.low_usd is None or move.high_usd is None:
        return ""
    return f"{saving_text.gain(move.low_usd)} to {saving_text.gain(move.high_usd)}"


# ------------------------------------------------------------------------------------ effect


def effect(
    before: Preview, after: Preview, providers: Mapping[str, Mapping[str, Any]], width: int
) -> list[Line]:
    """What a changed preference list does to recent turns: before, after, and who reads more."""
    if not max(before.turns, after.turns):
        return wrap("No such turn has been seen yet, so the effect is not known.", width, "muted")
    was, will = net_of(before.moved), net_of(after.moved)
    turns = max(before.turns, after.turns)
    title = f"Its last {turns} turns" if turns > 1 else "Its only turn so far"
    lines = [line((title, "muted"))]
    lines += [_effect_line("before", was, width), _effect_line("after", will, width)]
    lines = [clip(one, width) for one in lines]
    old = {move.provider for move in before.moved}
    for sentence in destinations((m for m in after.moved if m.provider not in old), providers):
        lines += wrap(sentence, width, "warn")
    for sentence in left_behind(replace(after, stays=0), providers):
        lines += wrap(sentence, width, "muted")
    return lines


def _effect_line(name: str, net: Net, width: int) -> Line:
    moved = f"{net.turns} moved" if net.turns else "none moved"
    spans = line((fmt.fit(name, 8), "muted"), fmt.fit(moved, 12))
    if net.turns:
        role = saving_text.gain_role(net.usd, is_real=False)
        spans = (
            *spans,
            (fmt.fit(saving_text.gain(net.usd), saving_text.GAIN_WIDTH, "right"), role),
        )
        reach = saving_text.between(net.low_usd, net.high_usd)
        if reach and 20 + saving_text.GAIN_WIDTH + 2 + len(reach) <= width:
            spans = (*spans, (f"  {reach}", "muted"))
    return spans
