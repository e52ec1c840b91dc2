"""Files: ours whole or not at all, strangers' through one door; how commands end."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from helpers import run_script

from utils.codes.storage import load_codes, save_codes
from utils.system import INTERRUPTED, files
from utils.system.errors import UserError, run_command
from utils.system.files import (
    atomic_write,
    check_space,
    check_writable,
    leaves_folder,
    open_untrusted,
)
from utils.system.logger import append_metrics, log_to_files
from utils.system.state_files import read_training_state, write_training_state


@pytest.mark.parametrize("alone", [False, True])
def test_a_file_is_replaced_in_one_step_and_folders_are_made(tmp_path, alone):
    path, seen = tmp_path / "deep/er/notes.txt", set()
    for text in ("old", "new"):
        with atomic_write(path, durable=text == "new", alone=alone) as temporary:
            temporary.write_text(text)
            assert temporary.parent == path.parent and temporary.suffix == ".txt"
            assert not path.exists() or path.read_text() == "old"
            seen.add(temporary.name)
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["notes.txt"]
    assert (seen == {".notes.tmp.txt"}) == alone, "what a killed one leaves is written over"


FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize("error", [RuntimeError(), KeyboardInterrupt(), SystemExit(), FULL])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "notes.txt"
    path.write_text("old")
    expected = UserError if error is FULL else type(error)
    with pytest.raises(expected) as raised, atomic_write(path) as temporary:
        temporary.write_text("ne")
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["notes.txt"]
    if error is FULL:
        assert str(raised.value) == f"{path}: cannot be written: No space left on device"


def opened(path, largest=11, error=None):
    """The content of a stranger's file, unless parsing it raises an error."""
    with open_untrusted(path, "a list", largest, "--flag names it") as file:
        if error:
            raise error
        return file.read()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "missing; --flag names it"),
        (os.mkfifo, "not a regular file; expected a list"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file; expected a list"),
        (os.mkdir, "cannot be read: Is a directory"),
        (lambda path: path.write_bytes(bytes(12)), "12 bytes; a list has at most 11"),
    ],
    ids=["missing", "pipe", "device", "folder", "too large"],
)
def test_what_a_stranger_s_file_must_not_be_is_one_line_and_leaves_nothing_open(
    tmp_path, make, message
):
    path, unused = tmp_path / "a.txt", os.dup(0)
    make(path)
    os.close(unused)
    with pytest.raises(UserError) as error:
        opened(path)
    assert str(error.value) == f"{path}: {message}"
    assert os.dup(0) == unused
    os.close(unused)


def test_whatever_parsing_a_stranger_s_file_raises_is_one_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"hello world")
    assert opened(path) == b"hello world"
    for error, message in (
        (ValueError("line one\nline two"), f"{path}: not a list: line one; --flag names it"),
        (RecursionError(), f"{path}: not a list: RecursionError; --flag names it"),
        (MemoryError(), f"{path}: not a list: MemoryError; --flag names it"),
        (OSError(5, "Input/output error"), f"{path}: cannot be read: Input/output error"),
        (UserError("said already"), "said already"),
    ):
        with pytest.raises(UserError) as raised:
            opened(path, error=error)
        assert str(raised.value) == message
    with pytest.raises(KeyboardInterrupt):
        opened(path, error=KeyboardInterrupt())


def test_paths_that_leave_their_folder():
    for path in ("../a", "..", "/etc/a", "b/../../a", "b/./../../c/a"):
        assert leaves_folder(path), path
    for path in ("a", "b/../a", "./a", "..a/b", "b/..a", "b/a..", "b/.."):
        assert not leaves_folder(path), path


def test_a_folder_is_made_writable_or_told(tmp_path):
    check_writable(tmp_path / "new/folder", [tmp_path / "new/folder/a.txt"])
    assert list((tmp_path / "new/folder").iterdir()) == []
    (tmp_path / "file").write_text("here")
    with pytest.raises(UserError, match=r"file: cannot be written: File exists; --x names another"):
        check_writable(tmp_path / "file", flag="--x")
    (tmp_path / "last_8.npz").mkdir()
    with pytest.raises(UserError, match=r"last_8\.npz: .* a folder has the file's name"):
        check_writable(tmp_path, [tmp_path / "last_8.npz"])
    if Path("/proc/self").is_dir():
        with pytest.raises(UserError, match=r"/proc/self: cannot be written"):
            check_writable("/proc/self")


