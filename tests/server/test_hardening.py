"""How many files the gateway may open, and what its children get of that."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from server import hardening
from server.hardening import as_the_user, hardened

CHILD = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"


def files() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def of_a_child() -> int:
    return int(subprocess.check_output([sys.executable, "-S", "-c", CHILD]))


@pytest.fixture
def few() -> Iterator[int]:
    """A limit as it is on many systems."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1_024, before[1]))
    yield 1_024
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_gateway_may_open_more_files_and_its_children_may_not(few: int) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] <= few:
        pytest.skip("this machine's hard limit is no higher")
    with hardened():
        assert files() > few
        with as_the_user():
            assert of_a_child() == few
        assert files() > few
    assert files() == few


def test_a_gateway_with_many_open_files_can_still_start_programs(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardening, "_open_files", lambda: few)
    with hardened():
        raised = files()
        with as_the_user():
            assert files() == raised


def test_a_system_that_takes_no_more_is_left_as_it_is(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(which: int, limits: tuple[int, int]) -> None:
        if limits[0] > few:
            raise ValueError("current limit exceeds maximum limit")

    with monkeypatch.context() as patch:
        patch.setattr("resource.setrlimit", refuse)
        hardening._raise_files((few, resource.RLIM_INFINITY))
    assert files() == few
