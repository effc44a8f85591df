"""Laying the sources of settings over each other, and checking the result; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from server.config import Settings
from server.settings_errors import (
    DEFAULT_ORIGIN,
    RULE,
    Origin,
    Problem,
    fault_of,
    located,
    without_echoes,
)
from server.settings_keys import Path


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value and where it comes from; a table without keys is a value too."""

    path: Path
    value: Any
    origin: Origin


def leaves(
    data: Mapping[str, Any], origin_of: Callable[[Path], Origin], at: Path = ()
) -> Iterator[Leaf]:
    """The values of nested tables, in order."""
    for name, value in data.items():
        path = (*at, name)
        if isinstance(value, Mapping) and value:
            yield from leaves(value, origin_of, path)
        else:
            yield Leaf(path, value, origin_of(path))


class Layers:
    """The merged sources; the leaf that was added last wins."""

    def __init__(self, added: Iterable[Leaf] = ()) -> None:
        self._leaves: dict[Path, Leaf] = {}
        for leaf in added:
            self.add(leaf)

    def add(self, leaf: Leaf) -> None:
        """Put ``leaf`` over what is there; a value in the place of a table replaces all of it."""
        above = {leaf.path[:n] for n in range(1, len(leaf.path))}
        is_empty_table = leaf.value == {}
        for path in list(self._leaves):
            below = path[: len(leaf.path)] == leaf.path
            if path in above or (below and not is_empty_table):
                del self._leaves[path]
        if not (is_empty_table and self._has_below(leaf.path)):
            self._leaves[leaf.path] = leaf

    def _has_below(self, path: Path) -> bool:
        return any(known[: len(path)] == path for known in self._leaves)

    def copy(self) -> Layers:
        """The same leaves, to be changed apart."""
        return Layers(self._leaves.values())

    def remove(self, paths: Iterable[Path]) -> bool:
        """Take out what is at or below each path, else at or below the nearest table around it.

        Whether there was anything.
        """
        doomed = {known for path in paths for known in self._concerned(path)}
        for known in doomed:
            del self._leaves[known]
        return bool(doomed)

    def remove_below(self, path: Path) -> None:
        """Take out what is at or below ``path``, so that the defaults hold again."""
        for known in [p for p in self._leaves if p[: len(path)] == path]:
            del self._leaves[known]

    def _concerned(self, path: Path) -> list[Path]:
        for length in range(len(path), 0, -1):
            if found := [p for p in self._leaves if p[:length] == path[:length]]:
                return found
        return []

    def origin(self, path: Path) -> Origin:
        """Where the value at ``path`` comes from: the leaf that is it, holds it or is part of it."""
        for length in range(len(path), 0, -1):
            leaf = self._leaves.get(path[:length])
            if leaf is not None and (length == len(path) or leaf.value != {}):
                return leaf.origin
        return self._first_below(path) or DEFAULT_ORIGIN

    def near(self, path: Path) -> Origin:
        """Where to look for ``path``: its origin, else that of the nearest table around it."""
        for length in range(len(path), 0, -1):
            if (origin := self.origin(path[:length])) != DEFAULT_ORIGIN:
                return origin
        return DEFAULT_ORIGIN

    def _first_below(self, path: Path) -> Origin | None:
        origins = (leaf.origin for p, leaf in self._leaves.items() if p[: len(path)] == path)
        return next(origins, None)

    def tree(self) -> dict[str, Any]:
        """The merged values as nested tables."""
        root: dict[str, Any] = {}
        for path, leaf in self._leaves.items():
            table = root
            for name in path[:-1]:
                table = table.setdefault(name, {})
            table[path[-1]] = leaf.value
        return root


def validated(layers: Layers) -> tuple[Settings, list[Problem]]:
    """The settings and everything that is wrong with them, not only what is found first.

    Rules between keys can be checked only once each key is right by itself, so what is wrong is
    taken out (which leaves its default) and the rest is checked again.
    """
    problems: list[Problem] = []
    removed: set[Path] = set()
    rest = layers.copy()
    while True:
        try:
            return Settings.model_validate(rest.tree()), problems
        except ValidationError as error:
            lines = without_echoes(error.errors(include_url=False))
        faults = [fault_of(line) for line in lines]
        new = [f for f in faults if not any(f.path[: len(path)] == path for path in removed)]
        problems += [located(fault, layers.near) for fault in new]
        paths = [fault.path for fault in faults]
        if all(line["type"] == RULE for line in lines) or not rest.remove(paths):
            return Settings(), problems
        removed.update(paths)
