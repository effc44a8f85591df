"""What is said in the demo: prose of any length, and the small jobs of its sessions."""

from __future__ import annotations

import random
from dataclasses import dataclass

_WHO = (
    "the importer", "the scheduler", "a worker", "the cache", "the parser", "each retry",
    "the exporter", "the index", "a reader", "the queue", "the clock", "the caller",
    "the session", "every writer", "the report", "a migration", "the client", "the lock",
)  # fmt: skip
_DOES = (
    "keeps", "returns", "drops", "renames", "waits for", "copies", "validates", "replaces",
    "counts", "closes", "reads", "orders", "rejects", "splits", "merges", "flushes",
)  # fmt: skip
_WHAT = (
    "one record at a time", "the whole batch", "its own handle", "the last known value",
    "a stale entry", "an empty list", "the first match", "both halves", "the shared buffer",
    "an open file", "the next page", "a short summary", "the old name", "all pending rows",
)  # fmt: skip
_WHEN = (
    "before it answers", "unless told otherwise", "after a restart", "when the disk is slow",
    "on every second run", "while nobody looks", "as soon as it can", "in the order of arrival",
    "only in tests", "once an hour", "without a lock", "if the header says so",
)  # fmt: skip


def sentence(rng: random.Random) -> str:
    """One plain sentence."""
    parts = (rng.choice(_WHO), rng.choice(_DOES), rng.choice(_WHAT), rng.choice(_WHEN))
    return " ".join(parts).capitalize() + "."


def prose(rng: random.Random, chars: int) -> str:
    """Sentences of at least ``chars`` characters together."""
    said: list[str] = []
    size = 0
    while size < chars:
        said.append(sentence(rng))
        size += len(said[-1]) + 1
    return " ".join(said)


def listing(rng: random.Random, lines: int) -> str:
    """What a tool prints: numbered lines."""
    return "\n".join(f"{number + 1}\t{sentence(rng)}" for number in range(lines))


@dataclass(frozen=True, slots=True)
class Job:
    """Something a user asks an agent to do, and how the agent goes about it."""

    title: str
    ask: str
    steps: tuple[tuple[str, str, str], ...]
    """What the agent says, the tool it calls, and what with."""
    done: str


FLAKY_TEST = Job(
    "Flaky retry test",
    "The retry test fails about once in ten runs. Find out why and fix it.",
    (
        ("I will read the test and the code it covers first.", "Read", "tests/test_retry.py"),
        ("It waits on a clock that two workers share. Searching for its users.", "Grep", "clock"),
        ("Two places write the same field. Running the test in a loop.", "Bash", "pytest -x"),
        ("It failed on the ninth run, as expected. Giving each its own.", "Edit", "src/retry.py"),
    ),
    "The test was flaky because two workers shared one clock, and the slower one could overwrite "
    "what the faster one had just read. Each worker has its own clock now, and the test runs both "
    "orders. Two hundred runs in a row passed; I changed two files and added one case.",
)

EXPORT = Job(
    "CSV export for reports",
    "Add a CSV export to the report page, with the columns in the order shown.",
    (
        ("Looking at how the page gets its columns.", "Read", "src/report/page.py"),
        ("There is a table model already, so the export can use it.", "Edit", "src/report/csv.py"),
    ),
    "The report page has an export button now. It writes the visible columns in their order on "
    "the screen, quotes what needs quoting, and streams, so that large reports do not fill memory.",
)

JOBS = (
    FLAKY_TEST,
    EXPORT,
    Job(
        "Dates off by one day",
        "Dates shift by one day for users east of Greenwich. Find the place and fix it.",
        (
            ("Searching for conversions between dates and times.", "Grep", "fromtimestamp"),
            ("One of them goes through local midnight. Reading around it.", "Read", "src/day.py"),
            ("Replacing it with a conversion that stays in UTC.", "Edit", "src/day.py"),
            ("Adding a case for each side of the date line.", "Write", "tests/test_day.py"),
            ("Running the tests.", "Bash", "pytest tests/test_day.py"),
        ),
        "Dates were made from local midnight and then read as UTC, which moved them back one day "
        "in the east. They stay in UTC throughout now, with a test on each side of the date line.",
    ),
    Job(
        "Split the upload module",
        "The upload module has grown too large. Split it along its three duties.",
        (
            ("Reading it from top to bottom.", "Read", "src/upload.py"),
            ("Checking, storing and announcing hardly share anything.", "Grep", "import upload"),
            ("Moving the checks out.", "Write", "src/upload/checks.py"),
            ("Moving storage out.", "Write", "src/upload/store.py"),
            ("Adjusting the imports.", "Edit", "src/api.py"),
            ("Running the tests.", "Bash", "pytest -q"),
        ),
        "The module is a package of three files now, none above two hundred lines. Nothing else "
        "changed: the same names can be imported from the same place, and all tests pass.",
    ),
    Job(
        "Slow start page",
        "The start page takes three seconds. Measure where they go and tell me.",
        (
            ("Starting a profile of one page load.", "Bash", "python -m cProfile -m app"),
            ("Most of it is one query that runs for each row.", "Grep", "select_related"),
            ("Reading the view to see what it needs.", "Read", "src/views/start.py"),
        ),
        "Two of the three seconds are one query that runs once for each row of the list. Loading "
        "the owners together with the rows brings the page to about four hundred milliseconds. I "
        "have changed nothing yet; say so and I will.",
    ),
    Job(
        "Clearer error messages",
        "Our settings errors are hard to read. Make them name the file and the line.",
        (
            ("Collecting the messages first.", "Grep", "raise SettingsError"),
            ("They all pass through one function. Reading it.", "Read", "src/settings.py"),
            ("Giving it the position, and saying it in plain words.", "Edit", "src/settings.py"),
            ("Running the tests that compare the texts.", "Bash", "pytest -k settings"),
            ("Three texts changed. Updating what is expected.", "Edit", "tests/test_settings.py"),
        ),
        "Every settings error names the file, the line and the nearest known key now. Three tests "
        "expected the old texts and were updated.",
    ),
)

