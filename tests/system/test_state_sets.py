"""Files that are replaced as one: what is on disk at every moment of a save is a whole set."""

from __future__ import annotations

import os
import shutil

import numpy as np
import paddle
import pytest

from utils.system import files
from utils.system.errors import UserError
from utils.system.state_files import read_state
from utils.system.state_sets import find_set, write_set

ENDINGS = (".pdparams", ".pdopt")


def save(folder, number):
    """Writes the set whose every file says `number`."""
    states = {ending: {"value": np.full(300, number)} for ending in ENDINGS}
    write_set(folder / "last_8", states, (".pdstates", {"value": number}))


def load(folder):
    """The number that all files of the set say."""
    found = find_set(folder / "last_8", ENDINGS, ".pdstates", "a state")
    for path in found.paths.values():
        np.testing.assert_array_equal(
            read_state(path, "a state")["value"], np.full(300, found.record["value"])
        )
    return found.record["value"]


def moments(folder, snapshots, number, monkeypatch):
    """Saves `number` over what is in `folder`; copies the folder at every moment of it.

    A moment is before and after each file operation, and in the middle of each writing.
    """

    def copy():
        place = snapshots / str(len(list(snapshots.iterdir())))
        shutil.copytree(folder, place)
        return place

    def watched(function):
        def call(*arguments, **rest):
            copy()
            result = function(*arguments, **rest)
            copy()
            return result

        return call

    def written_by_halves(state, path):
        saved(state, path)
        half = copy() / os.path.basename(path)
        half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])

    saved = paddle.save
    snapshots.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(paddle, "save", written_by_halves)
        patch.setattr(files.os, "replace", watched(os.replace))
        patch.setattr(files.os, "fsync", watched(os.fsync))
        save(folder, number)
    copy()
    return sorted(snapshots.iterdir(), key=lambda path: int(path.name))


def test_at_every_moment_the_old_set_is_there_or_the_new_one_also_after_an_earlier_kill(
    tmp_path, monkeypatch
):
    folder = tmp_path / "output"
    folder.mkdir()
    save(folder, 1)
    seen = []
    for first in moments(folder, tmp_path / "first", 2, monkeypatch):
        seen.append(load(first))
        again = tmp_path / "again"
        found = [load(second) for second in moments(first, again, 3, monkeypatch)]
        assert found == sorted(found) and set(found) == {seen[-1], 3}
        assert sorted(p.name for p in first.iterdir()) == [f"last_8{e}" for e in sorted(ALL)]
        shutil.rmtree(again)
    assert len(seen) > 20 and seen == sorted(seen) and set(seen) == {1, 2}


ALL = (*ENDINGS, ".pdstates")


def test_a_first_save_that_was_killed_leaves_no_set(tmp_path, monkeypatch):
    folder = tmp_path / "output"
    folder.mkdir()
    for moment in moments(folder, tmp_path / "moments", 1, monkeypatch):
        found = find_set(moment / "last_8", ENDINGS, ".pdstates", "a state")
        assert found.record is None or load(moment) == 1
    assert load(folder) == 1


def test_files_of_two_saves_are_told(tmp_path):
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        save(tmp_path / str(number), number)
    for ending in ENDINGS:
        mixed = tmp_path / f"mixed{ending}"
        shutil.copytree(tmp_path / "1", mixed)
        shutil.copy(tmp_path / f"2/last_8{ending}", mixed)
        with pytest.raises(UserError, match=rf"last_8\{ending}: damaged, or not of the same save"):
            load(mixed)


@pytest.mark.parametrize("hashes", [5, [], {".pdparams": 7}])
def test_a_record_with_hashes_that_are_none_is_told(tmp_path, hashes):
    save(tmp_path, 1)
    paddle.save({"files": hashes}, str(tmp_path / "last_8.pdstates"))
    with pytest.raises(UserError, match=r"last_8\.(pdstates|pdparams): "):
        load(tmp_path)


def test_a_damaged_waiting_record_does_not_hide_the_set_before_it(tmp_path):
    save(tmp_path, 1)
    (tmp_path / ".last_8.next.pdstates").write_bytes(b"half")
    assert load(tmp_path) == 1
    save(tmp_path, 2)
    assert load(tmp_path) == 2
    assert len(list(tmp_path.iterdir())) == 3


def test_a_full_disk_leaves_the_set_as_it_was(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def full(state, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(paddle, "save", full)
    with pytest.raises(UserError, match="No space left on device"):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert load(tmp_path) == 1
    assert len(list(tmp_path.iterdir())) == 3
