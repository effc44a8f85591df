"""Loads the terminal engine's library once, and refuses one that this program does not know."""

from __future__ import annotations

import importlib
import importlib.util
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tui.terminal.engine import EngineError, EngineMissing
from tui.terminal.ghostty_layout import CellLayout, layout_of

PACKAGE = "pyghostty"
KNOWN = ("0.1.3",)
"""Versions of the binding this was tried with; its interface is not settled."""

NOT_INSTALLED = "the terminal engine (pyghostty) is not installed"

_SCROLL = (
    "typedef struct {{ GhosttyTerminalScrollViewportTag tag; intptr_t to; uint64_t rest; }} {};"
)
_SCROLL_TWIN = "SbgwScrollViewport"
"""The calling interface cannot pass a union by value; a structure of the same layout can be."""


@dataclass(frozen=True, slots=True)
class Library:
    """The loaded library, and what was learnt of it."""

    ffi: Any
    lib: Any
    layout: CellLayout
    grid_ref: Any
    """``ghostty_terminal_grid_ref``, callable."""
    scroll_viewport: Any
    """``ghostty_terminal_scroll_viewport``, callable with a ``SbgwScrollViewport``."""
    point_type: str = "GhosttyPointS"
    scroll_type: str = _SCROLL_TWIN

    def check(self, result: int, what: str) -> None:
        """Raise ``EngineError`` unless the call succeeded."""
        if result:
            raise EngineError(f"{what} failed ({result})")

    def sized(self, ctype: str) -> Any:
        """A new structure that knows its own size."""
        made = self.ffi.new(f"{ctype} *")
        made.size = self.ffi.sizeof(ctype)
        return made


def is_installed() -> bool:
    """Whether there is something to load, found out without loading it."""
    try:
        return importlib.util.find_spec(PACKAGE) is not None
    except (ImportError, ValueError):
        return False


@lru_cache(maxsize=1)
def library() -> Library:
    """The library; ``EngineMissing`` with the reason where it cannot be used."""
    try:
        binding = importlib.import_module(PACKAGE)
        raw = importlib.import_module(f"{PACKAGE}._ffi")
    except ImportError:
        raise EngineMissing(NOT_INSTALLED) from None
    except Exception as error:  # whatever loading foreign code raises
        raise EngineMissing(f"the terminal engine cannot be loaded: {error}") from None
    version = getattr(binding, "__version__", "?")
    if version not in KNOWN:
        raise EngineMissing(f"pyghostty {version} is unknown here; pyghostty {KNOWN[-1]} is needed")
    try:
        return _library(raw)
    except EngineMissing:
        raise
    except Exception as error:  # cffi raises many kinds for a library that is another one
        raise EngineMissing(f"the terminal engine is not the one expected: {error}") from None


def _library(raw: Any) -> Library:
    ffi, lib = raw.ffi, raw.lib
    described = json.loads(ffi.string(lib.ghostty_type_json()).decode())
    ffi.cdef(_SCROLL.format(_SCROLL_TWIN), override=True)
    real = "GhosttyTerminalScrollViewport"
    if (ffi.sizeof(_SCROLL_TWIN), ffi.alignof(_SCROLL_TWIN)) != (
        ffi.sizeof(real),
        ffi.alignof(real),
    ):
        raise EngineMissing("the terminal engine has an unknown scroll call")
    return Library(
        ffi=ffi,
        lib=lib,
        layout=layout_of(described),
        grid_ref=raw.union_fn(
            "ghostty_terminal_grid_ref",
            "GhosttyResult(*)(GhosttyTerminal, GhosttyPointS, GhosttyGridRef*)",
        ),
        scroll_viewport=raw.union_fn(
            "ghostty_terminal_scroll_viewport", f"void(*)(GhosttyTerminal, {_SCROLL_TWIN})"
        ),
    )
