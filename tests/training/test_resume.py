"""A training that stops, at whatever step, and goes on ends as one that never stopped."""

from __future__ import annotations

import os
import re
import shutil
import signal

import numpy as np
import paddle
import paddle_2_2
import pytest
from helpers import assert_same_state, epochs_of, log_of
from small_training import run_small, train_small

from utils import engine
from utils.config import TRAIN_COMMAND, Config, parse_config
from utils.datasets.loader import BatchLoader
from utils.system.errors import UserError
from utils.system.state_files import (
    read_state,
    read_training_state,
    write_training_state,
)
from utils.training import trainer
from utils.training.resume import differences, samples_per_step

EPOCHS, STEPS = 4, 3


def train(data, output, *more, epochs=EPOCHS):
    """A training in this process that logs each step; returns its exit status."""
    return train_small(data, output, "--debug-steps", "1", *more, epochs=epochs)


def resume(data, output, *more, **rest):
    """Goes on from `output/last_8`."""
    return train(data, output, "--resume", output / "last_8", *more, **rest)


def progress_of(output):
    """How far the newest state has come."""
    return read_training_state(output / "last_8.npz")[1]["progress"]


@pytest.fixture(scope="module")
def whole(small_data, tmp_path_factory):
    """Output folder of four epochs in one go."""
    output = tmp_path_factory.mktemp("whole")
    assert train(small_data, output) == 0
    return output


