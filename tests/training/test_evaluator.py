"""Evaluation of trained weights: of which file, of which queries, without which images."""

from __future__ import annotations

import hashlib
import json
import re
import shutil

import numpy as np
import paddle
import pytest
from helpers import epochs_of, log_of
from small_network import SmallHashNet, values
from small_training import arguments_of, train_small

from utils.codes import pack_codes
from utils.config import TRAIN_COMMAND, parse_config
from utils.inference.backends import build_backend
from utils.inference.encoder import Encoder
from utils.metrics import mean_average_precision_of_values
from utils.system.errors import UserError


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


def another_data_set(small_data, tmp_path):
    """The same images, called flowers."""
    folder = shutil.copytree(small_data, tmp_path / "flowers")
    card = folder / "dataset.yaml"
    card.write_text(card.read_text().replace("name: drawn", "name: flowers"))
    return folder


@pytest.mark.parametrize("weights", ["weights_8", "last_8"])
def test_weights_of_another_data_set_are_told_and_its_metrics_kept(
    small_data, trained_small, tmp_path, weights
):
    output = shutil.copytree(trained_small, tmp_path / "output")
    evaluate = ["--eval", "--pretrained", output / weights]
    assert train_small(small_data, output, *evaluate) == 0
    assert "used here on" not in log_of(output, kind="test")
    before = (output / "test/metrics_8.json").read_bytes()
    flowers = another_data_set(small_data, tmp_path)
    assert train_small(flowers, output, *evaluate) == 0
    log = log_of(output, kind="test")
    assert re.search(rf"{weights}\.\w+: weights of the data set drawn, used here on flowers", log)
    assert f"Metrics of the data set drawn: now {output}/test/earlier_metrics_8.json" in log
    assert (output / "test/earlier_metrics_8.json").read_bytes() == before
    assert json.loads((output / "test/metrics_8.json").read_text())["dataset"] == "flowers"


@pytest.mark.parametrize(("labels", "which"), [([1, 0, 0], "All"), ([0, 0, 0], "No")])
def test_labels_that_teach_nothing_and_codes_that_say_nothing_are_told(
    small_data, tmp_path, labels, which
):
    folder = shutil.copytree(small_data, tmp_path / "same")
    lines = [line.split()[0] for line in (folder / "train.txt").read_text().splitlines()]
    words = " ".join(map(str, labels))
    (folder / "train.txt").write_text("".join(f"{line} {words}\n" for line in lines))
    weights = values(SmallHashNet())
    for array in weights.values():
        array[:] = 0
    paddle.save(
        {n: paddle.to_tensor(a) for n, a in weights.items()}, str(folder / "first.pdparams")
    )
    assert train_small(folder, tmp_path / "output", "--learning-rate", "0") == 0
    before, after = log_of(tmp_path / "output").split("Start training")
    assert f"{which} pairs of training images are similar: nothing can be learned" in before
    assert "database: 8 images have only 1 distinct codes" in after


def test_where_no_best_weights_are_but_a_state_the_line_names_it(
    small_data, trained_small, tmp_path
):
    output = shutil.copytree(trained_small, tmp_path / "output")
    (output / "weights_8.pdparams").unlink()
    with pytest.raises(UserError, match=rf"missing; .* --pretrained {output}/last_8\.npz"):
        train_small(small_data, output, "--eval", "--pretrained", output / "weights_8")


@pytest.mark.parametrize("backend", ["dygraph", "inference"])
def test_codes_are_the_signs_of_the_z_that_comes_with_them(small_data, tmp_path, backend):
    config = parse_config(TRAIN_COMMAND, arguments_of(small_data, tmp_path, 1))
    network = SmallHashNet()
    network.load_weights(small_data / "first")
    running = build_backend(network, config.crop_size, backend, "fp32")
    encoder = Encoder(running, config.transform(), 3)
    (alone,) = encoder.encode(*config.splits("database"))
    (both,) = encoder.encode(*config.splits("database"), keep_z=True)
    assert alone.z is None and both.z.dtype == np.float32 and both.z.shape == (8, 8)
    np.testing.assert_array_equal(both.codes, pack_codes(both.z))
    np.testing.assert_array_equal(both.codes, alone.codes)


def test_real_values_are_ranked_beside_their_codes(small_data, tmp_path):
    output, lists = tmp_path / "output", shutil.copytree(small_data, tmp_path / "lists")
    row = (lists / "database.txt").read_text(encoding="utf-8").splitlines(keepends=True)[5]
    with (lists / "test.txt").open("a", encoding="utf-8") as file:
        file.write(row)
    flags = ["--list-path", lists, "--step-continuation", "1", "--exclude-self"]
    assert train_small(small_data, output, *flags) == 0
    config = parse_config(TRAIN_COMMAND, arguments_of(small_data, output, 3, *flags))
    queries, database = config.splits("test", "database")
    network = SmallHashNet()
    network.load_weights(output / "last_8")
    encoder = Encoder(build_backend(network, 63, "dygraph", "fp32"), config.transform(), 4)
    z = [each.z for each in encoder.encode(queries, database, keep_z=True)]

    def expected(scale):
        values = [np.tanh(np.float32(scale) * each) for each in z]
        data = (values[0], queries.labels, values[1], database.labels)
        return mean_average_precision_of_values(*data, exclude=[-1, -1, -1, -1, 5])

    plain, _ = evaluate(small_data, output, *flags, "--pretrained", output / "last_8")
    assert "map_continuous" not in plain
    flags += ["--continuous", "--pretrained"]
    metrics, log = evaluate(small_data, output, *flags, output / "last_8")
    value = metrics.pop("map_continuous")
    assert (value, metrics.pop("continuous_scale")) == (expected(3**0.5), 3**0.5)
    assert f"MAP of tanh(1.732 z), not binarized: {value:.4f}\n" in log
    assert {**metrics, "seconds": 0} == {**plain, "seconds": 0}
    (output / "weights_8.json").unlink()
    metrics, log = evaluate(small_data, output, *flags, output / "weights_8", "--epoch", "9")
    assert metrics["continuous_scale"] == 3
    assert "weights_8 has no record: β is that of --epoch 9 and --step-continuation 1" in log
