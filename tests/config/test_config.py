"""Settings: which source wins, how flags are spelled, what is refused, what --help shows."""

from __future__ import annotations

import re
import sys
from dataclasses import fields, replace

import pytest
import yaml

from utils.config import (
    PREDICT_COMMAND,
    TRAIN_COMMAND,
    build_parser,
    config_as_yaml,
    parse_config,
)
from utils.config.options import Config
from utils.system.errors import UserError

COMMANDS = {"main_single_gpu.py": TRAIN_COMMAND, "predict.py": PREDICT_COMMAND}


def train(*arguments):
    """Parses a training's command line."""
    return parse_config(TRAIN_COMMAND, list(map(str, arguments)))


@pytest.fixture
def card(tmp_path):
    """Path of a data set folder whose card says 7 labels and K = 70."""
    folder = tmp_path / "mine"
    folder.mkdir()
    entries = {"name": "mine", "num_class": 7, "topK": 70, "data_path": "/pictures"}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(entries))
    return folder


@pytest.fixture
def settings(tmp_path):
    """Writes a settings file and gives its path."""

    def write(content):
        path = tmp_path / "settings.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


def test_the_defaults_are_the_published_ones():
    found = train()
    published = {
        **{"model": "HashNet", "bit": 16, "seed": 2000, "eval": False, "pretrained": None},
        **{"resume": None, "debug_steps": 50, "dataset": "coco", "num_class": 80, "topK": 5000},
        **{"crop_size": 224, "resize_size": 256, "batch_size": 64, "last_epoch": 0},
        **{"eval_epoch": 10, "alpha": 0.1, "step_continuation": 20, "learning_rate": 1e-3},
        **{"de_step": 50, "epoch": 150, "optimizer": "SGD", "weight_decay": 5e-4},
        **{"momentum": 0.9, "log_path": None, "output_dir": "./output"},
    }
    assert {name: getattr(found, name) for name in published} == published
    assert found.data_path.rstrip("/").endswith("datasets/COCO2014")


def test_the_card_beats_the_default(card):
    found = train("--dataset", card)
    assert (found.num_class, found.topK, found.data_path) == (7, 70, "/pictures")


def test_the_settings_file_beats_the_card(card, settings):
    found = train("--dataset", card, "--config", settings({"topK": 71, "bit": 32}))
    assert (found.topK, found.bit, found.num_class) == (71, 32, 7)


def test_the_command_line_beats_the_settings_file_and_the_card(card, settings):
    file = settings({"topK": 71, "num_class": 8, "bit": 32})
    found = train("--dataset", card, "--config", file, "--topK", 72, "--data-path", "/mine")
    assert (found.topK, found.num_class, found.bit, found.data_path) == (72, 8, 32, "/mine")


def test_a_flag_that_repeats_the_default_still_beats_file_and_card(card, settings):
    found = train("--dataset", card, "--config", settings({"bit": 32}), "--bit", 16, "--topK", 5000)
    assert (found.bit, found.topK) == (16, 5000)


def test_the_settings_file_may_name_the_data_set(card, settings):
    found = train("--config", settings({"dataset": str(card)}))
    assert (found.dataset, found.num_class) == (str(card), 7)


@pytest.mark.parametrize(
    "spelling",
    [
        ["--batch-size", "3"],
        ["--batch_size", "3"],
        ["--batch_size=3"],
        ["--batch-size=3"],
        ["-bs", "3"],
    ],
)
def test_hyphens_underscores_and_short_flags_are_the_same(spelling):
    assert train(*spelling).batch_size == 3


def test_an_underscore_in_a_value_stays():
    assert train("--data_path=/my_data", "--output-dir", "my_run").data_path == "/my_data"
    assert train("--data_path=/my_data", "--output-dir", "my_run").output_dir == "my_run"


def test_short_flags_are_the_published_ones():
    found = train("-bs", 1, "-ee", 2, "-lr", 0.5, "-e", 3, "-op", "AdamW", "-wd", 0.25)
    assert (found.batch_size, found.eval_epoch, found.learning_rate) == (1, 2, 0.5)
    assert (found.epoch, found.optimizer, found.weight_decay) == (3, "AdamW", 0.25)


