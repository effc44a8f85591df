"""``live`` and ``verify`` as the command line has them; both talk to the running gateway."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import click

from tui.command_base import load_settings, say

if TYPE_CHECKING:
    from server.paths import Paths

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SPAN: Final = re.compile(r"(\d{1,6})([smhd])")


def _span(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    found = _SPAN.fullmatch(value)
    if found is None or int(found[1]) == 0:
        raise click.BadParameter(f"{value!r} is no time such as 30m, 2h or 1d.", ctx, param)
    return int(found[1]) * _UNITS[found[2]]


@click.command(short_help="Let one kind of request go to its route, for a while or from now on.")
@click.argument("kind")
@click.option("--for", "for_s", callback=_span, metavar="TIME", help="30m, 2h, 1d: back by itself.")
@click.option("--canary", is_flag=True, help="Only a share of the sessions.")
@click.option("--off", is_flag=True, help="Take it back: it is only observed.")
@click.pass_context
def live(ctx: click.Context, kind: str, for_s: float | None, canary: bool, off: bool) -> int:
    """Let requests of KIND (title, recap, web_digest ... or a class) go to its route.

    Everything else stays as it is, in shadow too. Prints the rung it is on then.
    """
    if (for_s is not None) + canary + off > 1:
        raise click.UsageError("--for, --canary and --off exclude each other.", ctx)
    rung = "observe" if off else "canary" if canary else "live"
    payload: dict[str, Any] = {"rung": rung}
    if for_s is not None:
        payload["for_s"] = for_s
    code, done = _call(ctx, "PUT", f"/verification/{_path(ctx, kind)}", payload)
    if done is None:
        return code
    from tui.verification_text import evidence, moment

    say(done["message"])
    if done["until"] is not None:
        say(f"it comes back at {moment(done['until'])}; sbgw-tui live {kind} --off ends it at once")
    if not off:
        # Who gets text from now on: going live is never silent about that.
        say(f"its text may go to {', '.join(done['targets']) or 'nobody: its list is baseline'}")
        if done["without_key"]:
            say(f"without a key, so passed over: {', '.join(done['without_key'])}")
        for line in evidence(done["verification"]) or ["no answer of its candidates was compared"]:
            say(line)
    click.echo(done["rung"])
    return 0


@click.command(short_help="Show comparisons and their evidence, or allow them.")
@click.argument("consent", type=click.Choice(["on", "off"]), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.pass_context
def verify(ctx: click.Context, consent: str | None, as_json: bool) -> int:
    """Show how candidates did in comparisons, and how far each kind may go.

    `on` lets a sample of the requests that could move be made a second time by their candidate,
    after the real answer; their text then leaves for it. `off` ends that.
    """
    if consent is not None:
        code, done = _call(ctx, "PUT", "/verification", {"consent": consent == "on"})
        if done is None:
            return code
        say(done["message"])
        for target in done.get("targets", ()):
            say(f"  text of sampled requests goes to {target}")
    code, found = _call(ctx, "GET", "/verification")
    if found is None:
        return code
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        from tui.verification_text import verification_text

        click.echo(verification_text(found), nl=False)
    return 0


COMMANDS = (live, verify)


def _path(ctx: click.Context, kind: str) -> str:
    if re.fullmatch(r"[a-z_]{1,64}", kind) is None:
        raise click.UsageError(f"{kind[:40]!r} is no kind or class of request.", ctx)
    return kind


def _call(
    ctx: click.Context, method: str, path: str, payload: object = None
) -> tuple[int, dict[str, Any] | None]:
    from server.instance import InstanceError

    loaded = load_settings(ctx)
    try:
        return _ask(loaded.paths, loaded.gateway_key.get_secret_value(), method, path, payload)
    except InstanceError as error:
        raise click.ClickException(str(error)) from error


def _ask(
    paths: Paths, key: str, method: str, path: str, payload: object
) -> tuple[int, dict[str, Any] | None]:
    from tui.client import GatewayUnreachableError, call
    from tui.launch_gateway import EXIT_UNREACHABLE
    from tui.lifecycle.run import EXIT_USAGE, NOT_RUNNING
    from tui.lifecycle.state import State, look

    now = look(paths)
    if now.health is None:
        say(NOT_RUNNING if now.state is State.DOWN else f"no answer: {now.reason}")
        return EXIT_UNREACHABLE, None
    try:
        reply = call(now.health, method, path, key=key, payload=payload)
    except GatewayUnreachableError as error:
        say(str(error))
        return EXIT_UNREACHABLE, None
    if reply.status in (401, 403):
        say("the gateway was started with another gateway key; sbgw-tui restart")
        return EXIT_USAGE, None
    body = reply.json()
    if not reply.is_ok:
        say(str(body.get("error", {}).get("message") or f"the gateway refused ({reply.status})"))
        return EXIT_USAGE, None
    return 0, body
