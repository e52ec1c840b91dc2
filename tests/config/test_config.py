"""Settings: which source wins, how flags are spelled, what is refused, what --help shows."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from helpers import COMMANDS

from utils.config import (
    EXPORT_COMMAND,
    INFER_COMMAND,
    PREDICT_COMMAND,
    TRAIN_COMMAND,
    Config,
    command_to_resume,
    next_command,
    parse_config,
)
from utils.config.parser import build_parser
from utils.system import runtime
from utils.system.errors import UserError
from utils.system.state_files import write_training_state


def train(*arguments):
    """Parses a training's command line."""
    return parse_config(TRAIN_COMMAND, list(map(str, arguments)))


def check(config, **expected):
    """Settings have these values."""
    assert {name: getattr(config, name) for name in expected} == expected


@pytest.fixture
def mine(tmp_path):
    """Path of a data set's folder whose dataset.yaml says 7 labels and K = 70."""
    folder = tmp_path / "mine"
    folder.mkdir()
    entries = {"name": "mine", "num_class": 7, "topK": 70, "data_path": "/images"}
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
    check(found, model="HashNet", bit=16, seed=2000, eval=False, pretrained=None, resume=None)
    check(found, debug_steps=50, dataset="coco", num_class=80, topK=5000, crop_size=224)
    check(found, resize_size=256, batch_size=64, last_epoch=0, eval_epoch=10, alpha=0.1)
    check(found, step_continuation=20, learning_rate=1e-3, de_step=50, epoch=150)
    check(found, optimizer="SGD", weight_decay=5e-4, momentum=0.9, log_path=None)
    check(found, output_dir="./output", save_epoch=0, save_minutes=5, topk=10, device="auto")
    assert found.data_path.rstrip("/").endswith("datasets/COCO2014")
    assert (str(found.paths.last), found.info.name) == ("output/last_16.npz", "coco")
    assert found.weights == "output/weights_16.pdparams"


def test_command_line_beats_settings_file_beats_dataset_yaml_beats_default(mine, settings):
    file = settings({"topK": 71, "num_class": 8, "bit": 32})
    check(train("--dataset", mine), num_class=7, topK=70, data_path="/images", bit=16)
    found = train("--dataset", mine, "--config", file)
    check(found, num_class=8, topK=71, data_path="/images", bit=32)
    found = train("--dataset", mine, "--config", file, "--topK", 72, "--data-path", "/mine")
    check(found, num_class=8, topK=72, data_path="/mine", bit=32)
    found = train("--dataset", mine, "--config", file, "--bit", 16, "--topK", 5000)
    check(found, topK=5000, bit=16)  # a flag that repeats the default beats them too
    check(train("--config", settings({"dataset": str(mine)})), dataset=str(mine), num_class=7)


def test_hyphens_underscores_and_published_short_flags():
    for flag in ("--batch-size 3", "--batch_size 3", "--batch_size=3", "--batch-size=3", "-bs 3"):
        assert train(*flag.split()).batch_size == 3, flag
    found = train("-ee", 2, "-lr", 0.5, "-e", 3, "-op", "AdamW", "-wd", 0.25)
    check(found, eval_epoch=2, learning_rate=0.5, epoch=3)
    check(found, optimizer="AdamW", weight_decay=0.25)
    found = train("--data_path=/my_data", "--output-dir", "my_run")
    check(found, data_path="/my_data", output_dir="my_run")


