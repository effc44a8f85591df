"""A message split into what its writer says and what the writer shows.

Only the words a person addresses to the model tell the intent; a pasted log or a code block that
happens to say "explain" does not. What is shown becomes one marker character in the prose, so that
its place in the sentence stays known.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

FENCE, SPAN, NAME, PATH, MENTION, URL, NUMBER, PASTE, QUOTE = map(chr, range(0xE000, 0xE009))
"""Stand for a code block, an inline one, an identifier, a file, ``@`` and what follows, an address,
a commit or issue, pasted lines, and a sentence in quotation marks."""
MARKERS = FENCE + SPAN + NAME + PATH + MENTION + URL + NUMBER + PASTE + QUOTE

_ENDS, _DENSE_ENDS = (360, 200), (150, 90)
"""Characters read from both ends of a message, where what is asked stands; a character of Chinese
or Japanese says as much as several letters, so fewer of them are read."""

_MOST_PROSE = 2_000
_FENCE_MARKS = ("```", "~~~")
_MOST_FENCES = 400
_DENSE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uff66-\uff9f]")
_DENSE_SAMPLE = 200
_LETTERLESS = 0.45
_LONG_LINE = 40
_QUOTE = re.compile(
    r"[\"“”„«]([^\"“”„«»\n]{1,300}+)[\"“”»]|[“「『]([^“”「」『』\n]{1,300}+)[”」』]"
)
_SHORTEST_SENTENCE, _SHORTEST_DENSE = 12, 6
_SPAN = re.compile(r"`([^`\n]{1,300})`")
_URL = re.compile(r"\b(?:https?|ssh|git|file)://\S+|\bwww\.\S+", re.I)
_WWW = re.compile(r"www\.", re.I)
_DOTTED = re.compile(r"\.[a-z]", re.I)
_MENTION = re.compile(r"(?<![\w`])@[\w~./-][^\s,;:)]*")
_EXTENSIONS = (
    "py|pyi|ipynb|js|jsx|mjs|cjs|ts|tsx|vue|svelte|go|mod|sum|rs|java|kt|kts|scala|swift|m|c|h|cc|cpp|hpp|cs"
    "|rb|php|pl|lua|ex|exs|erl|hs|ml|sh|bash|zsh|ps1|sql|html|css|scss|less|json|jsonl|yaml|yml|toml|xml"
    "|ini|cfg|conf|env|lock|md|mdx|rst|txt|csv|log|proto|graphql|tf|gradle|properties|prisma|dockerfile"
)
_PATH = re.compile(
    # Tried only where a run of such characters begins: a long run costs its length, not the square.
    r"(?<![\w`/.@*+-])(?:"
    r"(?:~|\.{1,2})/[\w.@*~+-][^\s,;:)\"']*"
    r"|/(?:home|users|usr|etc|var|tmp|opt|mnt|srv)/[^\s,;:)\"']+"
    r"|(?:[\w.@*+-]+/){2,}[\w.@*+-]*"
    r"|(?:src|libs?|apps|pkg|packages|cmd|docs|tests?|internal|scripts|components)"
    r"/[\w.@*+-]+/?"
    rf"|(?:[\w.@*+-]+/)*[\w@*+-][\w.@*+-]*\.(?:{_EXTENSIONS})\b(?:::?[\w.]+)*"
    r"|[\w.@*+-]{3,}/(?=[\s.,;:!?)]|$)"
    r")",
    re.I,
)
_WIN_PATH = re.compile(r"\b[A-Za-z]:\\[^\s]+")
_NUMBER = re.compile(r"(?<![\w&])#\d{1,7}\b|\b[0-9a-f]{7,40}\b(?<=\d.{6}|.{6}\d)", re.I)
_IDENTIFIER = re.compile(
    r"\b(?:[A-Za-z][^\W_]*+_\w++|[a-z]++[A-Z]\w*+|(?:[A-Z][a-z0-9]++){2,}+|\w++\(\))(?:\(\))?"
    r"|(?<![\w-])--?[a-z][\w-]{2,}+"
)
_MAY_IDENTIFY = re.compile(r"_|[a-z0-9][A-Z]|\(\)|-[a-z]")
_PASTED_LINE = re.compile(
    r"\s*(?:"
    r"[>|$%#✓✗✅❌⚠●▶→]\s"  # quotations, tables, prompts, marks of test runners
    r"|\[?\d{2,4}[-/:]\d{2}[-/:]\d{2}"  # a time or a date
    r"|\[?\d{1,2}:\d{2}"
    r"|at\s[\w.$<>/]+\s*\(|File\s\"|Traceback\s\(|Caused by:|goroutine\s\d|panic:|npm ERR!"
    r"|(?:error|warning)(?:\[\w+\])?:|(?:\+{3}|-{3}|@@)(?:\s|$)"
    r"|[\w./~-]+:\d+(?::\d+)?:?\s"  # a compiler's position
    r"|(?:time|level|msg|ts)=\S"
    r"|[{}\[\]();<>/*=+\\^~_-]{1,3}\s*$"
    r"|[{<][\"\w/]|\[[{\"\d]"
    r")",
)
_PAIRS = re.compile(r"(?:\b[\w.]+=(?:\"(?:[^\"\\]|\\.)*\"|[^\s\"]+)[\s,]*){2,}")
_INDENTED = re.compile(r"(?:\t| {4,})\S")
_MARKS = re.compile("[\u0300-\u036f]")
_DIGIT = re.compile(r"\d")
_COMMAND = re.compile(r"\s{0,20}/[a-z][\w:-]*(?:\s|$)", re.I)


@dataclass(frozen=True, slots=True)
class Passage:
    """One message of a person, ready for matching."""

    prose: str
    """Folded: lower case, without accents; what is shown is one of ``MARKERS``."""
    is_command: bool
    """A slash command of the client."""


def read_passage(text: str) -> Passage:
    """Split a message; looks at a bounded part of it, however long it is."""
    return split_near(near_of(text))


def near_of(text: str) -> str:
    """Both ends of what is not in a code block; quick on any length, all else reads only this."""
    for mark in MARKERS:
        if mark in text:
            text = text.replace(mark, " ")
    for mark in _FENCE_MARKS:
        if mark in text:
            text = _without_blocks(text, mark)
    dense = len(_DENSE.findall(text, 0, _DENSE_SAMPLE)) * 3 > min(len(text), _DENSE_SAMPLE)
    head, tail = _DENSE_ENDS if dense else _ENDS
    return text if len(text) <= head + tail else f"{text[:head]}\n{text[-tail:]}"


def _without_blocks(text: str, mark: str) -> str:
    """Each code block becomes a marker; one that is never closed goes on to the end."""
    parts = text.split(mark, _MOST_FENCES)
    closed = f"\n{FENCE}\n".join(parts[::2])
    return closed if len(parts) % 2 else f"{closed}\n{FENCE}\n"


def split_near(near: str) -> Passage:
    """Split what ``near_of`` has left of a message."""
    kept = _without_pasted(near.split("\n"))
    # A single character can become eighteen when it is folded.
    prose = fold(_marked("\n".join(kept)))[:_MOST_PROSE]
    return Passage(prose=prose, is_command=_COMMAND.match(near) is not None)


def fold(text: str) -> str:
    """Lower case and without the accents of Latin, Greek and Cyrillic letters."""
    if text.isascii():
        return text.lower()
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    return unicodedata.normalize("NFC", plain).replace("’", "'")


def _without_pasted(lines: list[str]) -> list[str]:
    """The lines a person wrote; each run of pasted ones becomes a marker."""
    kept: list[str] = []
    for number, line in enumerate(lines):
        if not _is_pasted(line, first=number == 0):
            kept.append(line)
        elif not kept or kept[-1] != PASTE:
            kept.append(PASTE)
    return kept


def _is_pasted(line: str, *, first: bool) -> bool:
    if FENCE in line or not line.strip():
        return False
    if _PASTED_LINE.match(line) or (_INDENTED.match(line) and not first):
        return True
    if len(line) <= _LONG_LINE:
        return False
    return sum(map(str.isalpha, line)) < len(line) * (1 - _LETTERLESS)


def _span(match: re.Match[str]) -> str:
    inner = match.group(1).strip()
    if _PATH.fullmatch(inner):
        return f" {PATH} "
    return f" {NAME} " if _IDENTIFIER.fullmatch(inner) else f" {SPAN} "


def _without_quotes(text: str) -> str:
    """What is quoted is not said; unless nothing else is, or it is the name of a thing."""
    said = _QUOTE.sub(_quoted, text)
    return said if any(map(str.isalpha, said)) else text


def _quoted(match: re.Match[str]) -> str:
    inner = (match[1] or match[2]).strip()
    if len(inner) >= _SHORTEST_SENTENCE and " " in inner:
        return f" {QUOTE} "
    if len(inner) >= _SHORTEST_DENSE and _DENSE.search(inner):
        return f" {QUOTE} "
    return match[0]


def _marked(text: str) -> str:
    """Names of things replaced by markers, the most specific first."""
    # Most messages lack the character without which a pattern cannot match.
    if _QUOTE.search(text):
        text = _without_quotes(text)
    if "=" in text:
        text = _PAIRS.sub(f" {PASTE} ", text)
    if "`" in text:
        text = _SPAN.sub(_span, text)
    if "://" in text or _WWW.search(text):
        text = _URL.sub(f" {URL} ", text)
    if "@" in text:
        text = _MENTION.sub(f" {MENTION} ", text)
    if ":\\" in text:
        text = _WIN_PATH.sub(f" {PATH} ", text)
    if "/" in text or _DOTTED.search(text):
        text = _PATH.sub(f" {PATH} ", text)
    if _DIGIT.search(text):
        text = _NUMBER.sub(f" {NUMBER} ", text)
    if _MAY_IDENTIFY.search(text):
        text = _IDENTIFIER.sub(f" {NAME} ", text)
    return text
