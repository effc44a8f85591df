"""Which test holds which security rule, and rules that hold for the whole code.

A test carries its rule in its name: ``test_s04_...``. Where a rule is kept by the tests of a part
as well, they are named here.

====  ============================================================================================
S1    test_known_mistakes; server/test_settings_file (``test_the_default_key_stays_on_this_machine``,
      ``test_with_a_key_of_its_own_it_may_leave_but_says_so``); test_browsers (S4: everywhere)
S2    test_keys_and_routes; server/test_credentials; e2e/test_endpoints
S3    test_keys_and_routes; e2e/test_native_faults (unknown routes)
S4    test_browsers; e2e/test_native_faults (requests that must not pass)
S5    test_browsers
S6    test_bodies; server/test_guard
S7    test_bodies; providers/protocols/test_json_limits, test_peek; e2e/test_native_bytes
S8    test_bodies; providers/test_transport_origin; server/test_settings_file (account id)
S9    test_bodies
S10   test_upstreams; providers/test_transport (redirect), test_transport_tls, test_proxy;
      e2e/test_native_edges (a login goes to no other vendor, the gateway key goes up in no field)
S11   test_upstreams; server/test_guard; providers/test_transport (dangerous header)
S12   test_secrets; server/test_settings_env (secrets, .env); e2e/test_process (commands)
S13   test_secrets; e2e/test_endpoints (event stream)
S14   tui/test_hostile, tui/test_format
S15   test_secrets
S16   test_known_mistakes; tui/test_launch_env (a launched agent keeps the user's environment)
S17   test_files_and_process; server/test_settings_seed, test_settings_file, test_trust
S18   test_files_and_process; server/test_private_files, test_instance; this file
S19   test_files_and_process; this file
S20   test_keys_and_routes
S21   architecture/test_repo_words (locks), architecture/test_hostile_paths (wheel)
S22   test_files_and_process
S23   test_upstreams; providers/test_transport_framing, providers/test_coding
S24   test_known_mistakes
CVEs  test_known_mistakes: what other gateways got wrong, by number
====  ============================================================================================
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = [
    path
    for folder in ("providers", "server", "tui")
    for path in sorted((ROOT / folder).rglob("*.py"))
] + [ROOT / "sbgw.py"]

UNSAFE_MODULES = {
    "pickle",
    "marshal",
    "shelve",
    "dill",
    "yaml",
    "jinja2",
    "tarfile",
    "zipfile",
    "shutil.unpack_archive",
    "xml",
    "telnetlib",
    "ftplib",
    "requests",
    "urllib.request",
}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "breakpoint"}
UNSAFE_NAMES = {
    "os.system",
    "os.popen",
    "ssl._create_unverified_context",
    "ssl.CERT_NONE",
    "quart.render_template_string",
    "tempfile.mktemp",
}


def faults(source: str) -> Iterator[str]:
    """What in a module breaks S10, S18 or S19."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (a.name for a in names if _is_unsafe(a.name))
            case ast.ImportFrom(module=str(module), names=names):
                full = [module, *(f"{module}.{alias.name}" for alias in names)]
                yield from (name for name in full if _is_unsafe(name))
            case ast.Call(func=ast.Name(id=name)) if name in UNSAFE_CALLS:
                yield f"{name}()"
            case ast.Attribute(value=ast.Name(id=base), attr=attr):
                if f"{base}.{attr}" in UNSAFE_NAMES:
                    yield f"{base}.{attr}"
            case ast.keyword(arg="shell" | "follow_redirects", value=ast.Constant(value=True)):
                yield f"{node.arg}=True"
            case (
                ast.keyword(arg="verify" | "check_hostname", value=ast.Constant(value=False))
                | ast.Assign(
                    targets=[ast.Attribute(attr="check_hostname")], value=ast.Constant(value=False)
                )
            ):
                yield "a certificate that is not checked"
            case ast.Call(func=ast.Attribute(attr="execute" | "executemany"), args=[sql, *_]):
                yield from _sql_faults(sql)


def _is_unsafe(name: str) -> bool:
    return name in UNSAFE_MODULES or name.partition(".")[0] in UNSAFE_MODULES


def _sql_faults(sql: ast.expr) -> Iterator[str]:
    """SQL that is put together from anything but constants of the module."""
    match sql:
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]) if text.startswith("PRAGMA"):
            # Takes no parameters.
            return
        case ast.JoinedStr(values=parts):
            for part in parts:
                if isinstance(part, ast.FormattedValue) and not _is_constant(part.value):
                    yield f"SQL with {ast.unparse(part.value)}"
        case ast.BinOp(op=ast.Mod()) | ast.Call(func=ast.Attribute(attr="format")):
            yield f"SQL made of {ast.unparse(sql)}"


def _is_constant(value: ast.expr) -> bool:
    names = [node.id for node in ast.walk(value) if isinstance(node, ast.Name)]
    return all(name.strip("_").isupper() for name in names)


def test_s18_s19_no_module_runs_or_unpacks_what_comes_from_outside() -> None:
    assert len(PRODUCT) > 100
    assert [
        f"{p.relative_to(ROOT)}: {fault}" for p in PRODUCT for fault in faults(p.read_text())
    ] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from yaml import load",
        "import urllib.request",
        "eval(text)",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
        "httpx.Client(verify=False)",
        "httpx.Client(follow_redirects=True)",
        "context.check_hostname = False",
        "context.verify_mode = ssl.CERT_NONE",
        'db.execute(f"SELECT * FROM turns WHERE id = {turn_id}")',
        'db.execute("SELECT %s" % name)',
        'db.execute("SELECT {}".format(name))',
    ],
)
def test_the_check_sees_a_fault(source: str) -> None:
    assert list(faults(source))


def test_the_check_lets_what_is_right_pass() -> None:
    source = 'db.execute(f"SELECT {_COLUMNS} FROM turns WHERE id = ?", (turn_id,))\nre.compile(x)'
    assert list(faults(source)) == []


def test_every_rule_has_its_line_and_every_file_in_it_is_there() -> None:
    lines = re.findall(r"^S(\d+) ", __doc__ or "", re.M)
    assert [int(number) for number in lines] == list(range(1, 25))
    tests = ROOT / "tests"
    for name in re.findall(r"test_[a-z0-9_]*[a-z0-9]\b(?!\.\.)", __doc__ or ""):
        in_text = [path for path in tests.rglob("*.py") if f"def {name}(" in path.read_text()]
        found = [*tests.rglob(f"{name}.py"), *in_text]
        assert found, name


def test_s05_no_module_knows_a_field_that_opens_us_to_web_pages() -> None:
    found = [path.name for path in PRODUCT if "access-control-allow" in path.read_text().lower()]
    assert found == []
