"""What ``sbgw-tui config`` shows: everything in force, no secret; and the JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from settings_home import SettingsHome

from server.settings_keys import ANY_NAME, all_keys, docs
from server.settings_show import describe, json_schema, places, shown


@pytest.fixture
def home(tmp_path: Path) -> SettingsHome:
    return SettingsHome(tmp_path)


def test_values_and_their_sources(home: SettingsHome) -> None:
    home.config('[server]\nport = 1\n[prices."a.b"]\nin = 0.1\nout = 2\nfrom = 2026-01-31\n')
    rows = {
        key: (value, source) for key, value, source in describe(home.load(GROQ_API_KEY="x" * 9))
    }

    assert rows["server.host"] == ('"127.0.0.1"', "default")
    assert rows["server.port"] == ("1", f"{home.config_file}:2")
    assert rows["routing.shadow"] == ("true", "default")
    assert rows["routing.routes.planning"] == ('["groq", "cerebras"]', "default")
    assert rows["routing.kinds"] == ("{}", "default")
    assert rows["providers.groq.model"] == ('"openai/gpt-oss-120b"', "default")
    assert rows['prices."a.b"'] == (
        "[{ from = 2026-01-31, in = 0.1, out = 2 }]",
        f"{home.config_file}:4",
    )
    assert rows["$GROQ_API_KEY"] == ("set", "environment")
    assert rows["$CEREBRAS_API_KEY"] == ("not set", "")
    assert rows["$CLOUDFLARE_ACCOUNT_ID"] == ("not set", "")
    assert rows["$STACKBILT_GATEWAY_KEY"] == ("default", "default")


def test_where_the_files_are(home: SettingsHome) -> None:
    home.config("")
    file = home.seed({"routing": {"shadowMode": True}})

    assert places(home.load()) == [
        ("settings", str(home.config_file), "read"),
        ("keys", str(home.home / ".env"), "not there"),
        ("project", str(file), "read"),
        ("state", str(home.home / "state"), ""),
    ]


def test_a_file_that_others_can_read_is_there_but_not_used(home: SettingsHome) -> None:
    home.config("")
    home.dotenv("GROQ_API_KEY=x\n")
    (home.home / ".env").chmod(0o644)

    assert ("keys", str(home.home / ".env"), "there, but not used") in places(home.load())


def test_no_secret_is_shown(home: SettingsHome) -> None:
    home.config('[network]\nproxy = "http://me:SECRET-pass@proxy.example:3128"\n')
    home.dotenv("GROQ_API_KEY=SECRET-of-groq\nSTACKBILT_GATEWAY_KEY=SECRET-gateway\n")
    rows = describe(home.load(ANTHROPIC_API_KEY="SECRET-of-anthropic"))

    assert "SECRET" not in str(rows)
    assert ("network.proxy", '"http://***@proxy.example:3128"', f"{home.config_file}:2") in rows
    assert ("$STACKBILT_GATEWAY_KEY", "set", str(home.home / ".env")) in rows


def test_a_key_is_only_listed_when_it_has_a_value(home: SettingsHome) -> None:
    keys = [key for key, _, _ in describe(home.load())]

    assert "providers.groq.proxy" not in keys
    assert len(keys) == len(set(keys))


def test_a_value_is_one_line_of_toml() -> None:
    assert shown("a\x1b[1m\nb") == '"a\\u001b[1m\\nb"'
    assert shown(1.5) == "1.5"
    assert shown([True, "x"]) == '[true, "x"]'


def test_the_schema_documents_every_key() -> None:
    schema = json_schema()
    tables = {"Settings": schema, **schema["$defs"]}
    for name, texts in docs().items():
        described = tables[name]["properties"]
        assert set(texts) == set(described)
        for key, text in texts.items():
            assert described[key].get("description", "") == text
    leaves = {key.path[-1] for key in all_keys() if key.path[-1] != ANY_NAME}
    assert leaves <= {key for texts in docs().values() for key, text in texts.items() if text}
    assert json.loads(json.dumps(schema)) == schema


def test_the_schema_refuses_what_the_models_refuse() -> None:
    schema = json_schema()

    assert schema["additionalProperties"] is False
    modes = schema["$defs"]["ModesSettings"]
    assert {"default", "app", "canary_percent", "title", "summary"} <= set(
        modes["propertyNames"]["enum"]
    )
    assert schema["$defs"]["PriceTable"]["required"] == ["in", "out"]
    one, several = schema["properties"]["prices"]["additionalProperties"]["anyOf"]
    assert one == several["items"] == {"$ref": "#/$defs/PriceTable"}
    assert several["minItems"] == 1