@pytest.fixture()
def copy(whole, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(whole, tmp_path / "copy")


def files_of(output):
    """The bytes of all weights and states."""
    paths = (*output.glob("*.pd*"), *output.glob("*.npz"))
    return {path.name: path.read_bytes() for path in paths}


def assert_same_end(output, whole):
    """The same state and the same best weights."""
    assert_same_state(output, whole)
    assert progress_of(output) == progress_of(whole)
    assert epochs_of(output)[-1]["loss"] == epochs_of(whole)[-1]["loss"]
    for name in ("weights_8.pdparams", "weights_8.pdopt"):
        found, *_ = read_state(output / name, "a state")
        for key, array in read_state(whole / name, "a state")[0].items():
            np.testing.assert_array_equal(found[key], array, err_msg=f"{name}: {key}")


@pytest.mark.parametrize(
    "flags",
    [
        ["--optimizer", "RMSProp", "--learning-rate", "0.001"],
        ["--optimizer", "AdamW"],
        ["--sampling", "replicate"],
    ],
)
def test_two_epochs_and_two_more_are_four(small_data, tmp_path, flags):
    whole, cut, forgetful = (tmp_path / name for name in ("whole", "cut", "forgetful"))
    assert train(small_data, whole, *flags, "--num-workers", "0") == 0
    assert train(small_data, cut, *flags, epochs=2) == 0
    weights_alone = ["--pretrained", cut / "last_8.npz", "--last-epoch", "2"]
    assert train(small_data, forgetful, *flags, *weights_alone) == 0
    assert resume(small_data, cut, *flags) == 0
    assert_same_state(cut, whole)
    assert epochs_of(cut)[-1]["loss"] == epochs_of(whole)[-1]["loss"]
    assert [row["epoch"] for row in epochs_of(cut)] == [1, 2, 3, 4]
    log = log_of(cut)
    assert log.index("HashNet[ 1/2]") < log.index("from epoch 3.") < log.index("HashNet[ 4/4]")
    # The test could not fail if optimizer and bank had no effect.
    assert [row["epoch"] for row in epochs_of(forgetful)] == [3, 4]
    assert epochs_of(forgetful)[-1]["loss"] != epochs_of(whole)[-1]["loss"]


class LossWithoutBank(paddle.nn.Layer):
    """Remembers nothing of images."""

    def __init__(self, *_):
        super().__init__()
        self.scale = 1.0

    def forward(self, z, labels, index):
        """The distance of z from the labels."""
        return ((z[:, :3] - labels.astype("float32")) ** 2).mean()


def test_a_loss_without_a_bank_is_resumed_too(small_data, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "HashNetLoss", LossWithoutBank)
    assert train(small_data, tmp_path / "whole") == 0
    assert train(small_data, tmp_path / "cut", epochs=2) == 0
    assert resume(small_data, tmp_path / "cut") == 0
    assert_same_state(tmp_path / "cut", tmp_path / "whole")


def send_at_call(monkeypatch, owner, name, number, calls=1):
    """Sends a signal to this process in the `calls`-th call of a function."""
    function, count = getattr(owner, name), iter(range(1, 10**6))

    def call(*arguments, **rest):
        if next(count) == calls:
            os.kill(os.getpid(), number)
        return function(*arguments, **rest)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize("step", range(EPOCHS * STEPS))
def test_stopped_at_any_step_it_goes_on_exactly_there(
    small_data, whole, tmp_path, monkeypatch, step
):
    number = (signal.SIGTERM, signal.SIGINT)[step % 2]
    with monkeypatch.context() as patch:
        send_at_call(patch, BatchLoader, "dropout_seed", number, step + 1)  # once in each step
        assert train(small_data, tmp_path) == 128 + number
    log = log_of(tmp_path)
    assert f"Epoch[{step // STEPS + 1:03d}/004], Step[{step % STEPS:04d}/0003]" in log
    assert f"Step[{(step + 1) % STEPS:04d}/0003]" not in log.splitlines()[-3]
    assert f"--resume {tmp_path}/last_8.npz" in log.splitlines()[-1]
    assert resume(small_data, tmp_path) == 0
    assert_same_end(tmp_path, whole)


def test_stopped_before_it_has_written_all_of_its_files_it_keeps_another_one_s(
    small_data, whole, tmp_path, monkeypatch
):
    output = shutil.copytree(whole, tmp_path / "output")
    kept = ("weights_8.pdparams", "weights_8.json", "train/metrics_8.jsonl")
    before = [(output / name).read_bytes() for name in kept]
    with monkeypatch.context() as patch:
        send_at_call(patch, BatchLoader, "dropout_seed", signal.SIGTERM, 2)
        assert train(small_data, output) == 143
    assert resume(small_data, output) == 0
    assert_same_end(output, whole)
    now = [re.sub(r"([^/]+)$", r"earlier_\1", name) for name in kept]
    assert [(output / name).read_bytes() for name in now] == before


@pytest.mark.parametrize("times", [1, 2])
def test_stopped_in_the_evaluation_it_begins_again_with_the_evaluation(
    small_data, whole, tmp_path, monkeypatch, times
):
    stop = train
    for _ in range(times):
        with monkeypatch.context() as patch:
            send_at_call(patch, engine, "encode", signal.SIGTERM)
            assert stop(small_data, tmp_path) == 143
        assert "Stopped in epoch 3 after 3 of 3 steps" in log_of(tmp_path).splitlines()[-2]
        stop = resume
    assert not (tmp_path / "weights_8.pdparams").exists()
    assert resume(small_data, tmp_path, epochs=3) == 0  # takes no step before it saves
    assert resume(small_data, tmp_path) == 0
    assert_same_end(tmp_path, whole)


@pytest.mark.parametrize(
    ("owner", "name", "call"), [(np.lib.format, "write_array", 1), (paddle, "save", 2)]
)
def test_a_signal_while_something_is_saved_waits_for_it(
    small_data, whole, tmp_path, monkeypatch, owner, name, call
):
    with monkeypatch.context() as patch:
        send_at_call(patch, owner, name, signal.SIGTERM, call)
        assert train(small_data, tmp_path) == 143
    assert progress_of(tmp_path)["epoch"] == {"write_array": 1, "save": 3}[name]
    assert resume(small_data, tmp_path) == 0
    assert_same_end(tmp_path, whole)


def test_stopped_before_the_first_step_nothing_is_saved(small_data, tmp_path, monkeypatch):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    send_at_call(monkeypatch, trainer, "continuation_scale", signal.SIGINT)
    assert train(small_data, tmp_path) == 130
    assert not files_of(tmp_path)
    last = log_of(tmp_path).splitlines()[-1]
    assert "To go on: python " in last and "--resume" not in last
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_other_images_a_step_begin_the_epoch_anew(small_data, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        send_at_call(patch, BatchLoader, "dropout_seed", signal.SIGTERM, STEPS + 2)
        train(small_data, tmp_path)
    assert resume(small_data, tmp_path, "--batch-size", "8", "--force-resume") == 0
    log = log_of(tmp_path)
    assert "batch_size is 8, the saved training had 4" in log
    assert "Epoch 2 begins anew: its 2 steps were of 4 images, now a step has 8" in log
    assert log.count("Start training from epoch 2.") == 1
    assert [row["pictures"] for row in epochs_of(tmp_path)] == [12] * EPOCHS


def test_other_settings_and_lists_are_an_error_that_names_them_all(small_data, copy, tmp_path):
    lists = shutil.copytree(small_data, tmp_path / "lists")
    rows = (lists / "train.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (lists / "train.txt").write_text("".join(reversed(rows)), encoding="utf-8")
    other = ["--seed", "5", "--alpha", "0.2", "--list-path", lists]
    before = files_of(copy)
    with pytest.raises(UserError) as error:
        resume(small_data, copy, *other, epochs=5)
    for words in (
        "seed is 5, the saved training had 2000",
        "alpha is 0.2, the saved training had 0.1",
        "the train list is ",
        "--force-resume",
    ):
        assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert files_of(copy) == before
    assert resume(small_data, copy, *other, "--force_resume", epochs=5) == 0
    assert "Another setting than before: seed is 5, the saved training had 2000" in log_of(copy)


def test_the_same_images_and_lists_elsewhere_are_the_same_training(small_data, copy, tmp_path):
    folder = shutil.copytree(small_data, tmp_path / "elsewhere")
    (copy / "weights_8.pdparams").unlink()
    assert resume(small_data, copy, "--dataset", folder, "--data-path", folder, epochs=5) == 0
    assert "weights_8.pdparams is not of this training: the best MAP is sought anew" in log_of(copy)
    assert (copy / "weights_8.pdparams").is_file()


def test_weights_ruined_by_the_last_step_are_not_saved(small_data, tmp_path):
    once = ["--batch-size", "12", "--learning-rate", "1e39", "--eval-epoch", "9"]
    with pytest.raises(UserError, match=r"infinite or no number: nothing is saved"):
        train(small_data, tmp_path, *once, epochs=2)
    assert not files_of(tmp_path)


def test_a_loss_that_is_not_finite_leaves_the_last_good_state(small_data, copy):
    before = files_of(copy)
    ruin = ["--learning-rate", "1e38", "--force_resume"]
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at step [12] of this epoch"):
        resume(small_data, copy, *ruin, epochs=6)
    assert files_of(copy) == before


# The published format: weights and optimizer, and --last-epoch.


@pytest.fixture()
def published(whole, tmp_path):
    """Two files as the published code wrote them; their prefix."""
    weights, names, _ = read_state(whole / "weights_8.pdparams", "a state")
    state, *_ = read_state(whole / "weights_8.pdopt", "a state")
    velocities = {name: state[f"{names[name]}_velocity_0"] for name in weights}
    assert all(array.any() for array in velocities.values())
    momentum = paddle_2_2.published_momentum(velocities, epochs=3)
    paddle_2_2.save(paddle_2_2.published_weights(weights), tmp_path / "old_8.pdparams")
    paddle_2_2.save(momentum, tmp_path / "old_8.pdopt")
    return tmp_path / "old_8"


@pytest.mark.parametrize("ending", ["", ".pdparams"])
def test_a_state_of_the_published_code_goes_on_after_last_epoch(
    small_data, whole, published, tmp_path, ending
):
    begin = ["--resume", f"{published}{ending}"]
    with pytest.raises(UserError, match=r"old_8\.npz: missing; --last-epoch N says how many"):
        train(small_data, tmp_path, *begin)
    assert train(small_data, tmp_path, *begin, "--last_epoch", "3") == 0
    assert log_of(tmp_path).count("Start training from epoch 4.") == 1
    assert progress_of(tmp_path)["epoch"] == 4
    ours = ["--resume", whole / "weights_8", "--last-epoch", "3"]
    assert train(small_data, tmp_path / "ours", *ours) == 0
    assert_same_state(tmp_path, tmp_path / "ours")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.clear(), r"old_8\.pdopt: not the state of Momentum"),
        (lambda state: state.update({"linear_0.b_0_velocity_0": [[1], [1, 2]]}), "linear_0.b_0"),
    ],
)
def test_what_is_no_optimizer_s_state_is_told(small_data, published, tmp_path, change, message):
    path = published.with_suffix(".pdopt")
    state, *_ = read_state(path, "a state")
    change(state)
    paddle.save(state, str(path))
    with pytest.raises(UserError, match=message):
        train(small_data, tmp_path, "--resume", published, "--last-epoch", "3")
    path.unlink()
    with pytest.raises(UserError, match=r"old_8\.pdopt: missing"):
        train(small_data, tmp_path, "--resume", published, "--last-epoch", "3")


