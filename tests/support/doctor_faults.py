"""Faults to plant in a sound installation, and what the doctor has to say of each."""

from __future__ import annotations

import os
import sqlite3

from doctor_home import DoctorHome, Plant

from server.doctor.finding import State


def dotenv_open(home: DoctorHome) -> None:
    (home.home / ".env").chmod(0o644)


def dotenv_of_others(home: DoctorHome) -> None:
    os.chown(home.home / ".env", 4242, 4242)


def secret_open(home: DoctorHome) -> None:
    home.write(home.state / "instance.key", "x" * 32).chmod(0o604)


def config_writable(home: DoctorHome) -> None:
    (home.home / "config.toml").chmod(0o666)


def typo(home: DoctorHome) -> None:
    home.config("[routng]\nshadow = true\n")


def bad_key(home: DoctorHome) -> None:
    home.env["GROQ_API_KEY"] = "two words"


def exposed(home: DoctorHome) -> None:
    home.config("", server='host = "0.0.0.0"')


def stray_env(home: DoctorHome) -> None:
    home.write(home.cwd / ".env", "A=1\n")


def foreign_project(home: DoctorHome) -> None:
    home.write(home.cwd / "gateway.config.json", '{"routing": {"shadowMode": false}}')


def retired(home: DoctorHome) -> None:
    home.config("", groq='model = "llama-3.3-70b-versatile"')


def unserved(home: DoctorHome) -> None:
    home.config('[routing.kinds]\ntitle = ["groq/openai/gpt-oss-20c"]\n')


def state_is_a_file(home: DoctorHome) -> None:
    home.write(home.state, "not a folder")


def ledger_damaged(home: DoctorHome) -> None:
    home.write(home.state / "ledger.sqlite3", "this is no database, " * 200)


def ledger_foreign(home: DoctorHome) -> None:
    home.state.mkdir(mode=0o700)
    with sqlite3.connect(home.state / "ledger.sqlite3") as other:
        other.execute("CREATE TABLE theirs (a)")
    other.close()
    (home.state / "ledger.sqlite3").chmod(0o600)


def spilled(home: DoctorHome) -> None:
    home.write(home.state / "ledger.sqlite3", "").chmod(0o600)
    home.write(home.state / "ledger.sqlite3.spill-1.jsonl", "{}\n")


def hostile_pythonpath(home: DoctorHome) -> None:
    home.write(home.cwd / "server" / "__init__.py", "")
    home.env["PYTHONPATH"] = str(home.cwd)


def proxied(home: DoctorHome) -> None:
    home.env["HTTPS_PROXY"] = "http://127.0.0.1:9"


def bad_proxy(home: DoctorHome) -> None:
    home.env["HTTPS_PROXY"] = "socks5://127.0.0.1:9"
    home.env["NO_PROXY"] = "127.0.0.1"


def bad_certificates(home: DoctorHome) -> None:
    home.env["SSL_CERT_FILE"] = str(home.home / "config.toml")


def old_claude(home: DoctorHome) -> None:
    home.agent("claude", "1.0.72 (Claude Code)")


def old_codex(home: DoctorHome) -> None:
    home.agent("codex", "codex-cli 0.41.0")


def no_claude(home: DoctorHome) -> None:
    (home.bin / "claude").unlink()


def broken_claude(home: DoctorHome) -> None:
    home.agent("claude", "cannot find module", code=1)


def claude_elsewhere(home: DoctorHome) -> None:
    home.claude_settings({"env": {"ANTHROPIC_BASE_URL": "https://llm.example/x"}}, folder=home.cwd)


def shell_elsewhere(home: DoctorHome) -> None:
    home.env["ANTHROPIC_BASE_URL"] = "https://llm.example/y"


def bedrock(home: DoctorHome) -> None:
    home.claude_settings({"env": {"CLAUDE_CODE_USE_BEDROCK": "1"}})


def vertex(home: DoctorHome) -> None:
    home.env["CLAUDE_CODE_USE_VERTEX"] = "true"


def key_helper(home: DoctorHome) -> None:
    home.claude_settings({"apiKeyHelper": "print-key"})


def broken_settings(home: DoctorHome) -> None:
    home.claude_settings('{"env": {,}}')


def no_tool_search(home: DoctorHome) -> None:
    home.claude_settings({"env": {"ENABLE_TOOL_SEARCH": "false"}})


