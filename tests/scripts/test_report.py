"""The report: means by hand, what may stand in one table, and the published runs beside ours."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
from helpers import REPOSITORY, fail, succeed

from scripts.report import MODEL, find_runs, make_report
from utils.config import Config
from utils.system.errors import UserError

CURVE = {"n": [1, 2], "precision": [1, 0.5], "recall": [0.5, 0.5]}
DATA = {"train list": "t" * 64, "test list": "q" * 64, "database list": "d" * 64}


def write(path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def add_run(folder, score, bit=16, seed=0, evaluated=True, protocol=(), settings=()):
    """A run's files: MAP `score` in training, and in its evaluation a tenth more."""
    settings = {**Config().settings(), "seed": seed, "bit": bit, "epoch": 2, **dict(settings)}
    settings["data"] = {**DATA, "resize of the data set": "short_side", "data set": "coco_lite"}
    settings["dataset"] = settings["data"]["data set"] = dict(protocol).get("dataset", "coco_lite")
    record = {"settings": settings, "weights_sha256": f"of {folder}", "epoch": 2, "map": score}
    write(folder / f"weights_{bit}.json", record)
    rows = [{"epoch": 1, "loss": 1.5}, {"epoch": 2, "loss": 1.25, "map": score}]
    rows += [{"epoch": settings["epoch"]}] if settings["epoch"] > 2 else []
    write(folder / f"train/metrics_{bit}.jsonl", "\n".join(map(json.dumps, rows)) + "\n")
    if evaluated:
        made = {"queries": {"list_sha256": "q" * 64}, "database": {"list_sha256": "d" * 64}}
        made.update(weights_sha256=f"of {folder}", topK=5000, exclude_self=False, precision="fp32")
        made["transform"] = "short side 256 bilinear, centre crop 224"
        metrics = {"dataset": settings["dataset"], "bit": bit, "map": score + 0.1, "chance": 0.2}
        metrics.update(precision_within_radius_2=score / 2, by_rank=CURVE, at_n=CURVE)
        metrics.update(protocol={**made, **dict(protocol)}, left_out={})
        write(folder / f"test/metrics_{bit}.json", metrics)


def report_of(folder, *more, figures=False):
    with pytest.MonkeyPatch.context() as patch:
        if not figures:  # drawing takes its time
            patch.setitem(sys.modules, "matplotlib.figure", None)
        shown = make_report(find_runs([folder]), folder / "out", more)
    text = (folder / "out/report.md").read_text(encoding="utf-8")
    assert [line for line in shown.splitlines() if line not in text.splitlines()] == []
    assert "The models:" in text and "The models:" not in shown and "![](" not in shown
    return text, json.loads((folder / "out/report.json").read_text())


def cells_of(text, line):
    """The cells of the table's line of that name."""
    (found,) = [row for row in text.splitlines() if row.startswith(f"| {line} ")]
    return [cell.strip() for cell in found.strip("|").split("|")[1:]]


def test_means_and_sample_deviations_over_seeds_by_hand(tmp_path):
    for seed, score in enumerate((0.3, 0.4, 0.8)):
        add_run(tmp_path / f"a{seed}", score, seed=seed)
    add_run(tmp_path / "b", 0.5, bit=32)
    add_run(tmp_path / "w", 0.6, bit=32, settings={"no_weighting": True})
    text, record = report_of(tmp_path, "p_h2")
    # (.4 + .5 + .9) / 3 = .6; deviations -.2, -.1, .3: sqrt((.04 + .01 + .09) / 2) = sqrt(.07).
    assert "| HashNet   | 0.600 ± 0.265 (n=3) | 0.600 (n=1) |" in text
    assert "| HashNet-W |                     | 0.700 (n=1) |" in text
    assert cells_of(text, "chance") == ["0.200", "0.200"]
    assert "| HashNet   | 0.250 ± 0.132 (n=3) | 0.250 (n=1) |" in text
    assert "coco_lite, MAP@5000" in text and "Not to be compared" not in text
    (table,) = record["tables"]
    first = table["cells"][0]
    assert first["map"]["sd"] == pytest.approx(0.07**0.5) and first["map"]["n"] == 3
    assert [run["seed"] for run in first["runs"]] == [0, 1, 2]


