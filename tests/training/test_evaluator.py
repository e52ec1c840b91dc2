"""Evaluation of trained weights: of which file, of which queries, without which images."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
from helpers import epochs_of, log_of
from small_training import train_small


def evaluate(data, output, *more):
    """The metrics of an evaluation, and its log."""
    assert train_small(data, output, "--eval", *more) == 0
    metrics = json.loads((output / "test/metrics_8.json").read_text(encoding="utf-8"))
    return metrics, log_of(output, kind="test")


@pytest.mark.parametrize("weights", ["weights_8", "last_8", "last_8.npz"])
def test_weights_and_states_are_evaluated_alike(small_data, trained_small, tmp_path, weights):
    metrics, _ = evaluate(small_data, tmp_path, "--pretrained", trained_small / weights)
    assert metrics["map"] == epochs_of(trained_small)[-1]["map"]
    file = trained_small / {"weights_8": "weights_8.pdparams"}.get(weights, "last_8.npz")
    assert metrics["protocol"]["weights"] == file.name
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert metrics["protocol"]["weights_sha256"] == digest


def test_queries_that_stand_in_the_database_are_told_and_can_be_left_out(
    small_data, trained_small, tmp_path
):
    lists = shutil.copytree(small_data, tmp_path / "lists")
    rows = (lists / "database.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    with (lists / "test.txt").open("a", encoding="utf-8") as file:
        file.writelines(rows[:2])
    values = []
    for flags in ([], ["--exclude_self"]):
        flags = ["--list-path", lists, "--pretrained", trained_small / "weights_8", *flags]
        metrics, log = evaluate(small_data, tmp_path, *flags)
        assert "2 of 6 queries stand in the database" in log
        assert metrics["protocol"]["queries_in_database"] == 2
        assert metrics["protocol"]["exclude_self"] == ("--exclude_self" in flags)
        values.append(metrics["map"])
    assert values[0] > values[1], "two queries that found themselves first no longer do"
