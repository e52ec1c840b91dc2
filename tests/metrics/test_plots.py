"""The figure over the bit counts found in a folder."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image

from utils.codes import pack_codes
from utils.metrics import evaluate_retrieval
from utils.metrics.plots import draw_curves, draw_training, line_style, read_runs, write_metrics
from utils.system.errors import UserError


def write_run(folder, bit, dataset="drawn"):
    """An evaluation's metrics file, of random codes."""
    rng = np.random.default_rng(bit)
    labels = rng.integers(0, 2, (30, 4))
    codes = pack_codes(rng.normal(size=(30, bit)))
    metrics = evaluate_retrieval(codes[:5], labels[:5], codes, labels).as_dict()
    text = json.dumps({"dataset": dataset, **metrics})
    (folder / f"metrics_{bit}.json").write_text(text, encoding="utf-8")


def test_runs_of_one_data_set_are_found_in_order_of_bits(tmp_path):
    for bit in (64, 16, 8):
        write_run(tmp_path, bit)
    write_run(tmp_path, 32, dataset="another")
    assert [run["bit"] for run in read_runs(tmp_path, "drawn")] == [8, 16, 64]


def test_the_figure_is_of_the_files_that_differ_in_the_number_at_their_ends(tmp_path, monkeypatch):
    for bit in (8, 16, 32):
        write_run(tmp_path, bit)
    (tmp_path / "metrics_32.json").rename(tmp_path / "mine[32].json")
    drawn = []
    monkeypatch.setattr("utils.metrics.plots.draw_curves", lambda runs, _: drawn.append(runs))
    for name in ("metrics_16.json", "mine[32].json"):
        record = json.loads((tmp_path / name).read_text(encoding="utf-8"))
        write_metrics(tmp_path / name, tmp_path / "curves.png", record)
    assert [[run["bit"] for run in runs] for runs in drawn] == [[8, 16], [32]]


RUN = """{"dataset": "drawn", "bit": %s, "topk": 1, "map": 0.5, "precision_within_radius_2": 0,
"by_rank": {"recall": [1], "precision": [1]}, "at_n": {"n": [1], "precision": [%s]}}"""
ODD_CHANCE = RUN.replace("{", '{"chance": "high", ', 1) % (8, 1)
ODD = ["Infinity", "null", '"8"', "[1]", "1" + "0" * 300]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "\0",
        ODD_CHANCE,
        RUN % (8, "1, 2"),
        RUN % (8, "null"),
        *(RUN % (odd, 1) for odd in ODD),
    ],
)
def test_a_file_that_is_no_evaluation_is_told(tmp_path, content):
    (tmp_path / "metrics_8.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"metrics_8\.json: not an evaluation's metrics"):
        read_runs(tmp_path, "drawn")


def test_the_figure_is_drawn_with_a_line_for_each_bit_count(tmp_path):
    pytest.importorskip("matplotlib")
    sizes = []
    for bit in (16, 32):
        write_run(tmp_path, bit)
        draw_curves(read_runs(tmp_path, "drawn"), tmp_path / "curves.png")
        with Image.open(tmp_path / "curves.png") as figure:
            colours = np.unique(np.asarray(figure.convert("RGB")).reshape(-1, 3), axis=0)
        sizes.append(len(colours))
    assert sizes[1] > sizes[0], "the second run added no line of another colour"


def test_without_matplotlib_one_line_says_what_to_install(tmp_path, monkeypatch):
    write_run(tmp_path, 16)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match="pip install matplotlib"):
        draw_curves(read_runs(tmp_path, "drawn"), tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


@pytest.fixture()
def figures(monkeypatch):
    """The figures that are saved, as matplotlib knows them."""
    matplotlib = pytest.importorskip("matplotlib.figure")
    saved, save = [], matplotlib.Figure.savefig

    def keep(figure, *arguments, **style):
        saved.append(figure)
        save(figure, *arguments, **style)

    monkeypatch.setattr(matplotlib.Figure, "savefig", keep)
    return saved


def legend_of(figure):
    """What stands in the figure's one legend."""
    assert all(axes.get_legend() is None for axes in figure.axes)
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def chance_in(axes):
    return [line.get_ydata() for line in axes.lines if line.get_label() == "chance"]


def test_the_figure_has_a_title_one_legend_and_chance_at_its_height(tmp_path, figures):
    for bit in (16, 32):
        write_run(tmp_path, bit)
    runs = [{**run, "chance": 0.25, "topk": 9, "map": 0.5} for run in read_runs(tmp_path, "drawn")]
    draw_curves(runs, tmp_path / "curves.png")
    assert figures[0].get_suptitle() == "drawn: HashNet, 16, 32 bits"
    names = [f"HashNet, {bit} bits, MAP@9 0.500" for bit in (16, 32)]
    assert legend_of(figures[0]) == [*names, "chance"]
    assert [chance_in(axes) for axes in figures[0].axes] == [[[0.25, 0.25]]] * 3
    rows = [{"epoch": 1, "loss": 1.5, "map": 0.5}]
    draw_training({"a": rows}, tmp_path / "training.png", "drawn: a", [None, 0.25])
    draw_training({"\udcff": rows}, tmp_path / "odd.png", "\udcff\n")  # folders' names may be so
    assert figures[2].get_suptitle() == r"\udcff\n" and legend_of(figures[2]) == [r"\udcff"]
    assert figures[1].get_suptitle() == "drawn: a" and legend_of(figures[1]) == ["a", "chance"]
    assert [chance_in(axes) for axes in figures[1].axes] == [[], [[0.25, 0.25]]]


def test_an_older_file_s_single_points_are_marked_and_its_name_is_no_formula(tmp_path, figures):
    text = (RUN % (8, 1)).replace("drawn", r"$\\x_2$\udce9")
    (tmp_path / "metrics_8.json").write_text(text, encoding="utf-8")
    draw_curves(read_runs(tmp_path, "$\\x_2$\udce9"), tmp_path / "curves.png")
    assert figures[0].get_suptitle() == r"$\x_2$\udce9: HashNet, 8 bits", "not what no font has"
    assert legend_of(figures[0]) == ["HashNet, 8 bits, MAP@1 0.500"], "it does not know of chance"
    for axes in figures[0].axes:
        line = axes.lines[-1]
        assert (list(line.get_xdata()), line.get_marker()) in [([1], "o"), ([8], "o")]
        low, high = axes.get_ylim()
        assert low < line.get_ydata()[0] < high, "half of the mark is cut off"


def test_lines_differ_in_more_than_their_colours():
    for part in ("color", "marker"):
        assert len({line_style(number)[part] for number in range(7)}) == 7
    assert line_style(0, dash=1)["linestyle"] != line_style(0)["linestyle"]
