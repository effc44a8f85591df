"""Every fault that is planted in a sound installation is found, and its fix is named."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import scripted_upstream as wire
from doctor_faults import FAULTS, dotenv_of_others, dotenv_open, no_tool_search
from doctor_home import (
    ANTHROPIC_KEY,
    GROQ_KEY,
    DoctorHome,
    Plant,
    model_list,
    of,
    troubles,
    vendor,
)
from gateway_process import ROOT, GatewayHome, program, run_program

from server.doctor.finding import State
from server.doctor.gather_machine import machine

pytestmark = pytest.mark.faults

ALWAYS = {"feature-off", "not-sheltered", "prices-old"}
"""Said of every test run: Codex compacts by itself, pytest obeys PYTHON*, and time goes by."""


async def test_a_sound_installation_has_no_failures(tmp_path: Path) -> None:
    async with vendor() as upstream:
        home = DoctorHome(tmp_path, upstream.base_url)
        findings = await home.examine(tries_contract=True)
    assert troubles(findings) - ALWAYS == set()
    assert of(findings, "models-served").text == "groq serves openai/gpt-oss-120b"
    assert {f.text for f in findings if f.code == "provider-live"} == {
        "anthropic: the key works; 2 models",
        "groq: the key works; 2 models",
    }
    asked = {
        (r.target, r.header(b"x-api-key"), r.header(b"authorization")) for r in upstream.requests
    }
    assert asked == {
        (b"/v1/models?limit=1000", ANTHROPIC_KEY.encode(), None),
        (b"/openai/v1/models", None, b"Bearer " + GROQ_KEY.encode()),
    }


@pytest.mark.parametrize(
    ("plant", "code", "state", "fix"), FAULTS, ids=[plant.__name__ for plant, *_ in FAULTS]
)
async def test_a_planted_fault_is_found(
    tmp_path: Path, plant: Plant, code: str, state: State, fix: str
) -> None:
    async with vendor() as upstream:
        home = DoctorHome(tmp_path, upstream.base_url)
        plant(home)
        findings = await home.examine(is_offline=code != "model-gone")
    found = [f for f in findings if f.code == code and f.state is state]
    assert found, [f"{f.state} {f.code}: {f.text}" for f in findings if f.state is not State.OK]
    assert any(fix in f.fix for f in found), [f.fix for f in found]
    text = json.dumps([f.as_json() for f in findings])
    assert GROQ_KEY not in text
    assert ANTHROPIC_KEY not in text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
async def test_keys_of_another_user(tmp_path: Path) -> None:
    async with vendor() as upstream:
        home = DoctorHome(tmp_path, upstream.base_url)
        dotenv_of_others(home)
        findings = await home.examine(is_offline=True)
    assert "chown" in of(findings, "file-foreign").fix


ANSWERS: list[tuple[wire.Script, str, State, str]] = [
    (wire.respond(401, body=b"{}"), "key-refused", State.FAIL, "init --set GROQ_API_KEY=-"),
    (wire.respond(429), "provider-limited", State.WARN, "raise the limit"),
    (wire.respond(503), "provider-failing", State.WARN, "status page"),
    (wire.respond(404), "provider-wrong-address", State.WARN, "providers.groq.base_url"),
    (wire.close(), "provider-unreachable", State.FAIL, "HTTPS_PROXY"),
    (model_list(skew_s=-300), "clock-skew", State.WARN, "timedatectl"),
    (model_list("qwen/other"), "model-gone", State.FAIL, "qwen/other"),
]


@pytest.mark.parametrize(("script", "code", "state", "fix"), ANSWERS, ids=[a[1] for a in ANSWERS])
async def test_what_a_provider_says_is_understood(
    tmp_path: Path, script: wire.Script, code: str, state: State, fix: str
) -> None:
    async with vendor(script) as upstream:
        home = DoctorHome(tmp_path, upstream.base_url)
        findings = await home.examine()
    found = [f for f in findings if f.code == code]
    assert {f.state for f in found} == {state}
    assert any(fix in f.fix for f in found), [f.fix for f in found]


async def test_a_clock_that_is_ahead(tmp_path: Path) -> None:
    async with vendor(model_list(skew_s=-3600)) as upstream:
        found = of(await DoctorHome(tmp_path, upstream.base_url).examine(), "clock-skew")
    assert "3600 s ahead of" in found.text


async def test_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    authority = wire.Authority()
    async with vendor(tls=authority.server()) as upstream:
        home = DoctorHome(tmp_path, upstream.base_url)
        refused = await home.examine()
        home.env["SSL_CERT_FILE"] = str(home.write(home.user / "ca.pem", authority.pem.decode()))
        facts = await home.facts()
    assert {f.code for f in refused if "network.ca_bundle" in f.fix} == {"provider-tls"}
    issuers = {p.name: p.probe.issuer for p in facts.providers if p.probe is not None}
    assert all(issuer and "trustme" in issuer.lower() for issuer in issuers.values()), issuers
    assert set(issuers) == {"anthropic", "groq"}


@contextmanager
def _listening(port: int) -> Iterator[None]:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen()
        yield


async def test_a_taken_port_names_its_owner(tmp_path: Path) -> None:
    async with vendor() as upstream:
        home = DoctorHome(tmp_path, upstream.base_url)
        with _listening(home.port):
            findings = await home.examine(is_offline=True)
    found = of(findings, "port-taken")
    assert "--port" in found.fix
    if sys.platform == "linux":
        assert f"pid {os.getpid()}" in found.text


async def test_offline_asks_nobody(tmp_path: Path) -> None:
    async with vendor() as upstream:
        findings = await DoctorHome(tmp_path, upstream.base_url).examine(is_offline=True)
        assert upstream.requests == []
    assert [f.text for f in findings if f.code == "provider-not-asked"] == [
        "anthropic: the key is set, not tried (--offline)",
        "groq: the key is set, not tried (--offline)",
    ]


async def test_features_that_a_variable_turns_off_are_named(tmp_path: Path) -> None:
    async with vendor() as upstream:
        home = DoctorHome(tmp_path, upstream.base_url)
        no_tool_search(home)
        home.env["DISABLE_PROMPT_CACHING"] = "1"
        findings = await home.examine(is_offline=True, tries_contract=True)
    lost = [f for f in findings if f.code == "feature-off" and "Claude Code" in f.text]
    assert [f.text.partition(":")[0] for f in lost] == [
        "Claude Code loses tool search (tools loaded when they are needed)",
        "Claude Code loses the one-hour prompt cache",
    ]
    assert str(home.user / ".claude" / "settings.json") in lost[0].fix
    assert lost[1].fix == "take DISABLE_PROMPT_CACHING out of your environment"


async def test_a_baseline_of_another_protocol_costs_features(tmp_path: Path) -> None:
    async with vendor() as upstream:
        home = DoctorHome(tmp_path, upstream.base_url)
        home.config('[routing.baseline]\nmessages = ["groq"]\n')
        findings = await home.examine(is_offline=True, tries_contract=True)
    lost = [f for f in findings if f.code == "feature-off" and "Claude Code" in f.text]
    assert len(lost) >= 10
    assert all('put "anthropic" first in routing.baseline.messages' in f.fix for f in lost)
    assert any("web search" in f.text for f in lost)


async def test_a_claude_that_runs_our_launcher_again_starts_nothing(tmp_path: Path) -> None:
    async with vendor() as upstream:
        home = DoctorHome(tmp_path, upstream.base_url)
        words = " ".join(map(shlex.quote, program("claude")))
        home.write(home.bin / "claude", f'#!/bin/sh\nexec {words} "$@"\n').chmod(0o755)
        findings = await home.examine(is_offline=True)
    assert "claude --version" in of(findings, "client-unknown").fix
    assert not (home.state / "gateway.lock").exists()


async def test_a_part_that_is_not_installed(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    (folder / "server" / "doctor").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "sbgw-tui"\ndependencies = ["no-such-package>=1", "click>=99,<100"]\n'
    )
    found = machine({}, tmp_path, tmp_path, root=folder)
    assert found.missing_packages == ("no-such-package",)
    assert [text.partition(" ")[0] for text in found.wrong_versions] == ["click"]
    assert "server/doctor/contract.toml" in found.missing_files


# ---------------------------------------------------------------------------- the command


@pytest.mark.faults
def test_the_command_reports_as_json_and_ends_with_5(tmp_path: Path) -> None:
    home = DoctorHome(tmp_path, "http://127.0.0.1:9")
    dotenv_open(home)
    home.env["GROQ_API_KEY"] = GROQ_KEY
    done = run_program("doctor", "--offline", "--json", only_env=home.env, cwd=home.cwd)
    assert done.returncode == 5, done.stderr
    report = json.loads(done.stdout)
    assert report["state"] == "fail"
    bad = [f for f in report["findings"] if f["state"] == "fail"]
    assert [(f["check"], f["theme"]) for f in bad] == [("file-open", "secrets")]
    assert bad[0]["fix"].startswith("chmod 600 ")
    assert all(f["fix"] for f in report["findings"] if f["state"] != "ok")
    assert GROQ_KEY.encode() not in done.stdout + done.stderr
    assert not home.state.exists(), "looking must not leave anything"


def test_a_sound_home_ends_with_0_and_never_loads_the_screen(tmp_path: Path) -> None:
    home = DoctorHome(tmp_path, "http://127.0.0.1:9")
    done = _run_in_python(
        home,
        "code = main(['doctor', '--offline'])\n"
        "screen = {'textual', 'rich', 'tui.app'} & set(sys.modules)\n"
        "sys.exit(str(screen) if screen else code)",
    )
    text = done.stdout.decode()
    assert done.returncode == 0, (text, done.stderr)
    assert "\nfeatures\n" in text
    assert "a gateway with these settings passes 15 features of Claude Code unchanged" in text
    assert b"0 failures" in done.stderr


@pytest.mark.faults
async def test_the_gateway_that_runs_is_recognised(tmp_path: Path) -> None:
    home = GatewayHome(tmp_path, "http://127.0.0.1:9")
    async with home.serve() as gateway:
        done = run_program("doctor", "--offline", "--json", env=home.env, cwd=home.work_dir)
        assert home.statuses() == {}
        assert len(gateway.stderr_lines) == 1, gateway.stderr_lines
    found = {f["check"]: f for f in json.loads(done.stdout)["findings"]}
    assert f"the gateway at {gateway.url} passes " in found["features"]["text"]
    assert found["port-ours"]["text"].startswith(f"the gateway serves at 127.0.0.1:{gateway.port}")
    assert found["ledger"]["text"].endswith(" bytes") or "kB" in found["ledger"]["text"]


@pytest.mark.parametrize("package", ["quart", "pydantic"])
def test_a_missing_package_is_named(tmp_path: Path, package: str) -> None:
    home = DoctorHome(tmp_path, "http://127.0.0.1:9")
    done = _run_in_python(
        home, "sys.exit(main(['doctor', '--offline', '--json']))", without=package
    )
    assert done.returncode == 5, done.stderr
    findings = json.loads(done.stdout)["findings"]
    missing = [f for f in findings if f["check"] == "package-missing"]
    assert package in missing[0]["text"]
    assert "install sbgw-tui again" in missing[0]["fix"]
    assert (package == "quart") is any(f["theme"] == "clients" for f in findings)


def test_a_file_that_a_copy_lacks_is_named(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for folder in ("providers", "server", "tui"):
        ignored = shutil.ignore_patterns("__pycache__", "training")
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    shutil.copy(ROOT / "sbgw.py", copy)
    (copy / "providers" / "data" / "profiles.toml").unlink()
    home = DoctorHome(tmp_path, "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, str(copy / "sbgw.py"), "doctor", "--offline", "--json"],
        env=home.env | {"PYTHONDONTWRITEBYTECODE": "1"},
        cwd=home.cwd,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 5, done.stderr
    found = {f["check"]: f for f in json.loads(done.stdout)["findings"]}
    assert "providers/data/profiles.toml" in found["file-missing"]["text"]
    assert "install sbgw-tui again" in found["file-missing"]["fix"]


def _run_in_python(
    home: DoctorHome, code: str, without: str = "none_of_these"
) -> subprocess.CompletedProcess[bytes]:
    """Run ``code`` with ``main`` of the command line, where a package cannot be imported."""
    before = f"import sys; sys.modules[{without!r}] = None; sys.path.insert(0, {str(ROOT)!r})\n"
    return subprocess.run(
        [sys.executable, "-c", f"{before}from tui.cli import main\n{code}"],
        env=home.env,
        cwd=home.cwd,
        capture_output=True,
        check=False,
        timeout=60,
    )