# States that are not of this training, or of none.


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--bit", "16"], r"last_8\.npz: weights for 8 bits, --bit 16 was asked for"),
        (["--optimizer", "AdamW"], "optimizer is AdamW, the saved training had SGD"),
        (["--optimizer", "AdamW", "--force-resume"], r"last_8\.npz: not the state of AdamW"),
        (["--last-epoch", "3"], r"--last-epoch 3: .*last_8\.npz says 4 epochs"),
    ],
)
def test_a_state_of_another_training_is_refused(small_data, copy, flags, message):
    with pytest.raises(UserError, match=message):
        resume(small_data, copy, *flags, epochs=5)


def other_progress(**values):
    """Changes a state's progress."""
    return lambda parts, record: record["progress"].update(values)


def other_settings(**values):
    """Changes the settings that a state was trained with."""
    return lambda parts, record: record["settings"].update(values)


SHORTER = np.zeros((11, 8), np.float32)
HUGE = 10**400  # JSON has such numbers, floats have not
ODD = [
    (lambda parts, record: parts["network"].pop("features.0.bias"), "missing: features.0.bias"),
    (lambda parts, record: parts.pop("bank_0"), "missing: codes, labels"),
    (lambda parts, record: parts["bank_0"].update(codes=SHORTER), r"\[11, 8\].* \[12, 8\]"),
    (lambda parts, record: parts["optimizer"].popitem(), "not the state of Momentum"),
    (lambda parts, record: record.pop("progress"), "'progress'"),
    (other_progress(epoch=-1), "whole numbers from 0"),
    (other_progress(losses=[1.0]), "does not fit together"),
    (other_progress(losses=[HUGE], counts=[4]), "not a training state"),
    (other_progress(best_map=[0.5]), "not a training state"),
    (other_progress(epoch=1 << 40), "whole numbers from 0"),
    (other_settings(batch_size="4"), "batch_size"),
    (other_settings(batch_size=HUGE, ranks=2), "batch_size"),
    (other_settings(data=[]), "data"),
]


