"""Weights and training states: round trips, strictness, and a training taken up where it was."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import paddle
import pytest
from small_network import SmallHashNet, values

from utils.engine import train_one_epoch
from utils.loss import HashNetLoss
from utils.lr_scheduler import halving_schedule, start_epoch
from utils.optimizer import build_optimizer
from utils.system.errors import UserError
from utils.training import common as parts
from utils.training.checkpoint import (
    Progress,
    load_training,
    load_weights,
    save_training,
    save_weights,
)

ROWS = 6


def batches(epoch):
    """Two batches that have a row in common."""
    rng = np.random.default_rng(epoch)
    for rows in ([0, 1, 2, 3], [3, 4, 5]):
        pictures = rng.normal(size=(len(rows), 3, 8, 8)).astype(np.float32)
        labels = rng.integers(0, 2, (len(rows), 3))
        yield paddle.to_tensor(pictures), paddle.to_tensor(labels), paddle.to_tensor(rows)


class Run:
    """A training's parts, small; built as the trainer does."""

    def __init__(self, bit=8, optimizer="SGD", rows=ROWS):
        self.network = parts.build_network(bit)
        self.criterion = HashNetLoss(bit, rows, num_class=3)
        self.schedule = halving_schedule(0.05, 2)
        self.optimizer = build_optimizer(
            optimizer,
            self.network.backbone_parameters(),
            self.network.hash_parameters(),
            self.schedule,
            0.9,
            5e-4,
        )
        self.network.eval()  # no dropout: steps are to be compared

    def train(self, epochs):
        """Two steps an epoch on pictures that depend on the epoch alone."""
        for epoch in epochs:
            start_epoch(self.schedule, epoch)
            used = (self.network, self.criterion, self.optimizer)
            train_one_epoch(*used, batches(epoch), 50, lambda step, loss, pace: None)

    def save(self, prefix, progress, config=None):
        kept = (self.network, self.optimizer, self.criterion)
        save_training(prefix, *kept, progress, config or {"bit": 8})

    def load(self, prefix, last_epoch=0):
        kept = (self.network, self.optimizer, self.criterion)
        return load_training(str(prefix), *kept, last_epoch)


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    """`build_network` makes small ones; its ways with names are the real ones'."""
    monkeypatch.setattr(parts, "HashNet", SmallHashNet)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("ending", ["", ".pdparams"])
def test_weights_come_back_to_the_bit_from_a_prefix_or_a_file(tmp_path, ending):
    run = Run()
    path = save_weights(tmp_path / "weights_8", run.network, run.optimizer)
    assert path == tmp_path / "weights_8.pdparams"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["weights_8.pdopt", "weights_8.pdparams"]
    other = Run().network
    assert not np.array_equal(other.parameters()[0].numpy(), run.network.parameters()[0].numpy())
    assert load_weights(f"{tmp_path}/weights_8{ending}", other) == path
    assert_same(values(other), values(run.network))


def test_weights_for_other_bits_are_told_by_their_number(tmp_path):
    run = Run(bit=16)
    path = save_weights(tmp_path / "weights", run.network, run.optimizer)
    network = SmallHashNet(bit=8)
    with pytest.raises(UserError) as error:
        load_weights(path, network)
    assert str(error.value) == f"{path}: weights for 16 bits, --bit 8 was asked for"


def test_weights_with_missing_or_surplus_names_are_refused_and_change_nothing(tmp_path):
    network = SmallHashNet()
    before, state = values(network), values(SmallHashNet())
    for change, message in (
        ({"features.0.bias": None}, "missing: features.0.bias"),
        ({"fc.bias": np.zeros(3, np.float32)}, r"unknown: fc\.bias"),
        ({"features.3.bias": np.zeros(3, np.float32)}, r"features.3.bias is \[3\]"),
    ):
        changed = {k: v for k, v in {**state, **change}.items() if v is not None}
        paddle.save(changed, str(tmp_path / "odd.pdparams"))
        with pytest.raises(UserError, match=message):
            load_weights(tmp_path / "odd", network)
        assert_same(values(network), before)


def test_a_file_as_paddle_2_2_wrote_them_loads(tmp_path):
    state = values(SmallHashNet())
    table = {name: f"linear_{place}.w_0" for place, name in enumerate(state)}
    with (tmp_path / "old.pdparams").open("wb") as file:
        pickle.dump({**state, "StructuredToParameterName@@": table}, file, protocol=4)
    network = SmallHashNet()
    load_weights(tmp_path / "old", network)
    assert_same(values(network), state)


def test_missing_weights_are_told(tmp_path):
    with pytest.raises(UserError, match=r"weights_8\.pdparams: missing"):
        load_weights(tmp_path / "weights_8", SmallHashNet())


def test_networks_built_one_after_the_other_name_their_parameters_alike():
    first, second = parts.build_network(8), parts.build_network(8)
    assert [p.name for p in first.parameters()] == [p.name for p in second.parameters()]