@pytest.mark.parametrize(
    ("protocol", "differs"),
    [
        ({"topK": 100}, "topK"),
        ({"database": {"list_sha256": "e" * 64}}, "database"),
        ({"transform": "short side 256 bilinear, centre crop 127"}, "transform"),
        ({"exclude_self": True}, "exclude_self"),
        ({"dataset": "coco"}, "data set"),
    ],
)
def test_another_protocol_has_a_table_of_its_own_and_a_line_says_what_differs(
    tmp_path, protocol, differs
):
    add_run(tmp_path / "a", 0.5)
    add_run(tmp_path / "b", 0.7, seed=1, protocol=protocol)
    text, record = report_of(tmp_path)
    assert len(record["tables"]) == 2 and text.count("(n=1)") == 2
    assert text.count(f"Not to be compared with the other tables: {differs} differ") == 2


def test_another_recipe_has_a_line_of_its_own_copies_do_not_count_and_marks(tmp_path):
    add_run(tmp_path / "a", 0.5)
    add_run(tmp_path / "b", 0.7, seed=1, evaluated=False)
    add_run(tmp_path / "longer", 0.8, settings={"epoch": 9, "alpha": 0.2})
    shutil.copytree(tmp_path / "a", tmp_path / "a copy")
    add_run(tmp_path / "same", 0.5)
    text, _ = report_of(tmp_path)
    # By hand: 0.6 of a, 0.7 of b in training, 0.6 of the other run with a's seed.
    assert cells_of(text, "HashNet (alpha 0.1, epoch 2)") == ["0.633 ± 0.058 (n=3) \\*"]
    assert cells_of(text, "HashNet (alpha 0.2, epoch 9)") == ["0.900 (n=1)"]
    assert f"\\* {tmp_path}/b: as in training, after 2 epochs" in text
    assert f"{tmp_path}/a copy is a copy of another run, and does not count" in text
    assert f"{tmp_path}/same has the seed of another run; both count" in text
    for name in ("weights_16.json", "train/metrics_16.jsonl"):
        (tmp_path / "longer" / name).unlink()
    assert cells_of(report_of(tmp_path)[0], "unknown (settings unknown)") == ["0.900 (n=1)"]


def test_a_run_of_a_version_without_backbones_has_the_recipe_of_one_with_alexnet(tmp_path):
    add_run(tmp_path / "now", 0.5, settings={"backbone": "alexnet"})
    add_run(tmp_path / "before", 0.5, seed=1)
    path = tmp_path / "before/weights_16.json"
    record = json.loads(path.read_text())
    del record["settings"]["backbone"]
    write(path, record)
    assert cells_of(report_of(tmp_path)[0], "HashNet") == ["0.600 ± 0.000 (n=2)"]


def test_an_unfinished_run_is_marked_though_it_is_evaluated(tmp_path):
    for seed, epochs in enumerate((2, 2, 60)):
        add_run(tmp_path / f"a{seed}", 0.5, seed=seed, settings={"epoch": 60})
        rows = [{"epoch": epoch, "loss": 1.0} for epoch in range(1, epochs + 1)]
        write(tmp_path / f"a{seed}/train/metrics_16.jsonl", "\n".join(map(json.dumps, rows)) + "\n")
    text, _ = report_of(tmp_path)
    assert cells_of(text, "HashNet") == ["0.600 ± 0.000 (n=3) \\*"]
    assert [line for line in text.splitlines() if line.startswith("\\*")] == [
        f"\\* {tmp_path}/a{seed}: after 2 of 60 epochs" for seed in (0, 1)
    ]


def test_an_evaluation_of_other_weights_is_not_this_run_s(tmp_path):
    add_run(tmp_path / "a", 0.5, protocol={"weights_sha256": "of earlier ones"})
    assert cells_of(report_of(tmp_path)[0], "HashNet") == ["0.500 (n=1) \\*"]


def test_splits_that_the_seed_draws_are_of_one_protocol(tmp_path):
    for seed in (0, 1):
        lists = {"database": {"list_sha256": str(seed) * 64}, "dataset": "cifar10"}
        add_run(tmp_path / f"a{seed}", 0.5, seed=seed, protocol=lists)
    text, _ = report_of(tmp_path)
    assert "database: drawn by the seed" in text and "(n=2)" in text


