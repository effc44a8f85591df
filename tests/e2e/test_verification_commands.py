"""``live`` and ``verify`` as processes that talk to a running gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from lifecycle_home import LifecycleHome


@pytest.fixture
def home(tmp_path: Path) -> Iterator[LifecycleHome]:
    with LifecycleHome(tmp_path) as found:
        yield found


@pytest.mark.faults
def test_a_kind_goes_live_for_a_while_and_is_taken_back(home: LifecycleHome) -> None:
    assert home.quick("live", "title", "--for", "2h").code == 4
    home.run("up")
    lent = home.quick("live", "title", "--for", "2h")
    assert (lent.code, lent.out) == (0, "live")
    assert "comes back at" in lent.err
    assert "its text may go to" in lent.err
    assert "no answer of its candidates was compared" in lent.err
    assert home.quick("shadow").out == "shadow"
    assert "title is live until" in home.quick("verify").out
    assert home.quick("live", "title", "--off").out == "observe"
    assert json.loads(home.quick("verify", "--json").out)["leases"] == []
    wrong = home.quick("live", "titel")
    assert (wrong.code, wrong.out) == (2, "")
    assert 'did you mean "title"?' in wrong.err

    home.quick("live", "recap", "--for", "1h")
    home.run("restart")
    assert json.loads(home.quick("verify", "--json").out)["leases"] == [], "back in shadow"


@pytest.mark.faults
def test_consent_is_given_kept_and_taken_back(home: LifecycleHome) -> None:
    home.run("up")
    given = home.quick("verify", "on")
    assert given.code == 0
    assert "text of sampled requests goes to groq" in given.err
    home.run("restart")
    assert json.loads(home.quick("verify", "--json").out)["consent"] is True
    assert "there is no consent" in home.quick("verify", "off").out
