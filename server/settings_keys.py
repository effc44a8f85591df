"""Which keys exist, read off the models: for near misses, the environment and documentation."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from server.config import Settings
from server.settings_providers import Table
from server.settings_types import nearest

Path = tuple[str, ...]
"""A key as its parts: ``("providers", "groq", "model")``."""

ANY_NAME = "*"
"""Stands in a path for a name the user chooses."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PART = re.compile(r"""\s*([A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')\s*(\.|$)""")


@dataclass(frozen=True, slots=True)
class Key:
    """A key that can be set; tables are no keys."""

    path: Path
    type: Any
    """Its annotation without ``Annotated`` and without ``None``."""
    doc: str


def join(path: Path) -> str:
    """``path`` as one dotted text, parts quoted as TOML wants them."""
    return ".".join(part if _BARE.fullmatch(part) else json.dumps(part) for part in path)


def split(text: str) -> Path:
    """The reverse of ``join``; ``ValueError`` when ``text`` is not a dotted key."""
    parts: list[str] = []
    at = 0
    while at < len(text) or not parts or text.endswith("."):
        match = _PART.match(text, at)
        if match is None:
            raise ValueError(f"not a key: {text}")
        part, at = match[1], match.end()
        parts.append(json.loads(part) if part[0] == '"' else part.strip("'"))
        if not match[2]:
            break
    return tuple(parts)


def bare(annotation: Any) -> Any:
    """``annotation`` without ``Annotated`` and without ``None``."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        kept = [member for member in get_args(annotation) if member is not NoneType]
        return bare(kept[0])
    return annotation


def children(annotation: Any) -> Mapping[str, Any] | None:
    """The keys of a table and their types, ``None`` when ``annotation`` is not a table's."""
    annotation = bare(annotation)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is tuple:
        return children(args[0])
    if origin is Mapping:
        name_type = bare(args[0])
        names = get_args(name_type) if get_origin(name_type) is Literal else (ANY_NAME,)
        return dict.fromkeys(names, args[1])
    if isinstance(annotation, type) and issubclass(annotation, Table):
        fields = annotation.model_fields.items()
        known = {field.alias or name: field.annotation for name, field in fields}
        return known | dict.fromkeys(annotation.free_names, str)
    return None


def find(path: Path) -> Any:
    """The type of the key or table at ``path``, ``None`` when there is no such key."""
    annotation: Any = Settings
    for part in path:
        names = children(annotation)
        if names is None or (part not in names and ANY_NAME not in names):
            return None
        annotation = names.get(part, names.get(ANY_NAME))
    return bare(annotation)


@cache
def all_keys() -> tuple[Key, ...]:
    """Every key in the order of the models; a name the user chooses is ``*``."""
    return tuple(_walk((), Settings, ""))


def _walk(path: Path, annotation: Any, doc: str) -> Iterator[Key]:
    names = children(annotation)
    if names is None:
        yield Key(path, bare(annotation), doc)
        return
    if get_origin(bare(annotation)) is Mapping:
        yield from _walk((*path, ANY_NAME), next(iter(names.values())), doc)
        return
    model = _table_in(annotation)
    docs = _docs_of(model) if model is not None else {}
    for name, doc_of_name in docs.items():
        yield from _walk((*path, name), names[name], doc_of_name)


def _table_in(annotation: Any) -> type[Table] | None:
    """The model of a table, of the tables in a list, or of those under free names."""
    annotation = bare(annotation)
    while get_origin(annotation) in (tuple, Mapping):
        args = get_args(annotation)
        annotation = bare(args[0] if get_origin(annotation) is tuple else args[1])
    is_table = isinstance(annotation, type) and issubclass(annotation, Table)
    return annotation if is_table else None


def docs() -> Mapping[str, Mapping[str, str]]:
    """The text under each field: name of the model -> key -> text."""
    return {model.__name__: _docs_of(model) for model in _models(Settings)}


def _models(model: type[Table]) -> Iterator[type[Table]]:
    yield model
    for field in model.model_fields.values():
        if (inner := _table_in(field.annotation)) is not None:
            yield from _models(inner)


@cache
def _docs_of(model: type[Table]) -> Mapping[str, str]:
    texts = {field.alias or name: "" for name, field in model.model_fields.items()}
    node = _classes(model.__module__).get(model.__name__)
    for field, text in pairwise(node.body if node is not None else ()):
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(doc))),
            ) if name in model.model_fields:
                texts[model.model_fields[name].alias or name] = inspect.cleandoc(doc)
    return texts


@cache
def _classes(module: str) -> Mapping[str, ast.ClassDef]:
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except OSError:
        return {}  # Installed without sources: the keys are known, their texts are not.
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def suggest(path: Path) -> str:
    """A hint for a key that does not exist: the nearest known one, or the known ones."""
    siblings = [name for name in children(find(path[:-1])) or () if name != ANY_NAME]
    if close := nearest(path[-1], siblings):
        return close
    elsewhere = [join(key.path) for key in all_keys() if key.path[-1] == path[-1]]
    if elsewhere:
        return f'did you mean "{elsewhere[0]}"?'
    return f"known here: {', '.join(siblings)}" if siblings else ""