PLANNING = (
    "What are the pros and cons of Redis compared with PostgreSQL as a job queue in general, and "
    "when should one choose which?",
    "What are the trade-offs between asyncio and threads in Python in general? Which one would "
    "you recommend for many slow network calls?",
    "What are the pros and cons of REST compared with GraphQL in general, and when should one "
    "choose which?",
)
PLANNING_ANSWERS = (
    "Take PostgreSQL first. A table with a status column, read with `FOR UPDATE SKIP LOCKED`, "
    "gives you jobs that commit together with the data they belong to, one system to run and to "
    "back up, and a queue that can be queried like anything else. Redis is faster and its lists "
    "and streams fit the shape of a queue, but a job can be lost between the two systems: written "
    "here, not yet there. What you pay with PostgreSQL is load on the database that serves your "
    "users, and vacuum has more to do. Choose Redis when there are thousands of small jobs a "
    "second and losing one is cheap; choose PostgreSQL when a job must happen exactly because a "
    "row was written, which is most of the time.",
    "For many slow network calls asyncio is the better choice: one thread holds thousands of open "
    "connections, switching happens only where you write `await`, and so most races disappear. "
    "Threads need no special libraries and fit code that exists already, but each costs memory, "
    "and every shared value needs a lock. Take threads for a few dozen calls through a client "
    "that blocks; take asyncio when the number is large or unknown. Whatever you choose, put a "
    "limit on how many calls run at once, and a timeout on each of them.",
    "REST is simple to cache, to log and to secure, because every resource has an address and "
    "every call a meaning. GraphQL lets the client ask for just what it shows, in one round trip, "
    "and its schema documents itself; but caching moves into the client, and a query can be as "
    "expensive as its author likes. Choose REST for public interfaces and for few, stable views; "
    "GraphQL where many different screens draw on the same data and change often. Starting with "
    "REST and adding one aggregate endpoint is a good middle way.",
)
SUMMARY = (
    "What is the difference between concurrency and parallelism? Explain it in a short paragraph.",
    "What does idempotent mean? Explain it in two sentences with an everyday example.",
    "What is a write-ahead log in PostgreSQL in general? Explain it in three sentences.",
)
SUMMARY_ANSWERS = (
    "Concurrency is about having several things under way at once, parallelism about doing "
    "several at the same instant. One cook with four pots is concurrent; four cooks are parallel.",
    "Something is idempotent when doing it twice has the same effect as doing it once. Pressing "
    "the call button of a lift is, ringing a bell is not.",
    "A write-ahead log is a file to which every change is appended before the data itself is "
    "touched. After a crash the log is replayed, so that a change is either there in full or not "
    "at all. Databases use one because appending is fast, and because it turns many scattered "
    "writes into a single sequential one that can be made durable.",
)
CODE = (
    "Write a regular expression in Python that matches an ISO date like 2026-11-23 and captures "
    "year, month and day.",
    "Write a bash one-liner that prints the ten largest files in a directory tree. Just show it.",
    "Write a regular expression that matches a time of day such as 07:45 and nothing else.",
)
CODE_ANSWERS = (
    "```python\nimport re\nDATE = re.compile(r'(\\d{4})-(\\d{2})-(\\d{2})')\n```\nUse "
    "`DATE.fullmatch` when the text must be nothing but the date. It takes month 13 as well; "
    "`datetime.date` is the better judge of that.",
    "```sh\nfind . -type f -printf '%s %p\\n' | sort -rn | head\n```\nOn macOS `find` has no "
    "`-printf`; use `stat -f '%z %N'` there.",
    "```\n^([01]\\d|2[0-3]):[0-5]\\d$\n```\nHours from 00 to 23, minutes from 00 to 59, both with "
    "two digits.",
)
MAILS = (
    ("What does chargeback mean? Explain it in one sentence.", "A payment taken back by a bank."),
    ("Into which box does this belong: I was charged twice this month.", "billing"),
    ("Into which box does this belong: The page stays white after I log in.", "technical"),
)
"""What a program of the project asks, and the answers."""
THOUGHTS = (
    "Let me see which of the two writes can come last. If the slower worker wins, the value it "
    "had read before is written back, and the faster one never notices.",
    "The simplest change that could work is to give each its own. That also makes the order in "
    "the test visible, which is worth having anyway.",
    "I should run this before I believe it. One run proves little, so a loop is the better test.",
    "Before I change anything I want to know who else depends on the present behaviour.",
)
