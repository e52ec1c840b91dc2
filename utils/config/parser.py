"""Command line, YAML file and dataset.yaml → one frozen `Config`."""

from __future__ import annotations

import argparse
import difflib
import inspect
import math
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models import DEFAULT_BACKBONE
from utils.codes import check_bit
from utils.config.options import EXPORT, INFER, PREDICT, TRAIN, TRAIN_MULTI, Config, Option
from utils.datasets.info import in_repository, read_dataset_info, read_yaml_mapping
from utils.system.errors import UserError, short_repr
from utils.system.files import OutputPaths, is_path
from utils.system.state_files import TRAINING, WEIGHTS, find_state, read_record

_OPTIONS = Config.options()
_METAVARS = {int: "N", float: "X", bool: "True|False"}
OF_THIS_RUN = (
    *("resume", "force_resume", "last_epoch", "pretrained", "eval", "eval_first", "output_dir"),
    *("continuous", "curves"),
    *("device", "nprocs", "cpu_threads", "num_workers", "cache_dir", "encoder", "precision"),
    *("debug_steps", "save_minutes", "save_epoch"),
)
"""Settings that `--resume` does not take from the saved training."""
_ALSO_OF_THE_NEXT_STEP = (
    *("dataset", "data_path", "list_path", "allow_outside", "num_class", "topK", "exclude_self"),
    *("crop_size", "resize_size", "fast_decode", "cache_dir", "on_bad_image", "precision", "tf32"),
    *("device", "output_dir"),
)
"""Settings that training, evaluation, search and export of the same weights share."""
_OF_THE_DATA_SET = ("data_path", "list_path", "num_class", "topK")


@dataclass(frozen=True)
class Command:
    """One command line: its name among the options, and the texts around its `--help`.

    `bit` is its default code length: the published commands differ in it.
    """

    name: str
    description: str
    examples: str
    bit: int = Config.bit


TRAIN_COMMAND = Command(
    TRAIN,
    "Trains HashNet, or evaluates trained weights with --eval.",
    """\
  python main_single_gpu.py --bit 64 --dataset coco_lite --backbone-weights none
  python main_single_gpu.py --bit 64 --dataset coco_lite --eval \\
      --pretrained output/weights_64
  python main_single_gpu.py --bit 64 --dataset coco_lite --resume output/last_64""",
)
TRAIN_MULTI_COMMAND = Command(
    TRAIN_MULTI,
    "Trains HashNet on several devices, or evaluates trained weights with --eval.",
    """\
  python main_multi_gpu.py --bit 64        (a process on each visible GPU)
  python main_multi_gpu.py --bit 64 --dataset coco_lite --nprocs 2 --device cpu
  python -m paddle.distributed.launch main_multi_gpu.py --bit 64""",
)
PREDICT_COMMAND = Command(
    PREDICT,
    "Finds the database images nearest to a query image, in Hamming distance.",
    """\
  python predict.py --bit 64 --dataset coco_lite --img my_picture.jpg
  python predict.py --bit 64 --data_path DIR --img my_picture.jpg \\
      --save_path ./output""",
    bit=64,
)
EXPORT_COMMAND = Command(
    EXPORT,
    "Exports trained weights as a model for Paddle Inference or ONNX Runtime.",
    """\
  python export_model.py --bit 64 --pretrained output/weights_64 \\
      --save-inference-dir DIR
  python export_model.py --bit 64 --input uint8 --output codes   (raw images in)
  python export_model.py --bit 64 --format onnx           (runs without Paddle)""",
)
INFER_COMMAND = Command(
    INFER,
    "Finds the database images nearest to a query image, through an exported model.",
    """\
  python deploy/inference_python/infer.py --bit 64 --model-dir DIR \\
      --img-path my_picture.jpg
  python deploy/inference_python/infer.py --bit 64 --model-dir DIR \\
      --img-path my_folder --batch-size 8 --benchmark True""",
)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Fills paragraphs to the terminal's width; those with indented lines, as of examples, stay."""

    def _fill_text(self, text: str, width: int, _indent: str) -> str:
        parts = inspect.cleandoc(text).split("\n\n")
        return "\n\n".join(p if "\n " in p else textwrap.fill(p, width) for p in parts)


