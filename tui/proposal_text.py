"""What live mode would have done with a turn (or did), and what was thought of besides, as lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from providers.profiles import profiles
from tui import format as fmt
from tui import saving_text
from tui.lines import Line, clip, line, wrap
from tui.rows import amount_of, count_of, mapping_of, mappings_in, number_of, text_of

Detail = Mapping[str, Any]

_LABEL = 13


def _pairs(label: str, value: str, width: int, role: str = "text") -> list[Line]:
    first, indent = fmt.fit(label, _LABEL), " " * _LABEL
    return [
        ((first if index == 0 else indent, "muted"), *text)
        for index, text in enumerate(wrap(value, max(10, width - _LABEL), role))
    ]


def lines(detail: Detail, width: int) -> list[Line]:
    """The section, its title included; nothing while it is not known whether there is one."""
    if "proposal" not in detail:
        return []
    is_live = text_of(detail.get("mode")) == "live"
    title = "WHAT LIVE MODE DID" if is_live else "WHAT LIVE MODE WOULD HAVE DONE"
    proposal = mapping_of(detail.get("proposal"))
    rows = _moved(detail, proposal, width) if proposal else _stayed(detail, width, is_live=is_live)
    return [line((title, "title")), *rows]


def _stayed(detail: Detail, width: int, *, is_live: bool) -> list[Line]:
    where = vendor(text_of(detail.get("provider")))
    said = f"It stayed with {where}" if is_live else f"It would have stayed with {where} too"
    if pin := text_of(detail.get("pinned_by")):
        said += f", pinned by {pin}"
    elif detail.get("offload") is False:
        said += "; work of this kind does not leave its vendor"
    return wrap(f"{said}.", width)


def vendor(provider: str | None) -> str:
    """The company behind a provider's name, as far as it is known."""
    profile = profiles().get(provider or "")
    return profile.title if profile is not None else provider or "its vendor"


def _moved(detail: Detail, proposal: Mapping[str, Any], width: int) -> list[Line]:
    state = text_of(proposal.get("state")) or fmt.UNKNOWN
    names = (text_of(proposal.get("provider")), text_of(proposal.get("model")))
    rows = _pairs("target", "/".join(n for n in names if n), width, "strong")
    rows.extend(_pairs("", saving_text.STATE_WORDS.get(state, state), width))
    if (reason := text_of(proposal.get("reason"))) is not None:
        rows.extend(_pairs("because", reason, width))
    saving = mapping_of(detail.get("saving"))
    if not saving:
        waits = "known when the turn has ended" if detail.get("status") == "open" else "not known"
        return [*rows, *_pairs("net", waits, width, "muted")]
    rows.extend(_pairs("price there", _prices(detail, saving), width))
    rows.extend(_penalties(detail, saving, width))
    return [*rows, *_figures(saving, width, is_real=state == "moved")]


def _prices(detail: Detail, saving: Mapping[str, Any]) -> str:
    there = amount_of(saving.get("target_usd"))
    here = amount_of(saving.get("baseline_usd"))
    where = vendor(text_of(detail.get("provider")))
    shown = "unknown" if there is None else fmt.estimated(fmt.money(there))
    if here is None:
        return f"{shown}; what it cost here is unknown"
    return f"{shown}, against {fmt.money(here)} at {where}"


def _penalties(detail: Detail, saving: Mapping[str, Any], width: int) -> list[Line]:
    """What leaving would have cost in the vendor's cache, in words."""
    where = vendor(text_of(detail.get("provider")))
    rows: list[Line] = []
    expired = amount_of(saving.get("penalty_ttl_usd")) or 0.0
    if expired:
        prefix = count_of(detail.get("cache_read_tokens"))
        size = f" of {fmt.tokens(prefix)} tokens" if prefix else ""
        text = (
            f"leaving {where} with a warm prefix{size} would have cost "
            f"{fmt.money(expired)} to write again"
        )
        rows.extend(_pairs("cache lost", text, width, "bad"))
    postponed = amount_of(saving.get("penalty_write_usd")) or 0.0
    if postponed:
        counts = (count_of(detail.get(f"cache_write_{ttl}_tokens")) or 0 for ttl in ("5m", "1h"))
        written = sum(counts)
        size = f" {fmt.tokens(written)} tokens of" if written else ""
        text = (
            f"{where} would have had{size} cache to write later all the same: "
            f"{fmt.money(postponed)} not saved"
        )
        rows.extend(_pairs("cache later", text, width))
    return rows


def _figures(saving: Mapping[str, Any], width: int, *, is_real: bool) -> list[Line]:
    usd = number_of(saving.get("usd"))
    note = text_of(saving.get("note"))
    if usd is None:
        text = "unknown: " + (note or "a price or the usage is not known")
        rows = _pairs("net", text, width, "warn")
    else:
        reach = saving_text.between(
            number_of(saving.get("low_usd")), number_of(saving.get("high_usd"))
        )
        text = f"{saving_text.gain(usd)}, cache counted" + (f"; from {reach}" if reach else "")
        rows = _pairs("net", text, width, saving_text.gain_role(usd, is_real=is_real))
        if saving.get("state") == "open":
            waits = "not settled: the session's next call shows whether its cache was needed"
            rows.extend(_pairs("", waits, width, "muted"))
        if note is not None:
            rows.extend(_pairs("", note, width, "muted"))
    quota = number_of(saving.get("quota_usd"))
    if quota is not None and usd is not None and abs(quota - usd) >= 0.00005:
        text = f"{saving_text.gain(quota)} within the provider's own limits"
        rows.extend(_pairs("limits", text, width))
    naive = number_of(saving.get("naive_usd"))
    if naive is not None:
        text = f"{saving_text.gain(naive)}, the seed's simple formula, for comparison: no cache"
        rows.extend(_pairs("naive", text, width, "muted"))
    return rows


def alternatives(detail: Detail, width: int) -> list[Line]:
    """Every candidate with its state in words and what the turn cost or would have cost there."""
    found = list(_alternatives(mappings_in(detail.get("candidates")), width))
    return [line(("ALTERNATIVES", "title")), *found] if found else []


def _alternatives(candidates: Iterable[Mapping[str, Any]], width: int) -> Iterable[Line]:
    name_width = max(12, min(34, width - 34))
    for candidate in candidates:
        names = (text_of(candidate.get("provider")), text_of(candidate.get("model")))
        state = text_of(candidate.get("state")) or fmt.UNKNOWN
        words = saving_text.CANDIDATE_WORDS.get(state) or fmt.neutralise(state, 30)
        cost = amount_of(candidate.get("cost_usd"))
        price = fmt.NOTHING if cost is None else fmt.money(cost)
        if cost is not None and state not in ("chosen", "baseline"):
            price = fmt.estimated(price)
        is_taken = state in ("chosen", "baseline")
        yield clip(
            line(
                (fmt.fit("/".join(n for n in names if n) or fmt.UNKNOWN, name_width) + " ", "text"),
                (fmt.fit(price, 9, "right") + "  ", "text" if cost is not None else "muted"),
                (words, "strong" if is_taken else "muted"),
            ),
            width,
        )
        if reason := text_of(candidate.get("reason")):
            for text in wrap(reason, max(10, width - 2), "muted"):
                yield ("  ", "text"), *text
