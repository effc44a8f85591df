"""What the doctor knows before it judges; plain values, and never a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Literal

from server.doctor.contract import Outcome

if TYPE_CHECKING:
    from server.settings_errors import Warning_

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Terminal:
    """The terminal this runs in."""

    is_tty: bool = True
    term: str = "xterm-256color"
    """``TERM``, empty when unset."""
    colours: str = ""
    """``COLORTERM``."""
    columns: int = 120
    lines: int = 40
    encoding: str = "utf-8"
    """Of stdout, lower case."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Python, its packages, the disk and the terminal."""

    python: Version = (3, 11, 0)
    executable: str = "python"
    is_sheltered: bool = True
    """Whether this interpreter ignores ``PYTHON*`` variables and the working directory."""
    missing_packages: tuple[str, ...] = ()
    wrong_versions: tuple[str, ...] = ()
    """``name version, wanted SPECIFIER``."""
    missing_files: tuple[str, ...] = ()
    """Data files of ours that are not installed."""
    hostile_paths: tuple[tuple[str, str], ...] = ()
    """Folders of ``PYTHONPATH``, or the working directory, and our package that each one hides."""
    state_dir: str = ""
    free_bytes: int | None = None
    """Free space where the state is kept; ``None`` when it cannot be told."""
    terminal: Terminal = Terminal()


FileState = Literal["absent", "private", "open", "foreign", "unusable"]


@dataclass(frozen=True, slots=True)
class File:
    """A file that holds something private."""

    what: str
    """``keys``, ``settings``, ``instance secret`` ..."""
    path: str
    state: FileState
    detail: str = ""
    """Its mode in octal, or why it cannot be used."""
    holds_secret: bool = True


@dataclass(frozen=True, slots=True)
class SettingsFacts:
    """What loading the settings said."""

    problems: tuple[str, ...] = ()
    """Why they cannot be used; everything that needs settings is then left out."""
    warnings: tuple[Warning_, ...] = ()
    files: tuple[str, ...] = ()
    changed: tuple[tuple[str, str, str], ...] = ()
    """``(key, value, source)`` of every setting that is not the default."""
    has_default_key: bool = True
    key_source: str = "default"


PortState = Literal["free", "ours", "taken", "unusable", "unanswered"]


@dataclass(frozen=True, slots=True)
class Port:
    """Where the gateway listens, or would."""

    host: str
    port: int
    state: PortState
    owner: str = ""
    """``pid N (name)`` of whoever has it, empty when that cannot be seen."""
    detail: str = ""
    own_version: str = ""
    """This program's version."""
    version: str = ""
    """Of the gateway that runs."""
    status: str = ""
    """Of the gateway that runs: ``up``, ``degraded`` ..."""


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """The record of requests."""

    path: str
    state: Literal["absent", "ok", "unwritable", "damaged", "foreign", "newer", "unreadable"]
    detail: str = ""
    size_bytes: int = 0
    turns: int = 0
    spilled_files: int = 0
    """Files beside it with rows that it could not take yet."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a provider said to ``GET /models``."""

    status: int | None = None
    """HTTP status; ``None``: there was no answer."""
    error: str = ""
    """``UpstreamError.code`` when there was no answer, or ``unreadable``."""
    text: str = ""
    """In words."""
    models: frozenset[str] | None = None
    """Ids of the models served; ``None`` when the answer holds no whole list."""
    skew_s: float | None = None
    """This machine's clock minus the provider's ``Date``."""
    issuer: str | None = None
    """Organisation that issued its certificate; ``None`` without TLS or when it cannot be seen."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One configured provider."""

    name: str
    title: str
    key_name: str | None
    """Variable of its key; ``None`` when it wants none."""
    has_key: bool
    host: str = ""
    takes_client_credential: bool = False
    account_name: str | None = None
    """Variable of its account id."""
    has_account: bool = True
    models: tuple[str, ...] = ()
    """Models that the settings name for it."""
    retired: Mapping[str, str] = field(default_factory=dict)
    """Retired model -> its replacement."""
    is_used: bool = True
    """Whether a route or a baseline names it."""
    is_public: bool = True
    """Whether it is a built-in provider at an address outside this machine."""
    probe: Probe | None = None
    """``None``: not asked."""


@dataclass(frozen=True, slots=True)
class PriceFacts:
    """The price list."""

    version: str
    newest: date | None = None
    """The youngest price in it."""
    today: date = date.min
    unpriced: tuple[str, ...] = ()
    """``provider/model`` of models in use without a price."""


@dataclass(frozen=True, slots=True)
class Value:
    """An environment variable as a client will see it."""

    text: str
    source: str
    """``your environment``, or the settings file whose value wins."""


@dataclass(frozen=True, slots=True)
class Client:
    """Claude Code or Codex on this machine."""

    name: Literal["claude", "codex"]
    path: str | None
    """``None``: not found."""
    version: Version | None = None
    detail: str = ""
    """Why its version is not known."""
    values: Mapping[str, Value] = field(default_factory=dict)
    """Variables that steer it and hold no secret, by name."""
    other_vendors: tuple[tuple[str, str, str], ...] = ()
    """``(variable, vendor, source)`` of modes that speak to another API."""
    key_helpers: tuple[str, ...] = ()
    """Settings files that name a program which makes the credential."""
    broken_files: tuple[str, ...] = ()
    has_credential: bool = False
    """Whether it has a login or key of its own."""
    refusal: str = ""
    """Why the launcher would not start it through the gateway, first line."""
    remedy: str = ""
    """What that refusal says to do."""
    is_elsewhere: bool = False
    """Whether its base URL, started by itself, leads neither to its vendor nor to us."""
    is_here: bool = False
    """Whether its base URL, started by itself, leads to this gateway."""


@dataclass(frozen=True, slots=True)
class Network:
    """Proxies and certificates."""

    proxies: tuple[str, ...] = ()
    """Proxy variables that are set."""
    exempts_gateway: bool = True
    """Whether ``NO_PROXY`` covers the gateway's address."""
    gateway_host: str = "127.0.0.1"
    proxy_problem: str = ""
    """Why a proxy setting cannot be used."""
    bad_certificates: tuple[tuple[str, str], ...] = ()
    """``(variable, path)`` of certificate files that cannot be read."""
    certificate_problem: str = ""
    """Why ``network.ca_bundle`` cannot be used."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything; a part that is ``None`` could not be looked at, or was not asked for."""

    machine: Machine = Machine()
    settings: SettingsFacts = SettingsFacts()
    files: tuple[File, ...] = ()
    network: Network = Network()
    port: Port | None = None
    ledger: LedgerFacts | None = None
    providers: tuple[Provider, ...] = ()
    is_offline: bool = False
    """Whether providers were not to be asked."""
    prices: PriceFacts | None = None
    clients: tuple[Client, ...] = ()
    outcomes: tuple[Outcome, ...] | None = None
    """How the recorded contract fared; ``None``: not tried."""
    outcome_problem: str = ""
    """Why it was not tried."""
    tried_at: str = ""
    """Address of the running gateway that tried it; empty: one of the doctor's own did."""
    replay_problem: str = ""
    """Why the gateway that runs did not try it."""