def codex_elsewhere(home: DoctorHome) -> None:
    home.codex_settings('openai_base_url = "https://llm.example/v1"\n')


def codex_other_provider(home: DoctorHome) -> None:
    home.codex_settings(
        'model_provider = "corp"\n[model_providers.corp]\nbase_url = "https://corp.example/v1"\n'
    )


def codex_variable(home: DoctorHome) -> None:
    home.env["OPENAI_BASE_URL"] = f"http://127.0.0.1:{home.port}/v1"


def nobody_pays(home: DoctorHome) -> None:
    home.dotenv("")
    (home.user / ".codex" / "auth.json").unlink()


def account_missing(home: DoctorHome) -> None:
    home.env["CLOUDFLARE_API_TOKEN"] = "cf-token-0123456789"


def unpriced(home: DoctorHome) -> None:
    home.config('[routing.kinds]\ntitle = ["groq/nobody/knows-this"]\n')


FAULTS: list[tuple[Plant, str, State, str]] = [
    (dotenv_open, "file-open", State.FAIL, "chmod 600 "),
    (secret_open, "file-open", State.FAIL, "instance.key"),
    (config_writable, "file-open", State.WARN, "chmod 600 "),
    (typo, "settings-wrong", State.FAIL, "sbgw-tui config --schema"),
    (bad_key, "settings-note", State.FAIL, "sbgw-tui init"),
    (exposed, "settings-wrong", State.FAIL, "sbgw-tui init --random-key"),
    (stray_env, "settings-note", State.WARN, "keys belong into"),
    (foreign_project, "settings-note", State.WARN, "trust"),
    (retired, "model-retired", State.FAIL, 'providers.groq.model = "openai/gpt-oss-120b"'),
    (unserved, "model-gone", State.FAIL, "openai/gpt-oss-20b"),
    (state_is_a_file, "ledger-unwritable", State.FAIL, "SBGW_HOME"),
    (ledger_damaged, "ledger-damaged", State.FAIL, "moves the damaged file aside"),
    (ledger_foreign, "ledger-foreign", State.FAIL, "SBGW_HOME"),
    (spilled, "ledger-spill", State.WARN, "start the gateway"),
    (hostile_pythonpath, "pythonpath-hostile", State.WARN, "unset PYTHONPATH"),
    (proxied, "proxy-loopback", State.WARN, "export NO_PROXY=127.0.0.1,localhost"),
    (bad_proxy, "proxy-unusable", State.FAIL, 'network.proxy = "none"'),
    (bad_certificates, "certificate-unreadable", State.WARN, "SSL_CERT_FILE"),
    (old_claude, "client-old", State.WARN, "npm install -g @anthropic-ai/claude-code@2.1.330"),
    (old_codex, "client-old", State.WARN, "npm install -g @openai/codex@0.169.0"),
    (no_claude, "client-missing", State.WARN, "npm install -g @anthropic-ai/claude-code"),
    (broken_claude, "client-unknown", State.WARN, "claude --version"),
    (claude_elsewhere, "client-elsewhere", State.FAIL, "providers.anthropic.base_url"),
    (shell_elsewhere, "client-elsewhere", State.FAIL, "ANTHROPIC_BASE_URL from your environment"),
    (bedrock, "client-vendor", State.FAIL, "take CLAUDE_CODE_USE_BEDROCK out of"),
    (vertex, "client-vendor", State.FAIL, "CLAUDE_CODE_USE_VERTEX out of your environment"),
    (key_helper, "client-helper", State.WARN, "gateway key"),
    (broken_settings, "client-file-broken", State.WARN, "correct the file"),
    (codex_elsewhere, "client-elsewhere", State.FAIL, "providers.openai.base_url"),
    (codex_other_provider, "client-refused", State.FAIL, "Take that line out"),
    (codex_variable, "codex-variable", State.WARN, "sbgw-tui codex"),
    (nobody_pays, "no-credential", State.FAIL, "sbgw-tui init"),
    (account_missing, "provider-account", State.FAIL, "enter CLOUDFLARE_ACCOUNT_ID"),
    (unpriced, "prices-missing", State.WARN, '[prices."groq/nobody/knows-this"]'),
]
"""The fault, the finding that names it, how serious it is, and words of the fix."""
