"""The benchmarks: small runs of each part, and one line for a mistake. Nothing here is timed."""

from __future__ import annotations

import importlib.util
import json

import paddle
import pytest
from helpers import fail, succeed

SMALL = {
    "encode": "--pictures 70 --plain-pictures 4 --turns 1 --bit 16",
    "train": "--batch 2 --steps 1 --turns 1",
    "loss": "--batch 8 --bank 300 --bit 16 --turns 2",
    "index": "--images 3000 --bit 12 --turns 1",
    "retrieval": "--queries 70 --database 900 --topK 50 --turns 1 --bit 8 64",
}


def results_of(part: str, **environment: str) -> tuple[list[dict], list[str]]:
    """The rows of a small run, and the lines it printed: its table has the same columns."""
    settings = {"HASHNET_TEST_DATA": "", **environment}
    words = [part, *SMALL[part].split()]
    lines = succeed("scripts/benchmark.py", *words, environment=settings).splitlines()
    rows = json.loads(lines[-1])["results"]
    assert " ".join(rows[0]).split() in [line.split() for line in lines]
    return rows, lines


def test_retrieval_does_without_paddle_and_agrees_with_the_textbook(tmp_path):
    (tmp_path / "paddle.py").write_text("raise SystemExit('Paddle was imported')")
    rows, lines = results_of("retrieval", PYTHONPATH=str(tmp_path))
    assert [row["bit"] for row in rows] == [8, 64]
    for row in rows:
        assert row["|textb.-MAP|"] <= 1e-12
        assert row["MAP@K"] > 0.4
        assert 0 < row["MAP MiB"] < 5
    has_faiss = importlib.util.find_spec("faiss") is not None
    assert ("pip install faiss-cpu" in "\n".join(lines)) is not has_faiss


def test_encoding_names_all_ways_and_limits():
    rows, lines = results_of("encode")
    found = {row["way"]: row for row in rows}
    assert found["ours fp32"]["x plain"] > 0 and found["ours fp32"]["of both limits"] > 0
    assert found["ours fp32, warm cache"]["of forward only"] > 0
    assert found["plain"]["x plain"] is None and found["decode"]["img/s"] > 0
    differing = json.loads(lines[-1])["differing_bits"]
    assert differing["ours bf16"] < 0.2 and differing["plain"] < 0.02


@pytest.mark.skipif(
    paddle.__version__.startswith("2."), reason="Paddle 2.6 cannot assign through a mask so"
)
def test_both_forms_of_the_loss_agree():
    [row], _ = results_of("loss")
    assert row["difference of value"] < 1e-5 and row["of gradient"] < 1e-5


def test_the_training_step_names_both_settings():
    (ours, default), _ = results_of("train")
    assert (ours["way"], default["way"]) == ("ours", "default")
    assert ours["x default"] == default["step s"] / ours["step s"]


def test_an_index_stands_beside_its_limit():
    rows, _ = results_of("index")
    assert rows[0]["store"] == "SQLite" and rows[-1]["store"] == "nearest"
    assert rows[0]["insert s"] > 0 and 50 < rows[0]["B/image"] < 1000


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("retrieval --bit 513", "513-bit codes"),
        ("retrieval --topK 0", "--topK: expected a whole number of 1 or more, found '0'"),
        ("loss --batch 9 --bank 8", "--batch 9: more rows than --bank 8 has"),
        ("retrieval --turns 1", "expected the released lists of COCO"),
    ],
)
def test_a_mistake_is_one_line(flags, message, tmp_path):
    settings = {"HASHNET_TEST_DATA": str(tmp_path)}
    assert message in fail("scripts/benchmark.py", *flags.split(), environment=settings)