def test_the_published_figures_stand_beside_those_of_the_full_method(tmp_path):
    add_run(tmp_path / "a", 0.5, bit=64, protocol={"dataset": "coco"})
    add_run(tmp_path / "w", 0.5, 64, protocol={"dataset": "coco"}, settings={"no_weighting": True})
    text, record = report_of(tmp_path)
    assert text.count("beside the published run") == 1
    # The published losses are 1.151 and 1.083 (data/coco/published_runs.csv), ours 1.5 and 1.25.
    assert cells_of(text, "1    ") == ["1.500", "1.151", "+0.349", "", "", ""]
    beside = record["tables"][0]["cells"][0]["published"]
    assert [row["epoch"] for row in beside] == [1, 2] and beside[0]["map"] is None


def models_of(text):
    """The lines of the table of models, as lists of cells."""
    lines = text[text.index("The models:") :].splitlines()[2:]
    end = next(number for number, line in enumerate(lines) if not line.startswith("|"))
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:end]]
    assert table[0] == list(MODEL)
    return table[2:]


def test_the_models_have_recipe_weights_and_log(tmp_path):
    add_run(tmp_path / "b", 0.7, bit=64, evaluated=False, settings={"batch_size": 128})
    published = {"epoch": 150, "ranks": 2, "resume": "output/last_16"}
    of_coco = {"dataset": "coco"}
    add_run(tmp_path / "a", 0.5, protocol=of_coco, settings=published)
    write(tmp_path / "a/test/log_16.txt", "of the evaluation")
    _, record = report_of(tmp_path)
    runs = [run for table in record["tables"] for cell in table["cells"] for run in cell["runs"]]
    text, _ = report_of(tmp_path / "a")
    log, weights = f"`{tmp_path}/a/test/log_16.txt`", f"`{f'of {tmp_path}/a'[:16]}`"
    recipe = "as published; resumed, so --pretrained is not known"
    assert models_of(text) == [["16", "0.600", recipe, weights, log]]
    write(tmp_path / "a/train/log_16.txt", "of the training")
    log = f"`{tmp_path}/a/train/log_16.txt`"
    assert models_of(report_of(tmp_path / "a")[0])[0][4] == log
    assert {run["weights_sha256"] for run in runs} == {f"of {tmp_path}/{name}" for name in "ab"}
    ((bits, score, recipe, _, log),) = models_of(report_of(tmp_path / "b")[0])
    others = "epoch 2 (150), data set coco_lite (coco), seed 0 (2000)"
    assert (bits, score, recipe) == ("64", "0.700 \\*", f"not as published: {others}")
    assert log == ""


def test_published_weights_that_were_scored_here_are_a_model_too(tmp_path):
    add_run(tmp_path / "a", 0.5, protocol={"weights_sha256": "0123456789abcdef0123"})
    (tmp_path / "a/weights_16.json").unlink()
    (tmp_path / "a/train/metrics_16.jsonl").unlink()
    text, _ = report_of(tmp_path)
    assert models_of(text) == [["16", "0.600", "unknown", "`0123456789abcdef`", ""]]
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    text, _ = report_of(tmp_path)
    assert cells_of(text, "unknown (settings unknown)") == ["0.600 (n=1)"]
    assert f"{tmp_path}/b is a copy of another run, and does not count" in text


