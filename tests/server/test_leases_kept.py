from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from server.leases import Leases


def test_a_kept_process_counts_as_long_as_it_lives(tmp_path: Path) -> None:
    leases = Leases(tmp_path / "leases")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        leases.keep(child.pid)
        leases.keep(child.pid)
        assert (leases.active(), leases.agents()) == (1, [])
        assert leases.is_kept(child.pid)
        assert not leases.is_kept(os.getpid())
        child.kill()
    assert not leases.is_kept(child.pid)
    assert leases.was_kept(child.pid)
    assert leases.active() == 0
    assert not leases.was_kept(child.pid)


def test_agents_are_the_living_ones_under_a_lease(tmp_path: Path) -> None:
    leases = Leases(tmp_path / "leases")
    assert leases.agents() == []
    with leases.take() as lease, leases.take():
        lease.set_agent(os.getpid())
        (tmp_path / "leases" / "x.lease").write_text("[]")
        assert leases.agents() == [os.getpid()]