@pytest.mark.parametrize(("change", "message"), ODD)
def test_what_is_no_training_s_state_is_told(small_data, copy, change, message):
    path = copy / "last_8.npz"
    parts, record, _ = read_training_state(path)
    change(parts, record)
    write_training_state(path, parts, record)
    with pytest.raises(UserError, match=message) as error:
        resume(small_data, copy, epochs=5)
    assert str(path) in str(error.value)


# What counts as another training, and what does not.

SAVED = {
    **Config().settings(),
    "ranks": 1,
    "data": {"train list": "aa", "test list": "bb", "database list": "cc"},
}
COUNTS = {
    **{"learning_rate": 0.5, "seed": 1, "batch_size": 32, "optimizer": "AdamW", "topK": 100},
    **{"weight_decay": 0.0, "crop_size": 200, "fast_decode": True, "step_continuation": 5},
    **{"exclude_self": True, "amp": True, "tf32": True},
    **{"no_weighting": True, "no_continuation": True},
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_setting_that_decides_what_is_computed_counts(name):
    expected = [f"{name} is {COUNTS[name]}, the saved training had {SAVED[name]}"]
    assert differences(SAVED, {**SAVED, name: COUNTS[name]}) == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"epoch": 300, "debug_steps": 1, "save_epoch": 5, "save_minutes": 1.0, "eval_epoch": 5},
        {"data_path": "elsewhere", "dataset": "a copy", "output_dir": "elsewhere"},
        {"num_workers": 7, "device": "cpu", "cache_dir": "cache", "on_bad_image": "skip"},
        {"resume": "output/last_64", "backbone_weights": "none"},
        {"sampling": "shard"},
        {"ranks": 2},
        {"ranks": 2, "sampling": "shard"},
        {"ranks": 2, "batch_size": 32, "sampling": "shard"},
    ],
)
def test_the_machine_and_how_long_and_how_often_do_not_count(settings):
    assert differences(SAVED, {**SAVED, **settings}) == []


