"""Real processes: a driver that only runs an agent, and the agent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake_claude
import pytest

from tui.launch_child import CANNOT_RUN, run_in_foreground

REPOSITORY = Path(__file__).resolve().parents[2]
REAL_WAIT_S = 20.0

DRIVER = f"""
import os, sys
sys.path.append({str(REPOSITORY)!r})
from tui.launch_child import run_in_foreground
sys.exit(run_in_foreground(sys.argv[1], ["claude", *sys.argv[2:]], os.environ))
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    claude = fake_claude.install(tmp_path / "bin")
    started: list[subprocess.Popen[str]] = []

    def run(*args: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-IS", "-c", DRIVER, str(claude), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            # Its own session, so that signals to the group stay in it.
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(process.stdout.readline())
    return line


def rest(process: subprocess.Popen[str], typed: str = "") -> dict[str, Any] | None:
    out, _ = process.communicate(typed, timeout=REAL_WAIT_S)
    return json.loads(out) if out else None


def test_the_agent_has_our_group_terminal_folder_and_input(start: Start, tmp_path: Path) -> None:
    process = start("echo", "a b", "")
    shown = first_line(process)

    assert rest(process, "typed text") == {"read": "typed text"}
    assert process.returncode == 0
    assert shown["argv"] == ["echo", "a b", ""]
    assert shown["cwd"] == str(tmp_path)
    assert shown["ppid"] == shown["group"] == shown["session"] == process.pid
    # 0, 1, 2 and the one that lists the folder: nothing of ours leaks into the agent.
    assert shown["descriptors"] == [0, 1, 2, 3]


def test_the_agent_finds_signals_as_the_user_has_them(start: Start) -> None:
    process = start("show")
    handlers = first_line(process)["handlers"]
    rest(process)

    for name in ("SIGTERM", "SIGHUP", "SIGQUIT"):
        assert handlers[name] == "0", name
    # Python itself installs this one in the stand-in, but only over the default action.
    assert "default_int_handler" in handlers["SIGINT"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_what_python_ignores_for_itself_the_agent_does_not(
    capfd: pytest.CaptureFixture[str],
) -> None:
    argv = ["grep", "SigIgn", "/proc/self/status"]
    assert run_in_foreground("/bin/grep", argv, {}) == 0

    ignored = int(capfd.readouterr().out.split()[1], 16)

    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        assert signal.getsignal(number) is signal.SIG_IGN, "or this test shows nothing"
        assert not ignored & 1 << (number - 1)


@pytest.mark.parametrize("code", [0, 1, 130, 255])
def test_the_exit_code_is_passed_on(start: Start, code: int) -> None:
    process = start("exit", str(code))
    rest_of_nothing(process)
    assert process.returncode == code


def rest_of_nothing(process: subprocess.Popen[str]) -> None:
    first_line(process)
    assert rest(process) is None


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGTERM"])
def test_death_by_signal_is_told_as_the_shell_does(start: Start, name: str) -> None:
    process = start("kill", name)
    rest_of_nothing(process)
    assert process.returncode == 128 + getattr(signal, name)


@pytest.mark.parametrize("name", ["SIGINT", "SIGQUIT"])
def test_a_key_that_interrupts_the_group_leaves_the_decision_to_the_agent(
    start: Start, name: str
) -> None:
    process = start("trap")
    first_line(process)
    os.killpg(process.pid, getattr(signal, name))

    assert rest(process) == {"got": name}
    assert process.returncode == 7


def test_an_agent_that_dies_of_the_interrupt_gives_130(start: Start) -> None:
    process = start("die")
    first_line(process)
    os.killpg(process.pid, signal.SIGINT)

    assert rest(process) is None
    assert process.returncode == 130


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_to_us_alone_reaches_the_agent(start: Start, name: str) -> None:
    process = start("trap")
    first_line(process)
    process.send_signal(getattr(signal, name))

    assert rest(process) == {"got": name}
    assert process.returncode == 7


def test_a_signal_the_user_ignores_stays_ignored(start: Start) -> None:
    ignoring = ("/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    process = start("trap", prefix=ignoring)

    assert first_line(process)["handlers"]["SIGHUP"] == "1"
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert rest(process) == {"got": "SIGTERM"}


@pytest.mark.parametrize("word", ["stop", "stop-all"])
def test_we_stop_and_resume_with_the_agent(start: Start, word: str) -> None:
    process = start(word)
    first_line(process)

    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), "the shell must get its terminal back"
    os.killpg(process.pid, signal.SIGCONT)

    assert rest(process) == {"back": True}
    assert process.returncode == 0


def test_resuming_us_alone_resumes_the_agent(start: Start) -> None:
    process = start("stop")
    first_line(process)
    os.waitpid(process.pid, os.WUNTRACED)
    process.send_signal(signal.SIGCONT)

    assert rest(process) == {"back": True}


def test_an_agent_that_dies_while_stopped_ends_us_too(start: Start) -> None:
    process = start("stop")
    shown = first_line(process)
    os.waitpid(process.pid, os.WUNTRACED)
    os.kill(shown["pid"], signal.SIGKILL)
    process.send_signal(signal.SIGCONT)

    assert rest(process) is None
    assert process.returncode == 128 + signal.SIGKILL


def test_an_agent_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    pids: list[int] = []
    path = tmp_path / "claude"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    code = run_in_foreground(str(path), ["claude"], {}, on_start=pids.append, say=said.append)

    assert code == CANNOT_RUN
    assert said == [f"cannot run {path}: No such file or directory"]
    assert pids == []
    assert {number: signal.getsignal(number) for number in before} == before


def test_our_signal_handlers_are_as_before_and_the_pid_is_told() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    pids: list[int] = []

    code = run_in_foreground("/bin/sh", ["sh", "-c", "exit 4"], {}, on_start=pids.append)

    assert (code, len(pids)) == (4, 1)
    assert {number: signal.getsignal(number) for number in before} == before