def test_keys_of_a_settings_file_may_have_hyphens_numbers_no_dot_and_bounds_hold(settings):
    found = train("--config", settings("batch-size: 5\nlearning_rate: 1e-4\nmomentum: 0\n"))
    check(found, batch_size=5, learning_rate=1e-4, momentum=0.0)
    assert isinstance(found.momentum, float)
    with pytest.raises(UserError, match=r"--bit: 513-bit codes: .*from 1 to 512"):
        train("--config", settings({"bit": 513}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--bits 64", "--bits"),
        ("--bit 1.5", r"--bit.*1\.5"),
        ("--optimizer Adam", "--optimizer.*Adam.*SGD"),
        ("--dataset cocoa", "--dataset cocoa: unknown data set"),
        ("--config none.yaml", r"none\.yaml: missing"),
        ("--resume none --data-path none", r"none\.npz: missing; --resume names a state"),
        ("--bit 0", "--bit: 0-bit codes: .* from 1 to 512"),
        ("--batch-size 0", "--batch-size: expected 1 or more, found 0"),
        ("--epoch 2147483648", "--epoch: expected 1 or more and less than"),
        ("--num_workers -1", "--num-workers: "),
        ("--learning-rate nan", "--learning-rate: "),
        ("--seed -1", "--seed: "),
        ("--topK 0", "--topK: expected 1 or more, or -1 for all, found 0"),
        ("--topK -2", "--topK: "),
        ("--crop_size 62", "--crop-size: "),
        ("--resize-size 1000000", "--resize-size: expected 63 or more and less than 4096"),
        ("--cpu-threads 2000000000", "--cpu-threads: .*less than 1024"),  # Paddle would crash
        ("--crop-size 300", "--crop-size 300: larger than --resize-size 256"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(arguments, message):
    with pytest.raises(UserError, match=message) as error:
        train(*arguments.split())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("flag", ["--resume", "--pretrained", "--output-dir", "--img", "--config"])
def test_an_empty_value_is_not_taken_for_none(flag):
    command = PREDICT_COMMAND if flag == "--img" else TRAIN_COMMAND
    message = "directory" if flag == "--config" else f"{flag}: its value is empty"
    with pytest.raises(UserError, match=message):
        parse_config(command, ["--dataset", "coco_lite", flag, ""])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("bitt: 64\n", "unknown key 'bitt'; did you mean 'bit'"),
        ("xyzzy: 1\n", "unknown key 'xyzzy'; known keys: .*bit"),
        ("bit: true\n", "bit: expected int, found True"),
        ("bit:\n", "bit: expected int, found None"),
        ("momentum: much\n", "momentum: expected float, found 'much'"),
        ("optimizer: Adam\n", "optimizer: expected one of SGD, RMSProp, AdamW, found 'Adam'"),
        ("bit: [\n", "not valid YAML"),
        ('output_dir: "\\ud800"\n', "output_dir: expected str"),  # no system takes such a path
        ("bit: 16\nbit: 64\n", "line 2: not valid YAML: 'bit' stands there twice"),
        ("eval_epoch: 1\neval-epoch: 2\n", "eval-epoch stands there twice"),
        ("1: 2\n", "line 1: not valid YAML: a key that is no text"),
    ],
)
def test_a_wrong_settings_file_s_message_names_file_and_key(settings, content, message):
    with pytest.raises(UserError, match=r"settings\.yaml.*" + message) as error:
        train("--config", settings(content))
    assert "\n" not in str(error.value)


def test_the_published_search_command_parses_and_has_64_bits_by_itself(settings):
    arguments = ["--bit", "64", "--data_path", "DIR", "--img", "a.jpg", "--save_path", "./output"]
    found = parse_config(PREDICT_COMMAND, arguments)
    check(found, bit=64, data_path="DIR", img=("a.jpg",), save_path="./output")
    check(parse_config(PREDICT_COMMAND, []), bit=64, img=(), show=False, dataset="coco")
    file = ["--config", str(settings({"bit": 32}))]
    check(parse_config(PREDICT_COMMAND, file), bit=32)
    found = parse_config(INFER_COMMAND, ["--img-path", "a.jpg", "b.jpg", "--use-gpu", "False"])
    check(found, img=("a.jpg", "b.jpg"), use_gpu=False)


def test_saved_settings_give_the_same_run_and_hold_the_command_s_alone(mine, settings):
    first = train(
        *["--dataset", mine, "--bit", 48, "-lr", 1e-5, "-op", "RMSProp", "--topK", -1],
        *["--pretrained", "a/weights_48", "--eval", "--cpu-threads", 1],
    )
    again = train("--config", settings(first.as_yaml()))
    assert again.settings() == first.settings() != replace(first, learning_rate=1e-4).settings()
    assert again.weights == "a/weights_48"
    saved = yaml.safe_load(first.as_yaml())
    assert {"bit", "learning_rate", "pretrained"} <= saved.keys()
    assert not {"img", "save_path", "nprocs", "info", "paths"} & saved.keys()


def test_a_resume_s_command_line_says_where_to_go_on_and_keeps_the_rest():
    given = ["main.py", "--resume=old", "--last_epoch", "3", "--data-path", "my data"]
    expected = "python main.py --data-path 'my data' --resume output/last_8"
    assert command_to_resume("output/last_8", given) == expected
    assert command_to_resume(None, given[:2]) == "python main.py --resume=old"


@pytest.mark.parametrize(("folder", "told"), [("output", {}), ("mine", {"output_dir": "mine"})])
def test_a_resumed_training_stays_in_its_folder(folder, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / folder).mkdir()
    write_training_state(tmp_path / folder / "last_16.npz", {}, {"settings": {"bit": 16}})
    config = train("--resume", f"{folder}/last_16")
    assert config.paths.folder == Path(folder)
    assert config.changed() == {"resume": f"{folder}/last_16", **told}


def test_what_differs_from_the_defaults_and_the_data_set_s_is_told_and_goes_on_to_the_next_step():
    config = train(
        "--dataset", "coco_lite", "--data-path", "my data", "--epoch", 3, "--exclude-self"
    )
    others = {"dataset": "coco_lite", "data_path": "my data", "epoch": 3, "exclude_self": True}
    assert config.changed() == others
    assert train("--dataset", "cifar10", "--num-class", 10, "--topK", -1).changed() == {
        "dataset": "cifar10"
    }
    other = train("--dataset", "cifar10", "--topK", 5000, "--on-bad-image", "skip")
    assert other.changed() == {"dataset": "cifar10", "topK": 5000, "on_bad_image": "skip"}
    told = next_command(other, "a.py", TRAIN_COMMAND)
    assert told == "python a.py --bit 16 --dataset cifar10 --on-bad-image skip --topK 5000"
    shared = "python a.py --bit 16 --dataset coco_lite --data-path 'my data'"
    assert (
        next_command(config, "a.py", TRAIN_COMMAND, "--eval") == f"{shared} --exclude-self --eval"
    )
    assert next_command(config, "a.py", PREDICT_COMMAND) == shared
    assert next_command(train(), "a.py", EXPORT_COMMAND) == "python a.py --bit 16"


@pytest.mark.parametrize(
    ("cores", "flag", "threads"), [(2, None, 2), (99, None, 16), (2, 0, 0), (2, 5, 5)]
)
def test_loading_threads_are_the_cores_unless_the_user_says_otherwise(
    monkeypatch, cores, flag, threads
):
    monkeypatch.setattr(runtime, "usable_cores", lambda: cores)
    config = replace(train(), num_workers=flag)
    assert config.loader_options(config.transform()).threads == threads
    monkeypatch.setenv("PADDLE_LOCAL_SIZE", "2")  # processes share the cores
    assert runtime.cores_for_each() == cores // 2 and runtime.cores_for_each(200) == 1


def test_flags_reach_the_transform():
    found = train("--fast-decode", "--resize-size", 240, "--crop-size", 200)
    transform = found.transform(train=True)
    assert (transform.resize.side, transform.resize.least_side) == (240, 200)
    assert (transform.crop_size, transform.random) == (200, True)
    assert not found.transform().random


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
    for name, option in Config.options().items():
        if COMMANDS[script].name in option.commands:
            words = (f"--{name.replace('_', '-')}", f"{option.group}:", *option.short, "examples:")
            assert all(word in helped.stdout for word in words), name
    assert helped.stdout.endswith("status 0 False\n"), helped.stderr
    mistaken = run("-c", probe, script, "--bit", "0", "--img", "a.jpg")
    assert mistaken.stdout.endswith("status 2 False\n")
    assert mistaken.stderr.startswith("error: ") and mistaken.stderr.count("\n") == 1


def test_settings_of_another_command_are_passed_over_and_a_misspelt_flag_is_guessed(settings):
    saved = settings({"bit": 32, "backbone_weights": "none", "epoch": 3, "img": "a.jpg"})
    check(train("--config", saved), bit=32, epoch=3)
    check(parse_config(PREDICT_COMMAND, ["--config", str(saved)]), bit=32, img=("a.jpg",))
    for words, near in (["--epochs", "3"], "--epoch"), (["--learning_rates=1"], "--learning-rate"):
        with pytest.raises(
            UserError, match=rf"unknown flag {words[0][:6]}.*; did you mean {near}\?"
        ):
            train(*words)


SUBCOMMANDS = {
    "deploy.search.index": ("add", "sync", "remove", "info", "search", "copy"),
    "deploy.search.serve": (),
    "scripts.benchmark": ("encode", "train", "loss", "retrieval", "index"),
    "scripts.check_data": (),
    "scripts.prepare_data": ("folder", "import", "coco", "voc2012"),
    "scripts.report": (),
    "scripts.score_codes": (),
    "scripts.sweep": (),
}


@pytest.mark.parametrize("name", [*COMMANDS, *SUBCOMMANDS])
def test_help_fits_a_terminal_of_80_columns(name, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    if name in COMMANDS:
        shown = build_parser(COMMANDS[name]).format_help()
    else:
        for words in ["--help"], *([each, "--help"] for each in SUBCOMMANDS[name]):
            with pytest.raises(SystemExit):
                importlib.import_module(name).parse_arguments(words)
        shown = capsys.readouterr().out
    assert "--help" in shown
    assert [line for line in shown.splitlines() if len(line) > 80] == []