def test_a_state_from_before_there_were_ablations_is_of_the_full_method():
    old = {name: value for name, value in SAVED.items() if not name.startswith("no_")}
    assert differences(old, SAVED) == []
    expected = ["no_weighting is True, the saved training had False"]
    assert differences(old, {**SAVED, "no_weighting": True}) == expected


def test_between_several_ranks_another_sampling_counts():
    shard = {**SAVED, "ranks": 2, "sampling": "shard"}
    (difference,) = differences(shard, {**shard, "sampling": "replicate"})
    assert difference == "sampling is replicate, the saved training had shard"
    assert differences(shard, {**shard, "ranks": 4, "batch_size": 32}) == []
    assert samples_per_step(shard) == 128


def test_resume_alone_goes_on_with_the_saved_settings_in_the_state_s_folder(small_data, copy):
    config = parse_config(TRAIN_COMMAND, ["--resume", str(copy / "last_8")])
    expected = {"bit": 8, "epoch": 4, "learning_rate": 0.02, "batch_size": 4, "crop_size": 63}
    assert {name: getattr(config, name) for name in expected} == expected
    assert (config.dataset, config.output_dir) == (str(small_data), str(copy))
    assert config.save_epoch == 0, "how often is saved is this run's own"
    flags = ["--resume", str(copy / "last_8"), "--epoch", "9", "--alpha", "0.3"]
    given = parse_config(TRAIN_COMMAND, flags)
    assert (given.epoch, given.alpha, given.eval_epoch) == (9, 0.3, 3)
    assert run_small(config) == 0
    assert "Nothing to train: 4 epochs are done already, --epoch asks for 4" in log_of(copy)


def test_another_data_set_s_folders_are_not_taken_from_the_saved_settings(copy):
    flags = ["--resume", str(copy / "last_8"), "--dataset", "coco_lite"]
    found = parse_config(TRAIN_COMMAND, flags)
    assert (found.num_class, found.topK) == (80, 5000)
    assert found.data_path.endswith("datasets/coco_lite")


@pytest.mark.parametrize("value", ["many", 10**400, [], None, 1.5])
def test_saved_settings_that_are_none_are_told(copy, value):
    path = copy / "last_8.npz"
    parts, record, _ = read_training_state(path)
    record["settings"]["epoch"] = value
    write_training_state(path, parts, record)
    with pytest.raises(UserError, match=r"last_8\.npz: epoch: |--epoch: expected 1 or more"):
        parse_config(TRAIN_COMMAND, ["--resume", str(path)])


def test_with_one_more_image_the_bank_begins_empty_by_force_alone(small_data, copy, tmp_path):
    more = shutil.copytree(small_data, tmp_path / "more")
    shutil.copy(more / "train0.png", more / "new.png")
    with (more / "train.txt").open("a") as file:
        file.write("new.png 1 0 0\n")
    flags = ["--dataset", more, "--data-path", more]
    with pytest.raises(UserError, match=r"the train list is .* --force-resume"):
        resume(small_data, copy, *flags, epochs=5)
    assert resume(small_data, copy, *flags, "--force-resume", epochs=5) == 0
    assert "The bank begins empty: the saved one is of other images or labels" in log_of(copy)
    assert read_training_state(copy / "last_8.npz")[0]["bank_0"]["codes"].shape == (13, 8)


def test_epochs_that_come_again_stand_once_in_the_metrics_file(small_data, copy):
    path = copy / "train/metrics_8.jsonl"
    rows = path.read_bytes()
    assert [row["epoch"] for row in epochs_of(copy)] == [1, 2, 3, 4]
    again = rows.splitlines(keepends=True)[-1].replace(b": 4,", b": 5,", 1)
    path.write_bytes(rows + again + b'{"epoch": "x"}\n' + b"[" * 99_999)
    assert resume(small_data, copy, epochs=5) == 0
    assert [row["epoch"] for row in epochs_of(copy)] == [1, 2, 3, 4, 5]
