"""How single facts are read."""

from __future__ import annotations

import socket
import ssl
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from providers.pricing import Prices
from server.config import Settings
from server.doctor.gather_machine import (
    ROOT,
    expected_files,
    fits,
    free_bytes,
    hostile,
    numbers,
    packages,
    requirements,
)
from server.doctor.gather_providers import (
    issuer_of,
    listed_models,
    models_of,
    price_facts,
    recording,
    skew,
)
from server.doctor.gather_state import ledger_facts, port_state, private_files
from server.ledger_schema import connect, create_private
from server.ledger_tables import MIGRATIONS
from server.paths import Paths


@pytest.mark.parametrize(
    ("version", "specifiers", "is_so"),
    [
        ("8.2.8", "==8.2.8", True),
        ("8.2.9", "==8.2.8", False),
        ("0.28", ">=0.28,<0.29", True),
        ("0.29.0", ">=0.28,<0.29", False),
        ("2.10.1rc1", ">=2.10", True),
        ("1.0", ">=1.0.0", True),
        ("1.2", "", True),
    ],
)
def test_versions(version: str, specifiers: str, is_so: bool) -> None:
    assert fits(version, specifiers) is is_so


def test_numbers_of_a_version() -> None:
    assert numbers("2.1.330") == (2, 1, 330)
    assert numbers("v") == ()


def test_what_the_program_needs_is_here() -> None:
    wanted = requirements()
    assert any(text.startswith("quart") for text in wanted)
    assert packages(wanted) == ((), ())


def test_a_package_that_is_not_here() -> None:
    assert packages(["no-such-thing[extra]>=1 ; python_version > '3'"]) == (("no-such-thing",), ())
    missing, wrong = packages(["click>=99"])
    assert missing == ()
    assert wrong[0].endswith("wanted >=99")


def test_hostile_folders(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    for place in (ours / "server", tmp_path / "a" / "textual", tmp_path / "b"):
        place.mkdir(parents=True)
    (tmp_path / "b" / "sitecustomize.py").touch()
    folders = [str(ours), "", str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "a")]
    assert list(hostile(folders, root=ours)) == [
        (folders[2], "textual"),
        (folders[3], "sitecustomize"),
    ]


def test_free_space_of_a_folder_that_is_still_to_be_made(tmp_path: Path) -> None:
    found = free_bytes(tmp_path / "not" / "there")
    assert found is not None
    assert found > 0


def test_a_wheel_that_was_not_unpacked_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "sbgw_tui-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sbgw-tui\nVersion: 9.9\n")
    (info / "RECORD").write_text("server/new/data.toml,,\nserver/x.pyc,,\n../../bin/sbgw-tui,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert expected_files(tmp_path.resolve())[-1] == "server/new/data.toml"
    assert "server/new/data.toml" not in expected_files()
    assert all((ROOT / name).is_file() for name in expected_files())


@pytest.mark.parametrize(
    ("body", "models"),
    [
        (b'{"data": [{"id": "a"}, {"id": "b"}]}', {"a", "b"}),
        (b'{"result": [{"name": "@cf/x"}], "success": true}', {"@cf/x"}),
        (b'{"data": []}', set()),
        (b'{"data": [{"id": "a"}], "has_more": true}', None),
        (b'{"models": 3}', None),
        (b"[]", None),
        (b"<html>", None),
    ],
)
def test_lists_of_models(body: bytes, models: set[str] | None) -> None:
    assert listed_models(body) == models


def test_skew_of_a_clock() -> None:
    assert skew("Thu, 01 Jan 1970 00:01:40 GMT", 130.0) == 30.0
    assert skew("Thu, 01 Jan 1970 00:01:40 -0000", 100.0) == 0.0
    assert skew("yesterday", 1.0) is None
    assert skew(None, 1.0) is None


def test_who_issued_a_certificate() -> None:
    issuer: Any = ((("countryName", "US"),), (("organizationName", "Corp"),))
    assert issuer_of({"issuer": issuer}) == "Corp"
    assert issuer_of({"issuer": ((("commonName", "lone"),),)}) == "lone"
    assert issuer_of({}) is None


def test_a_context_of_the_system_is_left_alone() -> None:
    class Other(ssl.SSLContext):
        pass

    context = Other(ssl.PROTOCOL_TLS_CLIENT)
    assert recording(context, {}).sslobject_class is ssl.SSLObject


def test_models_that_routes_name() -> None:
    settings = Settings.model_validate(
        {"routing": {"kinds": {"title": ["groq/x", "groq", "baseline"]}}}
    )
    assert models_of(settings, "groq") == ["openai/gpt-oss-120b", "x"]
    assert models_of(settings, "anthropic") == []


def test_prices_that_are_not_known() -> None:
    models = [("groq", "openai/gpt-oss-120b"), ("groq", "nobody/knows")]
    facts = price_facts(Settings(), models, 1_795_000_000.0, newest=lambda today: today)
    assert facts.unpriced == ("groq/nobody/knows",)
    assert facts.newest == facts.today == date(2026, 11, 18)
    assert facts.version == Prices().version


def test_the_youngest_price_is_not_of_the_future() -> None:
    early = price_facts(Settings(), [], 1_750_000_000.0)
    late = price_facts(Settings(), [], 1_795_000_000.0)
    assert early.newest is not None
    assert late.newest is not None
    assert early.newest <= early.today < late.newest <= late.today


def test_a_port_is_free_until_somebody_listens() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        sock.listen()
        assert port_state("127.0.0.1", port)[0] == "taken"
    assert port_state("127.0.0.1", port) == ("free", "")
    assert port_state("192.0.2.1", 0)[0] == "unusable"


def test_a_ledger_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    assert ledger_facts(path).state == "absent"
    create_private(path)
    assert (ledger_facts(path).state, ledger_facts(path).turns) == ("ok", 0)
    conn = connect(path)
    conn.execute("PRAGMA application_id = 1396852567")
    conn.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    conn.close()
    found = ledger_facts(path)
    assert found.state == "newer"
    assert "upgrade" in found.detail


def test_a_folder_in_the_place_of_the_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").mkdir()
    found = ledger_facts(tmp_path / "ledger.sqlite3")
    assert (found.state, found.detail) == ("unwritable", "it is not a regular file")


def test_states_of_files(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path / "state")
    paths.env_file.mkdir()
    paths.config_file.touch(0o644)
    paths.config_file.chmod(0o644)
    paths.make_state_dir()
    paths.trust_file.touch()
    paths.trust_file.chmod(0o640)
    states = {file.what: (file.state, file.detail) for file in private_files(paths)}
    assert states == {
        "keys": ("unusable", "is not a regular file"),
        "settings": ("private", "644"),
        "the instance secret": ("absent", ""),
        "the ledger": ("absent", ""),
        "the list of trusted files": ("open", "640"),
    }
