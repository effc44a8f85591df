"""A message split into what its writer says and what the writer shows.

Only the words a person addresses to the model tell the intent; a pasted log or a code block that
happens to say "explain" does not. What is shown becomes one marker character in the prose, so that
its place in the sentence stays known.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

FENCE, SPAN, NAME, PATH, MENTION, URL, NUMBER, PASTE = map(chr, range(0xE000, 0xE008))
"""Stand for a code block, an inline one, an identifier, a file, ``@`` and what follows, an address,
a commit or issue, and pasted lines."""
MARKERS = FENCE + SPAN + NAME + PATH + MENTION + URL + NUMBER + PASTE

_HEAD, _TAIL = 700, 300
"""Characters read from both ends of a message: what is asked stands at one of them."""

_FOREIGN_MARKERS = re.compile(f"[{MARKERS}]")
_FENCES = re.compile(r"(?:```|~~~).*?(?:```|~~~|\Z)", re.S)
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
    r"(?<![\w`/])(?:"
    r"(?:~|\.{1,2})/[\w.@*~+-][^\s,;:)\"']*"
    r"|/(?:home|users|usr|etc|var|tmp|opt|mnt|srv)/[^\s,;:)\"']+"
    r"|(?:[\w.@*+-]+/){2,}[\w.@*+-]*"
    r"|(?:src|libs?|apps|pkg|packages|cmd|docs|tests?|internal|scripts|components)"
    r"/[\w.@*+-]+/?"
    rf"|(?:[\w.@*+-]+/)*[\w@*+-][\w.@*+-]*\.(?:{_EXTENSIONS})\b(?:::?[\w.]+)*"
    r")",
    re.I,
)
_WIN_PATH = re.compile(r"\b[A-Za-z]:\\[^\s]+")
_NUMBER = re.compile(r"(?<![\w&])#\d{1,7}\b|\b[0-9a-f]{7,40}\b(?<=\d.{6}|.{6}\d)", re.I)
_IDENTIFIER = re.compile(
    r"(?:\b[A-Za-z]\w*(?:_\w+)+|\b[a-z]+[A-Z]\w*|\b(?:[A-Z][a-z0-9]+){2,}|\b\w+\(\)|(?<![\w-])--?[a-z][\w-]{2,})(?:\(\))?"
)
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
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True, slots=True)
class Passage:
    """One message of a person, ready for matching."""

    prose: str
    """Folded: lower case, without accents; what is shown is one of ``MARKERS``."""
    is_command: bool
    """A slash command of the client."""


def read_passage(text: str) -> Passage:
    """Split a message; looks at a bounded part of it, however long it is."""
    near = text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}"
    near = _FOREIGN_MARKERS.sub(" ", near)
    near = _FENCES.sub(f"\n{FENCE}\n", near)
    kept = _without_pasted(near.split("\n"))
    return Passage(
        prose=fold(_marked("\n".join(kept))),
        is_command=bool(re.match(r"\s*/[a-z][\w:-]*(?:\s|$)", near, re.I)),
    )


def fold(text: str) -> str:
    """Lower case and without the accents of Latin, Greek and Cyrillic letters."""
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
    letters = len(_LETTER.findall(line))
    return len(line) > 40 and letters < len(line) * 0.55


def _span(match: re.Match[str]) -> str:
    inner = match.group(1).strip()
    if _PATH.fullmatch(inner):
        return f" {PATH} "
    return f" {NAME} " if _IDENTIFIER.fullmatch(inner) else f" {SPAN} "


def _marked(text: str) -> str:
    """Names of things replaced by markers, the most specific first."""
    # Most messages lack the character without which a pattern cannot match.
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
    text = _NUMBER.sub(f" {NUMBER} ", text)
    return _IDENTIFIER.sub(f" {NAME} ", text)