@pytest.mark.parametrize("optimizer", ["SGD", "RMSProp", "AdamW"])
def test_a_training_taken_up_in_a_new_network_goes_on_to_the_bit(tmp_path, optimizer):
    unbroken = Run(optimizer=optimizer)
    unbroken.train([1, 2])
    unbroken.save(tmp_path / "last_8", Progress(2, 0.5, 1))
    unbroken.train([3, 4])

    resumed = Run(optimizer=optimizer)
    assert resumed.load(tmp_path / "last_8") == Progress(2, 0.5, 1)
    resumed.train([3, 4])
    assert_same(values(resumed.network), values(unbroken.network))
    assert_same(values(resumed.criterion), values(unbroken.criterion))

    forgetful = Run(optimizer=optimizer)  # the test could not fail if momentum had no effect
    load_weights(tmp_path / "last_8", forgetful.network)
    forgetful.train([3, 4])
    name = "classifier_plus.6.weight"
    assert not np.array_equal(values(forgetful.network)[name], values(unbroken.network)[name])


def test_the_bank_and_the_progress_are_part_of_the_state(tmp_path):
    run = Run()
    run.train([1])
    assert values(run.criterion)["codes"].any()
    run.save(tmp_path / "last_8", Progress(1, 0.25, 1), {"bit": 8, "dataset": "é"})
    names = ["last_8.pdopt", "last_8.pdparams", "last_8.pdstates"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    other = Run()
    assert other.load(tmp_path / "last_8.pdparams") == Progress(1, 0.25, 1)
    assert_same(values(other.criterion), values(run.criterion))
    assert paddle.load(str(tmp_path / "last_8.pdstates"))["config"] == {"bit": 8, "dataset": "é"}


def test_before_the_first_evaluation_any_map_is_better():
    assert Progress().epoch == 0 and Progress().best_map < 0


def saved(folder, epoch=5, **rest):
    """A saved training of `epoch` epochs; returns its prefix."""
    run = Run(**rest)
    run.train([1])
    run.save(folder / "last_8", Progress(epoch))
    return folder / "last_8"


def test_a_state_of_another_training_set_is_refused(tmp_path):
    prefix = saved(tmp_path)
    with pytest.raises(UserError, match=r"last_8\.pdstates: codes is \[6, 8\].* \[7, 8\]"):
        Run(rows=7).load(prefix)


def test_last_epoch_may_repeat_what_the_state_says_but_not_contradict_it(tmp_path):
    prefix = saved(tmp_path, epoch=5)
    assert Run().load(prefix, last_epoch=5).epoch == 5
    with pytest.raises(UserError, match=r"--last-epoch 4: .*last_8\.pdstates says 5 epochs"):
        Run().load(prefix, last_epoch=4)


def test_a_state_of_the_published_code_needs_last_epoch_and_begins_with_an_empty_bank(tmp_path):
    prefix = saved(tmp_path)
    prefix.with_suffix(".pdstates").unlink()
    with pytest.raises(UserError, match=r"last_8\.pdstates: missing; --last-epoch N"):
        Run().load(prefix)
    run = Run()
    assert run.load(prefix, last_epoch=7) == Progress(epoch=7)
    assert not values(run.criterion)["codes"].any()


@pytest.mark.parametrize("ending", [".pdparams", ".pdopt"])
def test_a_missing_part_of_a_state_is_told(tmp_path, ending):
    prefix = saved(tmp_path)
    prefix.with_suffix(ending).unlink()
    with pytest.raises(UserError, match=rf"last_8\{ending}: missing"):
        Run().load(prefix, last_epoch=5)


@pytest.mark.parametrize(
    "states",
    [
        {},
        {"progress": {"epoch": 1}},
        {"progress": {"epochs": 1}, "bank": {}},
        {"progress": 5, "bank": {}},
        {"progress": {"epoch": 1}, "bank": 5},
        {"progress": {"epoch": 1}, "bank": {}},
    ],
)
def test_a_file_that_is_no_training_s_state_is_told(tmp_path, states):
    prefix = saved(tmp_path)
    paddle.save(states, str(prefix.with_suffix(".pdstates")))
    with pytest.raises(UserError, match=r"last_8\.pdstates: "):
        Run().load(prefix)


def test_the_state_of_another_optimizer_is_told(tmp_path):
    prefix = saved(tmp_path, optimizer="AdamW")
    with pytest.raises(UserError, match=r"last_8\.pdopt: "):
        Run(optimizer="SGD").load(prefix)


@pytest.mark.parametrize("content", ["empty", "weights"])
def test_a_file_that_is_no_optimizer_s_state_is_told(tmp_path, content):
    prefix = saved(tmp_path)
    state = {} if content == "empty" else values(SmallHashNet())
    paddle.save(state, str(prefix.with_suffix(".pdopt")))
    with pytest.raises(UserError, match=r"last_8\.pdopt: "):
        Run().load(prefix)


def test_a_save_that_breaks_off_leaves_the_old_state_loadable(tmp_path, monkeypatch):
    prefix = saved(tmp_path, epoch=5)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def break_off(state, name):
        Path(name).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(paddle, "save", break_off)
    with pytest.raises(KeyboardInterrupt):
        Run().save(prefix, Progress(6))
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
