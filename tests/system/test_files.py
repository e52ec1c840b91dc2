"""Files are written whole or not at all; state files are read strictly."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import numpy as np
import paddle
import pytest

from utils.system.errors import EXIT_USER_ERROR, UserError, run_command
from utils.system.files import replacing, sha256_of_file
from utils.system.state_files import assign_strictly, read_state, with_ending, write_state


def test_a_file_is_replaced_in_one_step_and_folders_are_made(tmp_path):
    path = tmp_path / "deep/er/notes.txt"
    for text in ("old", "new"):
        with replacing(path) as temporary:
            temporary.write_text(text)
            assert temporary != path and temporary.suffix == ".txt"
            assert temporary.parent == path.parent
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["notes.txt"]


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, interruption):
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with pytest.raises(interruption), replacing(path) as temporary:
        temporary.write_text("ne")
        raise interruption
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["notes.txt"]


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("old")
    expected = pytest.raises(UserError, match=r"notes\.txt: cannot be written: No space left")
    with expected, replacing(path) as temporary:
        temporary.write_text("ne")
        raise OSError(28, "No space left on device")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["notes.txt"]


def test_a_file_in_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "output").write_text("a file")
    path = tmp_path / "output/notes.txt"
    with pytest.raises(UserError, match="cannot be written"), replacing(path) as temporary:
        temporary.write_text("new")


def test_the_digest_is_sha256_of_the_bytes(tmp_path):
    path = tmp_path / "blob"
    path.write_bytes(bytes(range(256)) * 5000)
    assert sha256_of_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(UserError, match="none: cannot be read"):
        sha256_of_file(tmp_path / "none")


def test_a_command_s_mistake_is_one_line_on_stderr_and_status_2(capsys):
    def mistaken():
        raise UserError("a.txt, line 3: no path")

    assert run_command(mistaken) == EXIT_USER_ERROR == 2
    assert capsys.readouterr() == ("", "error: a.txt, line 3: no path\n")
    assert run_command(lambda: None) == 0 and run_command(lambda: 3) == 3


def test_an_error_of_the_program_itself_keeps_its_traceback():
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
    assert capsys.readouterr().err == "stopped; what was saved before is whole\n"
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_ignored_ctrl_c_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run_command(lambda: os.kill(os.getpid(), signal.SIGINT)) == 0
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("prefix", ["output/weights_64", Path("output/weights_64.pdparams")])
def test_a_prefix_works_with_and_without_its_ending(prefix):
    assert with_ending(prefix, ".pdparams") == Path("output/weights_64.pdparams")


def test_a_prefix_with_a_dot_keeps_it():
    assert with_ending("runs/v1.2", ".pdparams") == Path("runs/v1.2.pdparams")


def test_a_state_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "state.pdstates"
    write_state(path, {"bank": {"codes": paddle.ones([2, 3])}, "epoch": 4, "name": "é"})
    found = read_state(path, "a state")
    assert (found["epoch"], found["name"]) == (4, "é")
    assert isinstance(found["bank"]["codes"], np.ndarray)
    np.testing.assert_array_equal(found["bank"]["codes"], np.ones((2, 3)))
    assert os.listdir(tmp_path) == ["state.pdstates"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_state_whose_writing_breaks_off_leaves_the_old_one(tmp_path, monkeypatch, error):
    path = tmp_path / "state.pdparams"
    write_state(path, {"epoch": 1})

    def break_off(state, name):
        Path(name).write_bytes(b"half of a sta")
        raise error

    monkeypatch.setattr(paddle, "save", break_off)
    expected = UserError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write_state(path, {"epoch": 2})
    assert read_state(path, "a state") == {"epoch": 1}
    assert os.listdir(tmp_path) == ["state.pdparams"]


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x04K\x01.", b"\x80\x04\x95"])
def test_a_file_that_is_no_state_is_told_in_one_line(tmp_path, content):
    path = tmp_path / "bad.pdparams"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.pdparams: .*trained weights") as error:
        read_state(path, "trained weights")
    assert "\n" not in str(error.value)


def test_a_missing_state_is_told(tmp_path):
    with pytest.raises(UserError, match=r"none\.pdopt: missing; expected a file of weights"):
        read_state(tmp_path / "none.pdopt", "weights")


def test_only_the_whole_state_of_a_layer_is_assigned():
    layer = paddle.nn.Linear(2, 3)
    weight, bias = np.full((2, 3), 2.0), np.full(3, 4.0)
    for state, message in (
        ({"weight": weight}, "missing: bias"),
        ({"weight": weight, "bias": bias, "scale": bias}, "unknown: scale"),
        ({"weight": weight.T, "bias": bias}, r"weight is \[3, 2\], the network's is \[2, 3\]"),
        ({"weight": weight, "bias": 4.0}, r"bias is \[\], the network's is \[3\]"),
    ):
        with pytest.raises(UserError, match=f"here: .*{message}"):
            assign_strictly(layer, state, "here")
        assert not (layer.weight.numpy() == 2).any() and not layer.bias.numpy().any()
    assign_strictly(layer, {"weight": weight, "bias": bias}, "here")
    assert (layer.weight.numpy() == 2).all() and (layer.bias.numpy() == 4).all()
    assign_strictly(layer, {"bias": bias + 1}, "here", partial=("weight",))
    assert (layer.weight.numpy() == 2).all() and (layer.bias.numpy() == 5).all()


def test_half_precision_is_widened():
    layer = paddle.nn.Linear(2, 3)
    state = {"weight": np.ones((2, 3), np.float16), "bias": np.ones(3, np.float16)}
    assign_strictly(layer, state, "here")
    assert layer.weight.dtype == paddle.float32 and (layer.weight.numpy() == 1).all()


@pytest.mark.parametrize("odd", ["text", None])
def test_an_entry_that_is_no_array_is_told(odd):
    layer = paddle.nn.Linear(2, 3)
    with pytest.raises(UserError, match=r"here: .*bias"):
        assign_strictly(layer, {"weight": np.ones((2, 3)), "bias": odd}, "here")
