"""One preference list: put in order, added to, saved; its effect on recent turns below it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import Input

from server.engine import CommandResult
from server.tasks import spawn
from tui import format as fmt
from tui import keys
from tui.context import Context
from tui.lines import EMPTY, Line, line, wrap
from tui.live_preview import Preview, effect, preview_from
from tui.provider_page import key_env
from tui.route_draft import BASELINE, Draft, is_usable, offers
from tui.screens.base import bindings
from tui.screens.dialog import Answer, Dialog

SOURCE = "the screen"
"""How the engine names a change that was made here."""
LONGEST_ENTRY = 200
_NAME = r"[!-~]*"
"""What may be typed or pasted: no name holds anything else, and a control character could act."""
_MOST_OFFERS = 5
_ENTRY = 34

Providers = Mapping[str, Mapping[str, Any]]

_ANSWERS = (
    Answer("discard", "Discard", "edit.discard", is_safe=True),
    Answer("save", "Save", "edit.save"),
)


async def ask_engine(context: Context, command: str, /, **arguments: Any) -> CommandResult:
    """Run a command; a transport that fails is a failed result."""
    try:
        return await context.engine.command(command, **arguments)
    except Exception as error:  # whatever the engine's transport raises
        return CommandResult(False, f"{type(error).__name__}: {error}")


class EditRoute(Dialog[CommandResult | None]):
    """Gives what saving answered, ``None`` when nothing was saved.

    ``route`` is a class or a kind; ``entries`` its present list. Every change is tried against
    recent turns in the background; the newest list wins.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.EDIT)
    FOCUS_ANSWERS = False
    DEFAULT_CSS = """
    EditRoute #entry { height: 1; border: none; padding: 0; background: $surface; display: none; }
    EditRoute #entry:focus { border: none; }
    EditRoute.-adding #entry { display: block; }
    EditRoute.-adding #choices { display: none; }
    """

    def __init__(
        self, context: Context, route: str, entries: Sequence[str], providers: Providers
    ) -> None:
        super().__init__(context, f" Where {route} may go ")
        self._route = route
        self._before = tuple(entries)
        self._draft = Draft(self._before)
        self._providers = dict(providers)
        self._effect: tuple[Preview, Preview] | None = None
        self._problem: str | None = None
        self._checking: asyncio.Task[None] | None = None
        self._checked: tuple[str, ...] | None = None
        self._is_saving = False
        self._offer = 0
        self._head = 1
        self._entry = Input(
            id="entry",
            placeholder="provider or provider/model",
            max_length=LONGEST_ENTRY,
            restrict=_NAME,
        )

    # -- what is shown -----------------------------------------------------------------------

    def below(self) -> Sequence[Widget]:
        return (self._entry,)

    def extra_height(self) -> int:
        return 1 if self.has_class("-adding") else 0

    def answers(self) -> Sequence[Answer]:
        return _ANSWERS

    def lines(self, width: int) -> Sequence[Line]:
        width = max(20, width)
        shown = wrap("Best first. The first entry that can take a turn gets it.", width, "muted")
        self._head = len(shown)
        shown += [self._entry_line(at, entry, width) for at, entry in self._listed()]
        if not self._draft.entries:
            shown.append(line(("  no entry of its own", "muted")))
        if self._problem is not None:
            shown += wrap(self._problem, width, "bad")
        if self.has_class("-adding"):
            return [*shown, EMPTY, *self._offer_lines(width)]
        return [*shown, EMPTY, *self._effect_lines(width), EMPTY, *self._hint(width)]

    def _listed(self) -> Sequence[tuple[int, str]]:
        return list(enumerate(self._draft.entries))

    def _entry_line(self, at: int, entry: str, width: int) -> Line:
        is_chosen = at == self._draft.at
        mark = ("▌" if is_chosen else " ", "accent")
        name = min(_ENTRY, width - 6)
        text = fmt.fit(f"{at + 1} {entry}", name)
        note, role = self._about(entry)
        return line(mark, (text, "strong" if is_chosen else "text"), (f" {note}", role))

    def _about(self, entry: str) -> tuple[str, str]:
        if entry == BASELINE:
            return "stays with the client's own vendor", "muted"
        name = entry.partition("/")[0]
        provider = self._providers.get(name)
        if provider is None:
            return "no provider of that name", "bad"
        if not is_usable(provider):
            return f"needs {key_env(name, provider) or 'its key'}", "warn"
        return "ready", "good"

    def _effect_lines(self, width: int) -> Sequence[Line]:
        if self._effect is None:
            waits = "" if self._problem is not None else "Trying it on recent turns ..."
            return [line((waits, "muted"))]
        return effect(*self._effect, self._providers, width)

    def _hint(self, width: int) -> Sequence[Line]:
        words = {"raise": "earlier", "lower": "later", "add": "add", "remove": "remove"}
        words["baseline"] = "baseline in/out"
        shown = [
            f"{keys.first(self._shared.key(f'edit.{name}').keys)} {word}"
            for name, word in words.items()
        ]
        return wrap(" · ".join(shown), width, "muted")

    def _offers(self) -> Sequence[str]:
        return offers(self._entry.value, self._draft, self._providers)[:_MOST_OFFERS]

    def _offer_lines(self, width: int) -> Sequence[Line]:
        found = self._offers()
        title = "Add one of these, or type provider/model; enter adds it, esc goes back."
        shown = wrap(title, width, "muted")
        for at, name in enumerate(found):
            is_chosen = at == min(self._offer, len(found) - 1)
            note, role = self._about(name)
            head = (fmt.fit(f"{'▌' if is_chosen else ' '} {name}", min(_ENTRY, width - 6)), "text")
            shown.append(line(head, (f" {note}", role)))
        return shown

    # -- trying it ---------------------------------------------------------------------------

    def on_mount(self) -> None:
        super().on_mount()
        self._check()

    def on_unmount(self) -> None:
        if self._checking is not None:
            self._checking.cancel()

    def _changed(self, draft: Draft) -> None:
        is_other = draft.entries != self._draft.entries
        self._draft = draft
        if is_other:
            self._problem = None
            self._check()
        self._show()

    def _show(self) -> None:
        self.sync()
        self.call_after_refresh(self._keep_in_sight)

    def _keep_in_sight(self) -> None:
        """Scroll to the chosen entry; in a frame that holds everything there is nothing to do."""
        view, at = self.said, self._head + self._draft.at
        height, top = max(1, view.size.height), round(view.scroll_offset.y)
        if view.virtual_size.height <= height or at < height:
            wanted = 0
        else:
            wanted = top if top <= at < top + height else at - height + 1
        if wanted != top:
            view.scroll_to(y=wanted, animate=False, force=True)

    def _check(self) -> None:
        if self._checking is None or self._checking.done():
            self._checking = spawn("tui.check-route", self._try_newest())

    async def _try_newest(self) -> None:
        while self._checked != self._draft.entries:
            entries = self._checked = self._draft.entries
            result = await self._ask("check_route", entries)
            if entries != self._draft.entries or not self.is_mounted:
                continue
            self._problem = None if result.ok else result.message
            found = (result.data.get("before"), result.data.get("after"))
            self._effect = None
            if result.ok:
                self._effect = (preview_from(found[0]), preview_from(found[1]))
            self._show()

    async def _ask(self, command: str, entries: Sequence[str], **more: Any) -> CommandResult:
        return await ask_engine(
            self._shared, command, name=self._route, entries=list(entries), **more
        )

    # -- changing it -------------------------------------------------------------------------

    def action_edit_up(self) -> None:
        if self.has_class("-adding"):
            self._offer = max(0, self._offer - 1)
            self._show()
        else:
            self._changed(self._draft.choose(-1))

    def action_edit_down(self) -> None:
        if self.has_class("-adding"):
            self._offer = max(0, min(len(self._offers()) - 1, self._offer + 1))
            self._show()
        else:
            self._changed(self._draft.choose(1))

    def action_edit_raise(self) -> None:
        self._changed(self._draft.shift(-1))

    def action_edit_lower(self) -> None:
        self._changed(self._draft.shift(1))

    def action_edit_remove(self) -> None:
        self._changed(self._draft.remove())

    def action_edit_baseline(self) -> None:
        self._changed(self._draft.toggle_baseline())

    def on_click(self, event: events.Click) -> None:
        if event.widget is self.said and not self.has_class("-adding"):
            at = event.y + round(self.said.scroll_offset.y) - self._head
            if 0 <= at < len(self._draft.entries):
                self._changed(Draft(self._draft.entries, at))

    # -- adding ------------------------------------------------------------------------------

    def action_edit_add(self) -> None:
        self._entry.value, self._offer, self._problem = "", 0, None
        self.add_class("-adding")
        self._entry.focus(scroll_visible=False)
        self._show()

    def _stop_adding(self) -> None:
        self.remove_class("-adding")
        self._problem = None
        self.set_focus(None)
        self._show()

    @on(Input.Changed, "#entry")
    def _typed(self) -> None:
        self._offer, self._problem = 0, None
        self._show()

    @on(Input.Submitted, "#entry")
    async def _add_typed(self) -> None:
        typed, found = self._entry.value.strip(), self._offers()
        entry = found[min(self._offer, len(found) - 1)] if found else typed
        if not entry:
            self._problem = "Type the name of a provider."
            self._show()
            return
        draft = self._draft.add(entry)
        result = await self._ask("check_route", draft.entries)
        if not self.has_class("-adding"):
            return
        if result.ok:
            self._stop_adding()
            self._changed(draft)
        else:
            self._problem = result.message
            self._show()

    # -- the end -----------------------------------------------------------------------------

    def answered(self, answer_id: str) -> None:
        if answer_id == "save":
            self.action_edit_save()
        else:
            self.dismiss(None)

    def action_edit_discard(self) -> None:
        if self.has_class("-adding"):
            self._stop_adding()
        else:
            self.dismiss(None)

    def action_edit_save(self) -> None:
        if self.has_class("-adding") or self._is_saving:
            return
        if self._draft.entries == self._before:
            self.dismiss(None)
            return
        self._is_saving = True
        spawn("tui.save-route", self._save())

    async def _save(self) -> None:
        result = await self._ask("set_route", self._draft.entries, source=SOURCE)
        self._is_saving = False
        if not self.is_mounted:
            return
        if result.ok:
            self.dismiss(result)
        else:
            self._problem = result.message
            self._show()
