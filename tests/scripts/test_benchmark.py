"""The benchmarks: small runs of the command, and what the parts measure against."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

from scripts.benchmarks.coco_codes import clustered_codes, coco_labels, drawn_labels
from scripts.benchmarks.isolated import in_a_process
from scripts.benchmarks.retrieval_baselines import INSTALL_FAISS, textbook_average_precisions
from utils.codes import hamming_distance, unpack_codes
from utils.metrics import mean_average_precision
from utils.system.errors import UserError

COMMAND = Path(__file__).resolve().parents[2] / "scripts" / "benchmark.py"


def run_benchmark(part: str, *flags: str) -> subprocess.CompletedProcess:
    environment = {key: os.environ[key] for key in os.environ if key != "HASHNET_TEST_DATA"}
    return subprocess.run(
        [sys.executable, str(COMMAND), part, *flags],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_small_run_prints_a_table_and_a_json_line():
    flags = ["--queries", "70", "--database", "900", "--topK", "50", "--turns", "1"]
    done = run_benchmark("retrieval", *flags, "--bit", "8", "64")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    record = json.loads(lines[-1])
    assert (record["queries"], record["database"], record["topk"]) == (70, 900, 50)
    assert [result["bit"] for result in record["results"]] == [8, 64]
    for result in record["results"]:
        assert result["difference_from_textbook"] <= 1e-12
        assert result["map"] > 0.4
        assert 0 < result["map_extra_mib"] < 5
        assert result["map_seconds"] > 0
    assert lines[1].split()[0] == "bit"
    has_faiss = importlib.util.find_spec("faiss") is not None
    assert (INSTALL_FAISS in lines) is not has_faiss


@pytest.mark.parametrize(
    ("flags", "message"), [(["--bit", "12"], "12-bit codes"), (["--topK", "0"], "--topK")]
)
def test_wrong_flags_are_one_line(flags, message):
    done = run_benchmark("retrieval", *flags)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_function_in_a_process_of_its_own_may_get_long_arguments():
    assert in_a_process("builtins", "len", list(range(10**6)), tuned=False) == 10**6
    with pytest.raises(RuntimeError, match=r"(?s)builtins\.len failed:.*TypeError"):
        in_a_process("builtins", "len", 3, tuned=False)


def test_drawn_labels_have_cocos_density():
    labels = drawn_labels(100, 20_000, np.random.default_rng(0))
    assert labels.database.any(axis=1).all()
    assert 2.7 < labels.database.sum(axis=1).mean() < 3.1
    assert len(set(labels.query_rows.tolist())) == 100


def test_codes_gather_by_label():
    labels = np.repeat(np.eye(2, 80, dtype=np.uint8), 200, axis=0)
    codes = clustered_codes(labels, 64, np.random.default_rng(0))
    distance = hamming_distance(codes, codes)
    assert distance[:200, :200].mean() + 3 < distance[:200, 200:].mean()


def test_the_textbook_loop_with_a_stable_sort_is_the_exact_map():
    labels = drawn_labels(40, 600, np.random.default_rng(1))
    codes = clustered_codes(labels.database, 16, np.random.default_rng(2))
    rows, signs = labels.query_rows, unpack_codes(codes).astype(np.float32)
    wide = labels.database.astype(np.int64)
    scores = textbook_average_precisions(signs[rows], wide[rows], signs, wide, 100, "stable")
    exact = mean_average_precision(codes[rows], labels.database[rows], codes, labels.database, 100)
    assert abs(scores.mean() - exact) <= 1e-12


def test_a_folder_without_the_lists(tmp_path, monkeypatch):
    monkeypatch.setenv("HASHNET_TEST_DATA", str(tmp_path))
    with pytest.raises(UserError, match="expected the released lists of COCO"):
        coco_labels(10, 100, np.random.default_rng(0))


def test_a_small_run_of_encoding_names_all_ways_and_limits():
    flags = ["--pictures", "70", "--plain-pictures", "4", "--turns", "1", "--bit", "16"]
    done = run_benchmark("encode", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads(done.stdout.splitlines()[-1])
    found = {result["name"]: result for result in record["results"]}
    assert "drawn" in record["pictures"] and 0 <= record["bf16_bits"] < 0.2
    assert found["ours fp32"]["over_plain"] > 0 and found["ours fp32"]["of_limits"] > 0
    assert found["ours fp32, warm cache"]["of_forward"] > 0
    assert found["plain"]["over_plain"] is None and found["decode"]["pictures_per_second"] > 0


@pytest.mark.skipif(
    paddle.__version__.startswith("2."), reason="Paddle 2.6 cannot assign through a mask so"
)
def test_a_small_run_of_the_loss_compares_equal_values_and_gradients():
    done = run_benchmark("loss", "--batch", "8", "--bank", "300", "--bit", "16", "--turns", "2")
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads(done.stdout.splitlines()[-1])
    assert record["value_difference"] < 1e-5 and record["gradient_difference"] < 1e-5
    assert record["masked_over_closed"] == record["masked_ms"] / record["closed_ms"]


def test_a_small_run_of_the_training_step_names_both_settings():
    done = run_benchmark("train", "--batch", "2", "--steps", "1", "--turns", "1")
    assert (done.returncode, done.stderr) == (0, "")
    ours, default = json.loads(done.stdout.splitlines()[-1])["results"]
    assert (ours["name"], default["name"]) == ("ours", "default")
    assert ours["over_default"] == default["seconds"] / ours["seconds"] and ours["seconds"] > 0