class Parser(argparse.ArgumentParser):
    """Takes each flag in `-` and in `_` spelling, but whole; a mistake is a `UserError`.

    Texts around the flags are shown as `_HelpFormatter` has it.
    """

    def __init__(self, **details: Any):
        super().__init__(formatter_class=_HelpFormatter, allow_abbrev=False, **details)

    def parse_known_args(self, args=None, namespace=None):
        args = sys.argv[1:] if args is None else args
        flags = [re.sub("^--[^=]*", lambda flag: flag[0].replace("_", "-"), a) for a in args]
        return super().parse_known_args(flags, namespace)

    def error(self, message: str):
        flag = message.partition("unrecognized arguments: ")[2].split("=")[0].split(" ")[0]
        near = difflib.get_close_matches(flag, self._option_string_actions, n=1)
        if flag and near:
            raise UserError(f"unknown flag {flag}; did you mean {near[0]}?")
        raise UserError(f"{message} ({self.prog} --help lists the flags)")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def build_parser(command: Command) -> argparse.ArgumentParser:
    """The command's parser, its flags in groups; what it parses holds only what was given."""
    parser = Parser(
        description=command.description,
        epilog=f"Each flag may be written with - or with _.\n\nexamples:\n{command.examples}",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="YAML file of settings; flags given here beat it"
    )
    groups: dict[str, Any] = {}
    for name, option in Config.options(command.name).items():
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        default = command.bit if name == "bit" else getattr(Config, name)
        _add(groups[option.group], name, option, default)
    return parser


def _add(group: Any, name: str, option: Option, default: Any) -> None:
    text = option.help
    is_switch = option.kind is bool and not option.valued
    if default not in (None, ()) and not is_switch and "default" not in text:
        text += f" (default: {default})"
    details: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": text}
    if is_switch:
        details["action"] = "store_true"
    else:
        details["type"] = _true_or_false if option.valued else option.kind
        details["choices"] = option.choices
        details["nargs"] = "+" if option.many else None
        details["metavar"] = None if option.choices else _METAVARS.get(option.kind, "PATH")
    group.add_argument(*option.short, _flag(name), **details)


def _true_or_false(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected True or False, found {text!r}")
    return text.lower() == "true"


def parse_config(command: Command, arguments: Sequence[str] | None = None) -> Config:
    """Resolves a run's settings: defaults < dataset.yaml < YAML file < command line.

    Where `--resume` names a training state, the settings it was saved with come before YAML file.
    The `arguments` are without the program's name; None: the process's own. Raises a `UserError`
    for an unknown flag, key or data set, or a value of the wrong type or out of bounds.
    """
    given = vars(build_parser(command).parse_args(arguments))
    file = given.pop("config")
    chosen = {} if file is None else _read_settings(Path(file), command)
    for name, value in given.items():
        chosen[name] = tuple(value) if _OPTIONS[name].many else value
    if chosen.get("resume"):
        chosen = {**_saved_settings(chosen, command), **chosen}
    info = read_dataset_info(chosen.get("dataset", Config.dataset))
    config = replace(Config(bit=command.bit), info=info, **{**info.settings(), **chosen})
    if command.name in (TRAIN, TRAIN_MULTI) and not (config.eval or config.backbone):
        config = replace(config, backbone=DEFAULT_BACKBONE)
    _check(config)
    return replace(config, paths=OutputPaths(config.output_dir, config.bit, config.log_path))


def _read_settings(path: Path, command: Command) -> dict[str, Any]:
    known, settings = Config.options(command.name), {}
    for key, value in read_yaml_mapping(path, "a YAML file of settings").items():
        name = key.replace("-", "_")
        if name in settings:
            raise UserError(f"{path}: {key} stands there twice, once with - and once with _")
        if name in known:
            settings[name] = _typed(f"{path}: {key}", name, value)
        elif name not in _OPTIONS:  # else it is another command's, such as a training's
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(known)}"
            raise UserError(f"{path}: unknown key {short_repr(key)}{hint}")
    return settings


