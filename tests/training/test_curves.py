"""Curves of a training: for TensorBoard and VisualDL, and as a figure."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import epochs_of, log_of
from PIL import Image
from small_training import train_small

from utils.metrics.plots import draw_training, read_epochs
from utils.system.errors import UserError

BLUE, ORANGE, GREY = (0, 114, 178), (213, 94, 0), (191, 191, 191)
PACKAGES = {"tensorboard": ("tensorboardX", "SummaryWriter"), "visualdl": ("visualdl", "LogWriter")}


@pytest.fixture(params=PACKAGES)
def written(request, monkeypatch):
    """The kind, and what stand-ins for its package's writers are given: one list a writer."""
    package, name = PACKAGES[request.param]
    writers = []

    def writer(folder, purge_step=None):
        writers.append([folder, purge_step])
        return SimpleNamespace(add_scalar=lambda *point: writers[-1].append(point), flush=int)

    monkeypatch.setitem(sys.modules, package, SimpleNamespace(**{name: writer}))
    return request.param, writers


def points_of(output):
    """What a training's curves should hold, by its metrics file."""
    keys = ("loss", "lr", "scale", "map", "pictures_per_second")
    return [(k, row[k], row["epoch"]) for row in epochs_of(output) for k in keys if k in row]


def test_an_epoch_s_numbers_are_written_and_a_resumed_training_goes_on(
    small_data, tmp_path, written
):
    kind, writers = written
    curves = ["--curves", kind, "--eval-first"]
    assert train_small(small_data, tmp_path, *curves, epochs=2) == 0
    assert writers[0][2:] == points_of(tmp_path)
    assert {point[2] for point in writers[0][2:]} == {0, 1, 2}
    resume = ["--resume", tmp_path / "last_8", "--curves", kind]
    assert train_small(small_data, tmp_path, *resume, epochs=4) == 0
    assert writers[1][2:] == points_of(tmp_path), "those of before, and the new ones"
    assert train_small(small_data, tmp_path, "--curves", kind, epochs=1) == 0
    assert [point[2] for point in writers[2][2:]] == [1] * 5, "another training: none of before"
    purged = 0 if kind == "tensorboard" else None
    assert all(each[:2] == [str(tmp_path / "train/curves_8"), purged] for each in writers)


@pytest.mark.parametrize("kind", PACKAGES)
def test_the_packages_themselves_take_what_they_are_given(small_data, tmp_path, kind):
    pytest.importorskip(PACKAGES[kind][0])
    assert train_small(small_data, tmp_path, "--curves", kind, epochs=1) == 0
    assert [path.stat().st_size > 0 for path in (tmp_path / "train/curves_8").iterdir()] == [True]


@pytest.mark.parametrize("kind", PACKAGES)
def test_a_missing_package_is_one_line_before_anything_is_trained(
    small_data, tmp_path, kind, monkeypatch
):
    package = PACKAGES[kind][0]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"--curves {kind} needs {package}: pip install"):
        train_small(small_data, tmp_path, "--curves", kind)
    assert "train_set" not in log_of(tmp_path)


def write_lines(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def line(epoch, loss=1.0, **more):
    return {"epoch": epoch, "loss": loss, **more}


@pytest.mark.parametrize(
    ("lines", "first"),
    [
        ([line(1), line(2)], 0),
        ([line(1), line(2), line(1)], 2),  # a second training
        ([line(1), line(1)], 1),
        ([line(3), {"epoch": 0, "map": 0.5}, line(1)], 1),
        ([{"epoch": 0, "map": 0.5}, line(1)], 0),  # with --eval-first
        ([], 0),
    ],
)
def test_the_newest_training_s_lines_are_read(tmp_path, lines, first):
    path = write_lines(tmp_path / "metrics_8.jsonl", *lines)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"epoch": 9')  # a program was killed here
    assert read_epochs(path) == lines[first:]


@pytest.mark.parametrize("text", ["x", "[1]", '{"loss": 1}', '{"epoch": 1, "loss": "1"}'])
def test_what_is_no_training_s_metrics_is_told(tmp_path, text):
    (tmp_path / "metrics_8.jsonl").write_text(text + "\n")
    with pytest.raises(UserError, match=r"metrics_8\.jsonl: not a training's metrics"):
        read_epochs(tmp_path / "metrics_8.jsonl")


def test_runs_and_published_figures_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    run = [line(epoch, 1 / epoch, map=epoch / 10) for epoch in range(1, 6)]
    published = [{**row, "published_loss": 2.0, "published_map": None} for row in run]
    colours = []
    for runs in ({"a": run}, {"a": run, "b": [line(1)]}, {"a": published, "b": published}):
        draw_training(runs, tmp_path / "training.png", "runs")
        with Image.open(tmp_path / "training.png") as figure:
            pixels = np.asarray(figure.convert("RGB")).reshape(-1, 3)
        counts = [int((pixels == colour).all(axis=1).sum()) for colour in (BLUE, ORANGE, GREY)]
        colours.append([count > 50 for count in counts])
    assert colours == [[True, False, False], [True, True, False], [True, True, True]]


def test_a_training_ends_with_its_figure_or_a_line(small_data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert train_small(small_data, tmp_path, epochs=1) == 0
    assert "No figure: the figure needs matplotlib: pip install matplotlib" in log_of(tmp_path)
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    assert train_small(small_data, tmp_path, epochs=1) == 0
    assert f"Figure: {tmp_path}/train/training_8.png\n" in log_of(tmp_path)
    assert (tmp_path / "train/training_8.png").is_file()
