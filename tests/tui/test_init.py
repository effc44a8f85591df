"""``sbgw-tui init``: by flags, and at a real terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import select
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import scripted_upstream as wire
from doctor_home import GROQ_KEY, MODELS, free_port, model_list, vendor
from gateway_process import PATIENCE_S, program, run_program
from settings_home import SettingsHome

from server.clock import SystemClock
from server.instance import InstanceLock
from server.paths import find_paths
from server.settings_env import read_env_file
from tui.init import Wanted, new_gateway_key, problem_with, wanted

pytestmark = pytest.mark.faults

PIPED = "gsk_pi|pe&and#hash'quote\"1"
SHOUT = "csk-typed-but-never-shown-1"


def _home(folder: Path, url: str = "http://127.0.0.1:9") -> SettingsHome:
    home = SettingsHome(folder)
    home.config(
        f"[server]\nport = {free_port()}\n"
        f'[providers.groq]\nbase_url = "{url}/openai/v1"\n'
        f'[providers.cerebras]\nbase_url = "{url}/c/v1"\n'
    )
    home.env |= {"HOME": str(folder), "PATH": os.defpath, "TERM": "xterm-256color"}
    return home


def _saved(home: SettingsHome) -> dict[str, str]:
    return dict(read_env_file(home.home / ".env").values)


def _init(
    home: SettingsHome, *arguments: str, stdin: bytes = b"", **env: str
) -> subprocess.CompletedProcess[bytes]:
    only = home.env | env
    return run_program("init", *arguments, only_env=only, cwd=home.cwd, stdin=stdin)


def test_flags_take_values_from_the_environment_and_from_stdin(tmp_path: Path) -> None:
    home = _home(tmp_path)
    home.dotenv("# mine\nOPENAI_API_KEY=gone\n")
    sets = ["GROQ_API_KEY", "CEREBRAS_API_KEY=-", "STACKBILT_GATEWAY_PORT=9123"]
    flags = [word for text in sets for word in ("--set", text)]
    flags += ["--unset", "OPENAI_API_KEY", "--random-key", "--offline", "--no-doctor"]
    done = _init(home, *flags, stdin=b"csk-line-1\nnot read\n", GROQ_API_KEY=PIPED)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    saved = _saved(home)
    key = saved.pop("STACKBILT_GATEWAY_KEY")
    assert saved == {
        "GROQ_API_KEY": PIPED,
        "CEREBRAS_API_KEY": "csk-line-1",
        "STACKBILT_GATEWAY_PORT": "9123",
    }
    assert len(key) > 30
    file = home.home / ".env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().startswith("# mine\n")
    for secret in (PIPED, "csk-line-1", key):
        assert secret.encode() not in done.stderr
    assert b"GROQ_API_KEY is set in your environment as well" in done.stderr
    assert b"next: sbgw-tui claude" in done.stderr


def test_a_gateway_that_runs_is_to_start_anew(tmp_path: Path) -> None:
    home = _home(tmp_path)
    lock = InstanceLock(find_paths(home.env, home.cwd), SystemClock())
    with lock:
        set_one = _init(home, "--set", "GROQ_API_KEY=-", "--offline", "--no-doctor", stdin=b"gsk-1")
        nothing = _init(home, "--yes", "--offline", "--no-doctor")
    assert b"has the values from before: sbgw-tui restart" in set_one.stderr
    assert b"restart" not in nothing.stderr


def test_a_missing_key_of_ones_own_can_be_made(tmp_path: Path) -> None:
    """The settings are refused without it, and this is what makes it."""
    home = _home(tmp_path)
    home.config('[server]\nhost = "0.0.0.0"\n')
    done = _init(home, "--random-key", "--offline", "--no-doctor")
    assert done.returncode == 0, done.stderr
    assert list(_saved(home)) == ["STACKBILT_GATEWAY_KEY"]
    home.config("[server]\nhots = 1\n")
    assert _init(home, "--random-key", "--offline", "--no-doctor").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--set", "GROQ_API_KEY=gsk-secret"], "other users can read a command line"),
        (["--set", "GROQ_API_KEY"], "not set in the environment"),
        (["--set", "GROQ_API_KEY=-"], "no such line on stdin"),
        (["--set", "A B=1"], "is not the name of a variable"),
        (["--set", "STACKBILT_GATEWAY_PORT=70000"], "from 1 to 65535"),
        (["--set", "CLOUDFLARE_ACCOUNT_ID=../x"], "letters, digits"),
        ([], "there is no terminal to ask on"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, arguments: Sequence[str], reason: str
) -> None:
    home = _home(tmp_path)
    done = _init(home, *arguments)
    assert done.returncode == 2
    assert reason in " ".join(done.stderr.decode().split())
    assert b"gsk-secret" not in done.stderr
    assert not (home.home / ".env").exists()


def test_a_key_with_a_space_is_refused_before_it_is_written(tmp_path: Path) -> None:
    home = _home(tmp_path)
    done = _init(home, "--set", "GROQ_API_KEY=-", "--offline", stdin=b"two words\n")
    assert done.returncode == 2
    assert b"without spaces" in done.stderr
    assert not (home.home / ".env").exists()


async def test_each_new_key_is_tried_and_the_doctor_has_the_last_word(tmp_path: Path) -> None:
    def route(request: wire.Request) -> wire.Script:
        return wire.respond(401) if request.target.startswith(b"/c/") else model_list(*MODELS)

    async with wire.ScriptedUpstream(route=route) as upstream:
        home = _home(tmp_path, upstream.base_url)
        flags = ["--set", "GROQ_API_KEY=-", "--set", "CEREBRAS_API_KEY=-", "--yes"]
        stdin = f"{GROQ_KEY}\n{SHOUT}\n".encode()
        done = await asyncio.to_thread(_init, home, *flags, stdin=stdin)
    err = done.stderr.decode()
    assert "Groq key: it works" in err
    assert "Cerebras key: it is refused (HTTP 401)" in err
    assert done.returncode == 5
    assert b"cerebras refuses the key in CEREBRAS_API_KEY (HTTP 401)" in done.stdout
    tried = [(r.target, r.header(b"authorization")) for r in upstream.requests[:2]]
    assert sorted(tried) == [
        (b"/c/v1/models", b"Bearer " + SHOUT.encode()),
        (b"/openai/v1/models", b"Bearer " + GROQ_KEY.encode()),
    ]
    assert SHOUT.encode() not in done.stdout + done.stderr


class Typist:
    """The program on a terminal of its own; answers each prompt as a person would."""

    def __init__(self, home: SettingsHome, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self.shown = ""
        try:
            self._child = subprocess.Popen(
                program("init", *arguments),
                env=home.env,
                cwd=home.cwd,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
            )
        finally:
            os.close(slave)
        self._read_to = 0

    def answer(self, prompt: str, text: str) -> None:
        """Wait for a prompt that holds ``prompt``, then type a line."""
        while not self.shown[self._read_to :].rstrip(" ").endswith(":") or (
            prompt not in self.shown[self._read_to :]
        ):
            assert self._more(), self.shown
        self._read_to = len(self.shown)
        os.write(self._master, text.encode() + b"\n")

    def ended(self) -> int:
        """Read to the end; the exit code."""
        with contextlib.suppress(OSError):
            while self._more():
                pass
        os.close(self._master)
        return self._child.wait(PATIENCE_S)

    def _more(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], PATIENCE_S)
        data = os.read(self._master, 65536) if ready else b""
        self.shown += data.decode("utf-8", "replace")
        return bool(data)


async def test_at_a_terminal_keys_are_asked_for_and_never_shown(tmp_path: Path) -> None:
    async with vendor() as upstream:
        home = _home(tmp_path, upstream.base_url)
        home.dotenv("OPENAI_API_KEY=sk-old-1234567\nANTHROPIC_API_KEY=sk-kept-1234567\n")
        typist = await asyncio.to_thread(_type_all, home)
    assert SHOUT not in typist.shown
    assert "sk-old" not in typist.shown
    assert "[not set]" in typist.shown
    assert f"OpenAI key (OPENAI_API_KEY) [set, in {home.home}" in typist.shown
    assert "Cerebras key: it works" in typist.shown
    saved = _saved(home)
    assert saved.pop("STACKBILT_GATEWAY_KEY").startswith("sbgw-")
    assert saved == {"CEREBRAS_API_KEY": SHOUT, "ANTHROPIC_API_KEY": "sk-kept-1234567"}


def _type_all(home: SettingsHome) -> Typist:
    typist = Typist(home, "--no-doctor")
    for prompt, text in [
        ("GROQ_API_KEY", ""),
        ("CEREBRAS_API_KEY", "two words"),
        ("CEREBRAS_API_KEY", SHOUT),
        ("ANTHROPIC_API_KEY", ""),
        ("OPENAI_API_KEY", "-"),
        ("CLOUDFLARE_ACCOUNT_ID", ""),
        ("CLOUDFLARE_API_TOKEN", ""),
        ("STACKBILT_GATEWAY_KEY", ""),
        ("STACKBILT_GATEWAY_PORT", ""),
        ("random gateway key", "y"),
    ]:
        typist.answer(prompt, text)
    assert typist.ended() == 0, typist.shown
    return typist


def test_the_seeds_name_for_it_works(tmp_path: Path) -> None:
    home = _home(tmp_path)
    done = run_program(
        "setup", "--random-key", "--offline", "--no-doctor", only_env=home.env, cwd=home.cwd
    )
    assert done.returncode == 0, done.stderr
    assert list(_saved(home)) == ["STACKBILT_GATEWAY_KEY"]


def test_everything_that_is_configured_is_asked_for(tmp_path: Path) -> None:
    home = SettingsHome(tmp_path)
    home.config(
        '[server]\nkey_env = "MY_GATEWAY"\n[providers.mine]\nkind = "openai-chat"\n'
        'base_url = "https://mine.example/v1"\napi_key_env = "MINE_KEY"\n'
    )
    names = [one.name for one in wanted(home.load(MY_GATEWAY="x" * 12))]
    assert names[:2] == ["GROQ_API_KEY", "CEREBRAS_API_KEY"]
    assert names[-3:] == ["MINE_KEY", "MY_GATEWAY", "STACKBILT_GATEWAY_PORT"]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "value", "is_fine"),
    [
        ("KEY", "sk-1", True),
        ("KEY", "sk 1", False),
        ("KEY", "sk-é", False),
        ("ACCOUNT", "abc123", True),
        ("ACCOUNT", "a/b", False),
        ("STACKBILT_GATEWAY_PORT", "8787", True),
        ("STACKBILT_GATEWAY_PORT", "0", False),
        ("STACKBILT_GATEWAY_PORT", "x", False),
        ("OTHER", "free text", True),
        ("OTHER", "two\nlines", False),
    ],
)
def test_values_are_checked(name: str, value: str, is_fine: bool) -> None:
    known = [Wanted("KEY", "a key"), Wanted("ACCOUNT", "an account", is_secret=False)]
    assert (problem_with(name, value, known) is None) is is_fine


def test_gateway_keys_differ_and_can_be_sent() -> None:
    keys = {new_gateway_key() for _ in range(20)}
    assert len(keys) == 20
    assert all(problem_with("K", key, [Wanted("K", "key")]) is None for key in keys)