def test_keys_of_a_settings_file_may_have_hyphens(settings):
    found = train("--config", settings("batch-size: 5\nlearning_rate: 1e-4\nmomentum: 0\n"))
    assert (found.batch_size, found.learning_rate, found.momentum) == (5, 1e-4, 0.0)
    assert isinstance(found.momentum, float)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bits", "64"], "--bits"),
        (["--batch", "64"], "--batch"),
        (["stray"], "stray"),
        (["--bit"], "--bit.*expected one argument"),
        (["--bit", "many"], "--bit.*many"),
        (["--bit", "1.5"], "--bit.*1.5"),
        (["--learning-rate", "fast"], "--learning-rate.*fast"),
        (["--optimizer", "Adam"], "--optimizer.*Adam.*SGD"),
        (["--device", "tpu"], "--device.*tpu"),
        (["--model", "AlexNet"], "--model"),
        (["--dataset", "cocoa"], "--dataset cocoa: unknown data set"),
        (["--bit", "0"], "--bit: expected a multiple of 8 from 8 to 512, found 0"),
        (["--bit", "12"], "--bit: .*12"),
        (["--bit", "520"], "--bit: .*520"),
        (["--bit", "-8"], "--bit: .*-8"),
        (["--batch-size", "0"], "--batch-size: expected 1 or more, found 0"),
        (["--epoch", "0"], "--epoch: "),
        (["--num_workers", "-1"], "--num-workers: "),
        (["--learning-rate", "-0.1"], "--learning-rate: "),
        (["--learning-rate", "nan"], "--learning-rate: "),
        (["--seed", "-1"], "--seed: "),
        (["--topK", "0"], "--topK: expected 1 or more, or -1 for all, found 0"),
        (["--topK", "-2"], "--topK: "),
        (["--num-class", "0"], "--num-class: "),
        (["--crop_size", "62"], "--crop-size: "),
        (["--crop-size", "300"], "--crop-size 300: larger than --resize-size 256"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(arguments, message):
    with pytest.raises(UserError, match=message) as error:
        train(*arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("bitt: 64\n", "unknown key 'bitt'; did you mean 'bit'"),
        ("learning_rates: 1\n", "unknown key 'learning_rates'; did you mean 'learning_rate'"),
        ("xyzzy: 1\n", "unknown key 'xyzzy'; known keys: .*bit"),
        ("img: a.jpg\n", "unknown key 'img'"),
        ("bit: '64'\n", "bit: expected int, found '64'"),
        ("bit: 64.0\n", "bit: expected int, found 64.0"),
        ("bit: true\n", "bit: expected int, found True"),
        ("bit:\n", "bit: expected int, found None"),
        ("eval: 1\n", "eval: expected bool, found 1"),
        ("momentum: true\n", "momentum: expected float, found True"),
        ("momentum: much\n", "momentum: expected float, found 'much'"),
        ("pretrained: 5\n", "pretrained: expected str, found 5"),
        ("optimizer: Adam\n", "optimizer: expected one of SGD, RMSProp, AdamW, found 'Adam'"),
        ("- bit\n", "expected `name: value` lines"),
        ("bit: [\n", "not valid YAML"),
    ],
)
def test_a_wrong_settings_file_s_message_names_file_and_key(settings, content, message):
    with pytest.raises(UserError, match=r"settings\.yaml.*" + message) as error:
        train("--config", settings(content))
    assert "\n" not in str(error.value)


def test_bounds_hold_for_the_settings_file_too(settings):
    with pytest.raises(UserError, match="--bit: expected a multiple of 8"):
        train("--config", settings({"bit": 7}))


def test_a_missing_settings_file_is_told(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: cannot be read"):
        train("--config", tmp_path / "none.yaml")


def test_a_search_without_a_picture_is_told():
    with pytest.raises(UserError, match="--img is missing"):
        parse_config(PREDICT_COMMAND, ["--bit", "64"])


def test_the_published_search_command_parses():
    arguments = ["--bit", "64", "--data_path", "DIR", "--img", "a.jpg", "--save_path", "./output"]
    found = parse_config(PREDICT_COMMAND, arguments)
    assert (found.bit, found.data_path, found.img) == (64, "DIR", ("a.jpg",))
    assert found.save_path == "./output"


def test_saved_settings_give_the_same_run(card, settings):
    first = train(
        *["--dataset", card, "--bit", 48, "-lr", 1e-5, "-op", "RMSProp", "--topK", -1],
        *["--pretrained", "a/weights_48", "--eval", "--cpu-threads", 1],
    )
    again = train("--config", settings(config_as_yaml(first, TRAIN_COMMAND)))
    assert again == first
    assert again != replace(first, learning_rate=1e-4)


def test_saved_settings_hold_the_command_s_settings_and_no_others():
    saved = yaml.safe_load(config_as_yaml(Config(), TRAIN_COMMAND))
    assert "img" not in saved and "save_path" not in saved
    assert {"bit", "learning_rate", "pretrained"} <= saved.keys()


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_help_names_the_command_s_flags_under_headings_with_their_meaning(command):
    text = build_parser(command).format_help()
    mine = [f for f in fields(Config) if command.name in f.metadata["option"].commands]
    flags = {"--" + field.name.replace("_", "-") for field in mine}
    listed = re.findall(r"^  (?:-\S+ .*?, )?(--[\w-]+)", text.partition("\nexamples:")[0], re.M)
    assert set(listed) - {"--help"} == flags | {"--config"}
    for option in (field.metadata["option"] for field in mine):
        assert f"\n{option.group}:\n" in text
        assert " ".join(option.help.split()) in " ".join(text.split())
    assert "examples:" in text


@pytest.mark.parametrize("script", COMMANDS)
def test_help_and_mistakes_are_answered_without_importing_paddle(run, script, repository):
    probe = (
        "import runpy, sys\n"
        "sys.argv[0] = sys.argv[1]; del sys.argv[1]\n"
        f"sys.path.insert(0, {str(repository)!r})\n"
        "try:\n"
        f"    runpy.run_path({str(repository / script)!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    print('status', end.code, 'paddle' in sys.modules)\n"
    )
    helped = run("-c", probe, script, "--help")
    assert helped.stdout.startswith(f"usage: {script}")
    assert helped.stdout.endswith("status 0 False\n"), helped.stderr
    mistaken = run("-c", probe, script, "--bit", "0", "--img", "a.jpg")
    assert mistaken.stdout.endswith("status 2 False\n")
    assert mistaken.stderr.startswith("error: ") and mistaken.stderr.count("\n") == 1


def test_without_arguments_the_process_s_own_are_read(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["main_single_gpu.py", "--bit", "24"])
    assert parse_config(TRAIN_COMMAND).bit == 24
