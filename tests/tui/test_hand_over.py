"""The agent's process, without a terminal that could be given to it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tui.agents import Command
from tui.hand_over import CANNOT_RUN, Ending, Foreground, quiet_signals

TITLE = "Claude Code"


def command(code: str, **env: str) -> Command:
    return Command(TITLE, sys.executable, ("agent", "-IS", "-c", code), {"A": "1", **env})


@pytest.fixture
def no_terminal() -> Iterator[int]:
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    os.close(writing)


async def run(terminal: int, code: str) -> Ending:
    return await Foreground(command(code), terminal).run()


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (Ending(0), "Claude Code ended."),
        (Ending(3), "Claude Code ended with code 3."),
        (Ending(-9), "Claude Code was ended by SIGKILL."),
        (Ending(-63), "Claude Code was ended by signal 63."),
        (Ending(126, problem="Permission denied"), "Claude Code cannot be run: Permission denied."),
        (Ending(0, was_told=True), "Claude Code was ended, because the gateway is stopping."),
    ],
)
def test_how_it_ended_in_words(ending: Ending, words: str) -> None:
    assert ending.in_words(TITLE) == words


async def test_the_exit_code_or_the_signal_is_known(no_terminal: int) -> None:
    assert await run(no_terminal, "raise SystemExit(7)") == Ending(7)
    assert await run(no_terminal, "import os; os.kill(os.getpid(), 9)") == Ending(-9)


async def test_it_has_a_group_of_its_own_and_only_the_given_environment(no_terminal: int) -> None:
    code = (
        "import os; raise SystemExit(os.getpgrp() != os.getpid() or dict(os.environ)['A'] != '1')"
    )
    assert await run(no_terminal, code) == Ending(0)


async def test_a_program_that_cannot_be_run_is_an_ending(no_terminal: int, tmp_path: Path) -> None:
    missing = Command(TITLE, str(tmp_path / "none"), ("none",), {})
    found = await Foreground(missing, no_terminal).run()
    assert found == Ending(CANNOT_RUN, problem="No such file or directory")
    broken = Command(TITLE, "a\0b", ("x",), {})
    assert (await Foreground(broken, no_terminal).run()).code == CANNOT_RUN


async def test_one_that_stops_goes_on(no_terminal: int) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP); raise SystemExit(5)"
    assert await run(no_terminal, code) == Ending(5)


async def test_it_leaves_when_told_to_even_while_it_is_stopped(no_terminal: int) -> None:
    told, writing = os.pipe()
    os.set_inheritable(writing, True)
    code = f"import os, signal; os.write({writing}, b'x'); signal.pause()"
    agent = Foreground(command(code), no_terminal)
    running = asyncio.get_running_loop().create_task(agent.run())
    assert await asyncio.to_thread(os.read, told, 1) == b"x"
    agent.end()
    agent.end()
    found = await running
    os.close(told)
    os.close(writing)
    assert (found.code, found.was_told) == (-signal.SIGHUP, True)
    agent.end()


async def test_one_that_is_told_before_it_runs_leaves_too(no_terminal: int) -> None:
    agent = Foreground(command("import signal; signal.pause()"), no_terminal)
    agent.end()
    found = await agent.run()
    assert (found.code, found.was_told) == (-signal.SIGHUP, True)


async def test_a_cancelled_run_leaves_no_process(no_terminal: int, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        f"open({str(file)!r} + '.part', 'w').write(str(os.getpid()));"
        f"os.rename({str(file)!r} + '.part', {str(file)!r}); signal.pause()"
    )
    running = asyncio.get_running_loop().create_task(run(no_terminal, code))
    while not file.exists():
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    pid = int(file.read_text())
    async with asyncio.timeout(10):
        while _lives(pid):
            await asyncio.sleep(0.01)


def test_signals_of_the_terminal_are_ignored_only_meanwhile() -> None:
    names = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTOU, signal.SIGTTIN)
    before = [signal.getsignal(number) for number in names]
    with quiet_signals() as ignored:
        assert ignored == frozenset()
        assert {signal.getsignal(number) for number in names} == {signal.SIG_IGN}
        with quiet_signals() as ignored:
            assert ignored == frozenset(names)
    assert [signal.getsignal(number) for number in names] == before


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