def test_the_shipped_runs_have_a_table_and_figures(tmp_path, monkeypatch):
    example = shutil.copytree(REPOSITORY / "output/coco_lite", tmp_path / "example")
    text, _ = report_of(example)
    assert cells_of(text, "HashNet")[3] == "0.517 (n=1)"
    models = models_of(text)
    assert [line[:2] for line in models] == [
        ["16", "0.440"],
        ["32", "0.410"],
        ["48", "0.499"],
        ["64", "0.517"],
    ]
    assert models[3][3:] == ["`fd7a30c52cfbcb9a`", f"`{example}/train/log_64.txt`"]
    assert "first weights none (torchvision's of ImageNet)" in models[3][2]
    assert "No figures: the figure needs matplotlib: pip install matplotlib" in text
    figure = pytest.importorskip("matplotlib.figure").Figure
    drawn, save = [], figure.savefig
    monkeypatch.setattr(figure, "savefig", lambda *a, **b: (drawn.append(a[0]), save(*a, **b)))
    text, _ = report_of(example, figures=True)
    for each in drawn:
        assert each.get_suptitle() == "coco_lite, MAP@5000" and len(each.legends) == 1
        heights = [
            line.get_ydata()[0] for line in each.axes[-1].lines if line.get_label() == "chance"
        ]
        assert heights == [pytest.approx(0.205, abs=5e-4)]
    assert len(drawn) == 3
    for name in ("epochs", "bits", "curves"):
        assert f"![](report_{name}_1.png)" in text
        assert (example / f"out/report_{name}_1.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("weights_16.json", "{", "not a record of weights"),
        ("weights_16.json", '{"settings": 3}', "settings is 3"),
        ("test/metrics_16.json", '{"dataset": "d", "map": "high"}', "map is 'high'"),
        ("train/metrics_16.jsonl", '{"epoch": 1, "loss": []}\n', "loss is no number"),
        ("train/metrics_16.jsonl", "[]\n", "not a training's metrics"),
        ("train/metrics_16.jsonl", '{"epoch": 1, "map": NaN}\n', "map is no number"),
        ("test/metrics_16.json", '{"dataset": "d", "map": NaN}', "map is nan"),
        ("test/metrics_16.json", '{"dataset": "d", "map": 1e999}', "map is inf"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, content, told):
    add_run(tmp_path / "a", 0.5)
    write(tmp_path / "a" / name, content)
    with pytest.raises(UserError, match=f"{name}: .*{told}"):
        find_runs([tmp_path])


@pytest.mark.parametrize("kept", ["weights_32.json", "test/metrics_32.json"])
def test_files_renamed_to_another_number_of_bits_are_told(tmp_path, kept):
    add_run(tmp_path / "a", 0.5)
    for path in list((tmp_path / "a").rglob("*_16.json*")):
        path = path.rename(path.with_name(path.name.replace("16", "32")))
        if not path.match(kept):
            path.unlink()
    with pytest.raises(UserError, match=r"/a: files named for 32 bits are of 16: "):
        find_runs([tmp_path])


def test_curves_that_are_no_curves_are_told_and_none_are_not_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    add_run(tmp_path / "a", 0.5)
    path = tmp_path / "a/test/metrics_16.json"
    sound = json.loads(path.read_text())
    for curve in ("x", {**CURVE, "recall": [1]}, {**CURVE, "precision": ["a", "b"]}, {"n": [1]}):
        write(path, {**sound, "by_rank": curve})
        with pytest.raises(UserError, match="/a: the records of 16 bits are damaged: "):
            find_runs([tmp_path])
    write(path, {key: value for key, value in sound.items() if key != "by_rank"})
    assert "report_curves_1.png" in report_of(tmp_path, figures=True)[0]


def test_numbers_that_are_none_have_no_mean(tmp_path):
    for seed, value in enumerate(("NaN", "0.25")):
        add_run(tmp_path / f"a{seed}", 0.5, seed=seed)
        path = tmp_path / f"a{seed}/test/metrics_16.json"
        path.write_text(path.read_text().replace('_radius_2": 0.25', f'_radius_2": {value}'))
    assert "| HashNet | 0.250 (n=1) |" in report_of(tmp_path, "p_h2")[0]


def test_settings_of_another_type_are_told_with_their_folder(tmp_path):
    add_run(tmp_path / "a", 0.5, settings={"batch_size": "x"})
    with pytest.raises(UserError, match=r"/a: the records of 16 bits are damaged: .*batch_size is"):
        find_runs([tmp_path])


def test_the_command(tmp_path):
    add_run(tmp_path / "a", 0.5)
    said = succeed("scripts/report.py", tmp_path, "--with", "p_h2", "tie_averaged")
    assert f"Report: {tmp_path}/report.md" in said and "precision_within_radius_2:" in said
    before_models = (tmp_path / "report.md").read_text().partition("The models:")[0]
    assert before_models.rstrip() in said
    assert "--with" in succeed("scripts/report.py", "--help")
    (tmp_path / "empty").mkdir()
    assert "empty: no run in it" in fail("scripts/report.py", tmp_path / "empty")