def _saved_settings(chosen: dict[str, Any], command: Command) -> dict[str, Any]:
    """What a training goes on with where nothing else is said: that is its own recipe and data."""
    path = find_state(chosen["resume"], TRAINING)
    if not os.path.lexists(find_state(path, TRAINING, WEIGHTS)):
        raise UserError(f"{path}: missing; --resume names a state, such as output/last_64")
    if not os.path.isfile(path):  # the published code's two files, which say nothing of settings
        return {}
    saved = read_record(path).get("settings")
    if not isinstance(saved, dict):
        raise UserError(f"{path}: not a training state: it has no settings")
    other_data = chosen.get("dataset", saved.get("dataset")) != saved.get("dataset")
    left_out = {*OF_THIS_RUN, *(_OF_THE_DATA_SET if other_data else ())}
    elsewhere = path.parent != Path(Config.output_dir)
    settings: dict[str, Any] = {"output_dir": str(path.parent)} if elsewhere else {}
    for name in Config.options(command.name):
        if name in saved and name not in left_out:
            settings[name] = _typed(f"{path}: {name}", name, saved[name])
    return settings


def _typed(where: str, name: str, value: Any) -> Any:
    """What a file says of a setting, checked; one value stands for a list of one."""
    option = _OPTIONS[name]
    if value is None and getattr(Config, name) is None:
        return None
    if option.many:
        values = value if isinstance(value, list) else [value]
        return tuple(_typed_one(where, each, option) for each in values)
    return _typed_one(where, value, option)


def _typed_one(where: str, value: Any, option: Option) -> Any:
    if option.kind is float and type(value) in (int, str):
        try:
            return float(value)  # YAML reads 1e-3, without a dot, as text
        except (ValueError, OverflowError):
            pass
    wrong = type(value) is not option.kind
    if wrong or (option.kind is str and not is_path(value)):
        raise UserError(f"{where}: expected {option.kind.__name__}, found {short_repr(value)}")
    if option.choices and value not in option.choices:
        known = ", ".join(option.choices)
        raise UserError(f"{where}: expected one of {known}, found {short_repr(value)}")
    return value


def _check(config: Config) -> None:
    for name, option in _OPTIONS.items():
        value = getattr(config, name)
        if "" in (value if option.many else (value,)):  # such as a shell's variable that is not set
            raise UserError(f"{_flag(name)}: its value is empty")
        limit = option.limit if option.kind is int else math.inf
        bounded = option.minimum is not None and value is not None
        if bounded and not option.minimum <= value < limit:
            below = "" if value < limit else f" and less than {limit}"
            raise UserError(
                f"{_flag(name)}: expected {option.minimum} or more{below}, found {value}"
            )
    check_bit(config.bit, "--bit: ")
    if config.topK == 0:
        raise UserError("--topK: expected 1 or more, or -1 for all, found 0")
    if config.crop_size > config.resize_size:
        raise UserError(
            f"--crop-size {config.crop_size}: larger than --resize-size {config.resize_size}"
        )


def command_to_resume(state: str | None, arguments: Sequence[str] | None = None) -> str:
    """The command line that goes on with what this one began.

    `state` is what `--resume` is to name; None: the command line (the process's own) as it was.
    """
    arguments = sys.argv if arguments is None else arguments
    if state is None:
        return shlex.join(["python", *arguments])
    how_to_begin = Parser(add_help=False)
    how_to_begin.add_argument("--resume")
    how_to_begin.add_argument("--last-epoch")
    how_to_begin.add_argument("--eval-first", action="store_true")
    _, kept = how_to_begin.parse_known_args(arguments)
    return shlex.join(["python", *kept, "--resume", state])


def next_command(config: Config, script: str, command: Command, *rest: str) -> str:
    """The command line of the step that follows this one, with the settings that both have."""
    words = ["python", str(in_repository(script)), "--bit", str(config.bit)]
    for name, value in config.changed(command.name).items():
        if name in _ALSO_OF_THE_NEXT_STEP:
            words += [_flag(name)] if value is True else [_flag(name), str(value)]
    return shlex.join([*words, *rest])
