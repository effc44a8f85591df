"""``report`` and ``backtest`` as the command line has them; the ledger is only ever read."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tui.command_base import load_settings, say
from tui.progress import bar, counted

if TYPE_CHECKING:
    from server.backtest_prices import PriceBook
    from server.config import Settings
    from server.settings_file import Loaded

_UNITS: Final = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
_SPAN: Final = re.compile(r"(\d{1,6})([mhdw])")
_T = TypeVar("_T")


def _span(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None or value == "all":
        return None
    found = _SPAN.fullmatch(value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no time such as 12h, 7d, 4w or all.", ctx, param)
    return int(found[1]) * _UNITS[found[2]]


_since = click.option(
    "--since",
    "since_s",
    callback=_span,
    default="7d",
    show_default=True,
    metavar="TIME",
    help="How far back to look: 12h, 7d, 4w, or all.",
)


@click.command(short_help="What it cost and what it saved, from the record.")
@_since
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the sums as CSV.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write one page to look at.",
)
@click.pass_context
def report(
    ctx: click.Context, since_s: float | None, as_json: bool, as_csv: bool, html: Path | None
) -> int:
    """What the recorded requests cost and saved, by class, kind, model, project and session."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other.", ctx)
    loaded = load_settings(ctx)
    found = _read(lambda: _report(loaded, since_s))
    if html is not None:
        from tui.report_page import report_page

        try:
            html.write_text(report_page(found), "utf-8")
        except OSError as error:
            raise click.ClickException(f"{html}: {error.strerror}") from error
        say(f"wrote {html}")
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif as_csv or html is None:
        from tui.report import report_csv, report_text

        click.echo(report_csv(found) if as_csv else report_text(found), nl=False)
    return 0


@click.command(short_help="What another routing table would have done.")
@click.option(
    "--routes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="TOML with [routing], [providers] or [prices]; without it the settings, gone live.",
)
@_since
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.pass_context
def backtest(ctx: click.Context, routes: Path | None, since_s: float | None, as_json: bool) -> int:
    """What another routing table would have done with the recorded requests."""
    loaded = load_settings(ctx)
    settings = loaded.settings if routes is None else _other(routes, loaded.settings)
    found = _read(lambda: _backtest(loaded, settings, since_s))
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        from tui.report import backtest_text

        click.echo(backtest_text(found), nl=False)
    return 0


COMMANDS = (report, backtest)


def _read(build: Callable[[], _T]) -> _T:
    from server.ledger_schema import LedgerError

    try:
        return build()
    except (LedgerError, sqlite3.Error) as error:
        raise click.ClickException(f"the record cannot be read: {error}") from error


def _other(routes: Path, settings: Settings) -> Settings:
    from server.backtest_table import TableError, other_settings

    try:
        return other_settings(routes, settings)
    except (OSError, TableError) as error:
        raise click.ClickException(str(error)) from error


def _begin(since_s: float | None) -> float:
    from server.clock import SystemClock

    return 0.0 if since_s is None else SystemClock().time() - since_s


def _prices(settings: Settings) -> PriceBook:
    from providers.pricing import Prices
    from server.backtest_prices import PriceBook
    from server.savings_assumptions import Assumptions

    return PriceBook(Prices(settings.price_overrides()), Assumptions())


def _report(loaded: Loaded, since_s: float | None) -> dict[str, Any]:
    from server.ledger_history import how_many
    from server.report_make import TURNS_AT_ONCE, make_report

    settings = loaded.settings
    path, since = loaded.paths.ledger_file, _begin(since_s)
    with bar("reading the record", how_many(path, since)) as step:
        done = partial(step, TURNS_AT_ONCE)
        return make_report(path, settings, _prices(settings), since=since, done=done)


def _backtest(loaded: Loaded, settings: Settings, since_s: float | None) -> dict[str, Any]:
    from server.backtest import backtest as replay
    from server.backtest_plan import Replan
    from server.ledger_history import history, how_many
    from server.ledger_read import LedgerReader
    from server.limits import plans

    path, since = loaded.paths.ledger_file, _begin(since_s)
    prices = _prices(settings)
    prices.learn(LedgerReader(path).scores())
    with bar("replaying the record", how_many(path, since)) as step:
        turns = counted(history(path, since), step)
        done = replay(turns, Replan(settings), prices, plans(settings.providers))
    found = done.as_json() | {"learned": prices.learned.as_json()}
    return found | {"missing_keys": _missing(loaded, settings, found)}


def _missing(loaded: Loaded, settings: Settings, found: dict[str, Any]) -> list[str]:
    """The unset keys of providers that turns would have gone to."""
    names = {move["provider"] for move in found["moves"]}
    keys = {settings.provider(name).api_key_env for name in names}
    return sorted(key for key in keys if key and not loaded.secrets.get(key))