def test_space_is_needed_for_all_files_and_the_largest_beside_its_old_one(tmp_path, monkeypatch):
    sizes = {tmp_path / "weights": 100, tmp_path / "optimizer": 50, tmp_path / "last": 180}
    (tmp_path / "last").write_bytes(bytes(100))  # is there already
    free = 330 + 180 - 100
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage(free))
    check_space(sizes, aside=())
    for less, aside in ((0, [tmp_path / "last"]), (1, ())):
        free -= less
        with pytest.raises(UserError, match="weights, optimizer, last: make room, or name a fold"):
            check_space(sizes, aside)


@pytest.fixture()
def full_disk(tmp_path):
    """A file system of 64 KiB, and a function that leaves no room in it."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if sys.platform != "linux" or not shutil.which("mount") or subprocess.call(mount):
        pytest.skip("a small file system cannot be mounted here")

    def fill():
        with (folder / "filling").open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass

    yield folder, fill
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_costs_codes_states_metrics_and_logs_what_is_new_alone(full_disk):
    folder, fill = full_disk
    codes, state, metrics = (folder / name for name in ("codes.npy", "last_8.npz", "m.jsonl"))
    old = np.arange(10, dtype=np.uint8).reshape(-1, 1)
    save_codes(codes, old, {"list": "a"}, 8 * old.shape[1])
    write_training_state(state, {"bank": {"codes": old}}, {"epoch": 1})
    append_metrics(metrics, {"epoch": 1})
    with metrics.open("a") as file:
        file.write('{"half a li')
    append_metrics(metrics, {"epoch": 2})
    log_to_files(folder / "log.txt")
    fill()
    many = np.zeros((50_000, 1), np.uint8)
    for path, write in (
        (codes, lambda: save_codes(codes, many, {"list": "b"}, 8 * many.shape[1])),
        (state, lambda: write_training_state(state, {"bank": {"codes": many}}, {"epoch": 2})),
        (metrics, lambda: append_metrics(metrics, {"epoch": 3, "long": "x" * 9000})),
        (folder / "log.txt", lambda: [logging.getLogger("utils").info("x" * 4096)] * 99),
    ):
        with pytest.raises(UserError, match=f"{path.name}: cannot be written: No space left"):
            write()
    for package in ("utils", "models"):
        logging.getLogger(package).handlers.clear()
    np.testing.assert_array_equal(load_codes(codes, 8)[0], old)
    assert read_training_state(state)[1] == {"epoch": 1}
    assert [json.loads(line)["epoch"] for line in metrics.read_text().splitlines()] == [1, 2]
    assert not list(folder.glob(".*"))


def test_a_command_s_mistake_is_one_line_and_status_2_and_a_fault_keeps_its_traceback(capsys):
    def mistaken():
        raise UserError("a.txt,\nline 3: no\x1b path")

    assert run_command(mistaken) == 2
    assert capsys.readouterr() == ("", "error: a.txt,\\nline 3: no\\x1b path\n")

    def on_a_full_disk():
        raise FULL

    assert run_command(on_a_full_disk) == 2
    assert capsys.readouterr() == ("", "error: No space left on device\n")
    assert run_command(lambda: None) == 0 and run_command(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 // 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("library", [lambda e: e, lambda e: RuntimeError(), lambda e: UserError()])
def test_a_signal_is_one_line_and_its_status_whatever_a_library_makes_of_it(
    capsys, number, library
):
    def interrupted():
        try:
            os.kill(os.getpid(), number)
        except BaseException as error:
            raise library(error) from None

    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    assert run_command(interrupted) == 128 + number
    assert capsys.readouterr().err == f"{INTERRUPTED}\n"
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_import_that_takes_ctrl_c_for_a_failure_does_not_go_on(tmp_path):
    lines = ["import os, signal", "try: os.kill(os.getpid(), signal.SIGINT)", "except: pass"]
    (tmp_path / "swallows.py").write_text("\n".join(lines))
    program = (
        "from utils.system.errors import run_command; run_command(lambda: __import__('swallows'))"
    )
    done = run_script("-c", program, environment={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (130, f"{INTERRUPTED}\n")


def test_an_ignored_ctrl_c_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run_command(lambda: os.kill(os.getpid(), signal.SIGINT)) == 0
    finally:
        signal.signal(signal.SIGINT, before)
