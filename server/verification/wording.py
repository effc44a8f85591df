"""What a text shows of itself: its language, a refusal, leaked markup, code that parses; pure."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections import Counter
from typing import Final

LONGEST: Final = 50_000
"""Characters that are looked at."""
MOST_CODE: Final = 20_000
"""Characters of a code block that is parsed; longer ones are not judged."""

_REFUSAL: Final = re.compile(
    r"^\W*(?:i['’]?m (?:really |very )?sorry|sorry,? (?:but )?i|i apologi[sz]e,? but|unfortunately,? i"
    r"|i (?:can ?not|can['’]t|am unable to|['’]m unable to|won['’]t be able to|do not have access|"
    r"don['’]t have access)|i['’]m unable to|as an ai\b|as a (?:large )?language model)",
    re.I,
)
_MARKUP: Final = re.compile(
    r"<\|[a-z_0-9▁|]{2,40}\|>|<｜[^｜]{2,40}｜>|</?(?:tool_call|tool_calls|function_call|think|invoke)\b"
    r"|<function=|\[/?(?:INST|TOOL_CALLS|TOOL_REQUEST)\]|<(?:start|end)_of_turn>"
    r"|\bto=functions\.|\bassistantfinal\b|\bassistantcommentary\b",
)
_FENCE: Final = re.compile(
    r"^[ ]{0,3}(```+|~~~+)[ ]*([\w+#.-]*)[^\n]*\n(.*?)^[ ]{0,3}\1", re.M | re.S
)

_SCRIPTS: Final = (
    ("latin", ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F))),
    ("greek", ((0x370, 0x3FF),)),
    ("cyrillic", ((0x400, 0x52F),)),
    ("hebrew", ((0x590, 0x5FF),)),
    ("arabic", ((0x600, 0x6FF), (0x750, 0x77F))),
    ("devanagari", ((0x900, 0x97F),)),
    ("thai", ((0xE00, 0xE7F),)),
    ("kana", ((0x3040, 0x30FF),)),
    ("hangul", ((0xAC00, 0xD7AF), (0x1100, 0x11FF))),
    ("han", ((0x4E00, 0x9FFF), (0x3400, 0x4DBF))),
)
_COMMON: Final = {
    "en": "the and of to is that this with for are not you it be on as from was can",
    "de": "der die das und ist nicht ein eine mit für auf den von zu im wird sich auch",
    "fr": "le la les des est et une dans pour pas que qui sur avec sont du au cette",
    "es": "el los las una es en por para con que se no del como más este esta son",
    "pt": "o os as uma é em por para com que se não do da como mais este esta são",
    "it": "il gli le una è di per con che non del della sono nel come questo alla",
    "vi": "và của là không có cho trong được với các này một để khi người",
}
_WORDS_OF: Final = {name: frozenset(words.split()) for name, words in _COMMON.items()}
_WORD: Final = re.compile(r"[^\W\d_]+")
_LEAST_LETTERS: Final = 12
_LEAST_COMMON: Final = 4
"""Common words of a language that must be there before it is named."""

_IDENTIFIER: Final = re.compile(
    r"[A-Za-z_][A-Za-z0-9_]*(?:[./:-][A-Za-z0-9_]+)+|[A-Za-z]+_[A-Za-z0-9_]+"
    r"|[a-z]+[A-Z][A-Za-z0-9]*|[A-Z][a-z0-9]+[A-Z][A-Za-z0-9]*|\b\d+(?:\.\d+)?\b"
)


def is_refusal(text: str) -> bool:
    """Whether it begins by declining."""
    return _REFUSAL.search(text[:400].lstrip()) is not None


def leaked(text: str) -> frozenset[str]:
    """Markup of chat templates and tool calls that a model let out."""
    return frozenset(found.group() for found in _MARKUP.finditer(text[:LONGEST]))


def script_of(text: str) -> str | None:
    """The script of most letters outside code, ``None`` where there are too few of them."""
    counts: Counter[str] = Counter()
    for character in prose(text):
        code = ord(character)
        for name, spans in _SCRIPTS:
            if any(first <= code <= last for first, last in spans):
                counts[name] += 1
                break
    if counts["kana"] * 5 > counts["han"]:
        counts["kana"] += counts.pop("han", 0)
    if sum(counts.values()) < _LEAST_LETTERS:
        # A word of Chinese or Japanese is as long as a letter.
        counts = Counter({n: c for n, c in counts.items() if n in ("han", "kana") and c >= 3})
    return counts.most_common(1)[0][0] if counts else None


def language_of(text: str) -> str | None:
    """One of seven languages in Latin letters, ``None`` where that is not clear."""
    words = Counter(word.lower() for word in _WORD.findall(prose(text)))
    scores = Counter(
        {name: sum(words[word] for word in known) for name, known in _WORDS_OF.items()}
    )
    (best, most), (_, second) = scores.most_common(2)
    return best if most >= _LEAST_COMMON and most > 2 * second else None


def same_language(text: str, other: str) -> bool:
    """``False`` only where both are clear, and differ."""
    script, other_script = script_of(text), script_of(other)
    if script is None or other_script is None:
        return True
    if script != other_script:
        return False
    language, other_language = language_of(text), language_of(other)
    return None in (language, other_language) or language == other_language


def prose(text: str) -> str:
    """``text`` without its fenced code."""
    return _FENCE.sub(" ", text[:LONGEST])


def code_blocks(text: str) -> list[tuple[str, str]]:
    """The fenced blocks: language in lower case, and code."""
    return [(found[2].lower(), found[3]) for found in _FENCE.finditer(text[:LONGEST])]


def has_open_fence(text: str) -> bool:
    """Whether a block of code never ends."""
    return len(re.findall(r"^[ ]{0,3}```", text[:LONGEST], re.M)) % 2 == 1


def parses(language: str, code: str) -> bool | None:
    """Whether a block is good code of its language; ``None`` where that cannot be told."""
    if len(code) > MOST_CODE:
        return None
    if language in ("python", "py", "python3"):
        return _is_python(code)
    if language == "json":
        return _is_json(code)
    return None


def _is_python(code: str) -> bool | None:
    if ">>>" in code or "\n..." in code or code.lstrip().startswith(("%", "!")):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(code)
        except (SyntaxError, ValueError):
            return False
        except (RecursionError, MemoryError):
            return None
    return True


def _is_json(code: str) -> bool | None:
    if re.search(r"^\s*//|\.\.\.", code, re.M):
        return None
    try:
        json.loads(code)
    except ValueError:
        return False
    except RecursionError:
        return None
    return True


def names_in(text: str) -> frozenset[str]:
    """Identifiers, paths and numbers."""
    return frozenset(_IDENTIFIER.findall(text[:LONGEST]))


def lines_of(text: str) -> frozenset[str]:
    """The lines of a list, without its bullets, quotes and tags."""
    stripped = (re.sub(r"^[\s>*+`\"'\[-]+|[\s`\"',\]]+$", "", line) for line in text.splitlines())
    return frozenset(line for line in stripped if line and not re.fullmatch(r"</?[\w-]+>", line))


def agreement(found: frozenset[str], wanted: frozenset[str]) -> float:
    """F1 of two sets; 1 when both are empty."""
    if not found and not wanted:
        return 1.0
    return 2 * len(found & wanted) / (len(found) + len(wanted))
