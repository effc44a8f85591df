"""Another routing table for a backtest: a TOML file laid over the settings in force."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from server.config import Settings

_ALLOWED: Final = ("routing", "providers", "prices")


class TableError(ValueError):
    """The file is no routing table; ``str()`` says why and where."""


def other_settings(path: Path, settings: Settings) -> Settings:
    """The settings with the ``routing``, ``providers`` and ``prices`` of a file over them.

    Lists and price tables of the file replace those in force. Raises ``TableError``, and
    ``OSError`` when the file cannot be read.
    """
    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise TableError(f"{path}: {error}") from error
    odd = sorted(set(given) - set(_ALLOWED))
    if odd:
        raise TableError(f"{path}: {odd[0]} has no place here, only {', '.join(_ALLOWED)}")
    present = settings.model_dump(mode="json", by_alias=True, exclude_unset=True)
    try:
        return Settings.model_validate(_over(present, given))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise TableError(f"{path}: {where}: {first['msg']}") from error


def _over(below: Any, above: Any) -> Any:
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    return {**below, **{name: _over(below.get(name), value) for name, value in above.items()}}
