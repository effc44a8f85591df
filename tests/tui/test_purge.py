"""A purge takes the kept request bodies with the turns, and no others."""

from __future__ import annotations

from pathlib import Path

from past_ledger import write_ledger
from turn_factory import NOON, finished

from server import capture_files
from server.ledger_retention import Choice
from server.paths import Paths
from tui.install.purge import forget, plan


def home(folder: Path) -> Paths:
    paths = Paths(folder, folder / "state")
    paths.make_state_dir()
    turns = [finished(session="one", project="/a"), finished(session="two", project="/b")]
    write_ledger(paths.ledger_file, turns)
    kept = capture_files.folder_of(paths.state_dir)
    for turn in turns:
        capture_files.write(kept, turn.id, turn.session, turn.project, {"at": NOON, "body": {}})
    return paths


def test_a_session_goes_with_its_bodies_and_the_others_stay(tmp_path: Path) -> None:
    paths = home(tmp_path)
    folder = capture_files.folder_of(paths.state_dir)
    assert any("1 kept request bodies" in text for text in plan(paths, Choice(session="one")))
    assert forget(paths, Choice(session="one")).turns == 1
    assert list(capture_files.matching(folder, session="one")) == []
    assert len(list(capture_files.matching(folder, session="two"))) == 1
    assert any("1 kept request bodies" in text for text in plan(paths, Choice()))
    forget(paths, Choice())
    assert not folder.exists()
    assert not any("bodies" in text for text in plan(paths, Choice()))
