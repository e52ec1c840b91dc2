"""Command line, YAML file and data set card → one frozen `Config`."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from utils.config.command_line import Parser
from utils.config.options import EXPORT, INFER, PREDICT, TRAIN, TRAIN_MULTI, Config, Option
from utils.datasets.info import Card, read_card, read_yaml_mapping
from utils.system.errors import UserError

_NOT_GIVEN = object()
_OPTIONS: dict[str, Option] = {f.name: f.metadata["option"] for f in fields(Config)}
_DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(Config)}


@dataclass(frozen=True)
class Command:
    """One command line: its name among the options, and the texts around its `--help`."""

    name: str
    description: str
    examples: str


TRAIN_COMMAND = Command(
    TRAIN,
    "Trains HashNet, or evaluates trained weights with --eval.",
    """\
  python main_single_gpu.py --bit 64 --dataset coco_lite --backbone-weights none
  python main_single_gpu.py --bit 64 --dataset coco_lite --eval --pretrained output/weights_64
  python main_single_gpu.py --bit 64 --dataset coco_lite --resume output/last_64""",
)
TRAIN_MULTI_COMMAND = Command(
    TRAIN_MULTI,
    "Trains HashNet on several devices, or evaluates trained weights with --eval.",
    """\
  python main_multi_gpu.py --bit 64                       (a process on each visible GPU)
  python main_multi_gpu.py --bit 64 --dataset coco_lite --nprocs 2 --device cpu
  python -m paddle.distributed.launch main_multi_gpu.py --bit 64""",
)
PREDICT_COMMAND = Command(
    PREDICT,
    "Finds the database pictures nearest to a query picture, in Hamming distance.",
    """\
  python predict.py --bit 64 --dataset coco_lite --img my_picture.jpg
  python predict.py --bit 64 --data_path DIR --img my_picture.jpg --save_path ./output""",
)
EXPORT_COMMAND = Command(
    EXPORT,
    "Exports trained weights as a model for Paddle Inference.",
    """\
  python export_model.py --bit 64 --pretrained output/weights_64 --save-inference-dir DIR
  python export_model.py --bit 64 --input uint8 --output codes   (raw pictures in, codes out)""",
)
INFER_COMMAND = Command(
    INFER,
    "Finds the database pictures nearest to a query picture, through an exported model.",
    """\
  python deploy/inference_python/infer.py --bit 64 --model-dir DIR --img-path my_picture.jpg
  python deploy/inference_python/infer.py --bit 64 --model-dir DIR --img-path my_folder \\
      --batch-size 8 --benchmark True""",
)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def build_parser(command: Command) -> argparse.ArgumentParser:
    """The command's parser, its flags in groups; what it parses holds only what was given."""
    parser = Parser(
        description=command.description,
        epilog=f"Each flag may be written with - or with _.\n\nexamples:\n{command.examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", metavar="FILE", help="YAML file of settings; flags given here beat it"
    )
    groups: dict[str, Any] = {}
    for field in fields(Config):
        option = _OPTIONS[field.name]
        if command.name not in option.commands:
            continue
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        _add(groups[option.group], field.name, option, field.default)
    return parser


_METAVARS = {int: "N", float: "X", bool: "True|False"}


def _true_or_false(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected True or False, found {text!r}")
    return text.lower() == "true"


def _add(group, name: str, option: Option, default: Any) -> None:
    text = option.help
    is_switch = option.kind is bool and not option.valued
    if default not in (None, ()) and not is_switch and "default" not in text:
        text += f" (default: {default})"
    details: dict[str, Any] = {"dest": name, "default": _NOT_GIVEN, "help": text}
    if is_switch:
        details["action"] = "store_true"
    else:
        kind = _true_or_false if option.valued else option.kind
        details.update(type=kind, choices=option.choices)
        if option.many:
            details["nargs"] = "+"
        if not option.choices:
            details["metavar"] = _METAVARS.get(option.kind, "PATH")
    group.add_argument(*option.short, _flag(name), **details)


def parse_config(command: Command, arguments: Sequence[str] | None = None) -> Config:
    """Resolves a run's settings: defaults < data set card < YAML file < command line.

    Args:
        command: which command's flags.
        arguments: the command line without the program's name; None: the process's own.

    Raises:
        UserError: an unknown flag or key, a value of the wrong type or out of bounds, an unknown
            data set.
    """
    given = vars(build_parser(command).parse_args(arguments))
    file = given.pop("config")
    given = {
        name: tuple(value) if _OPTIONS[name].many else value
        for name, value in given.items()
        if value is not _NOT_GIVEN
    }
    from_file = _read_settings(Path(file), command) if file else {}
    chosen = {**from_file, **given}
    card = read_card(chosen.get("dataset", Config.dataset))
    config = replace(Config(), **{**_card_settings(card), **chosen})
    _check(config, command)
    return config


def _card_settings(card: Card) -> dict[str, Any]:
    data_path = Path(card.data_path)
    return {
        "num_class": card.num_class,
        "topK": card.topK,
        "data_path": str(data_path if data_path.is_absolute() else _near(data_path)),
    }


def _near(path: Path) -> Path:
    """A path of the repository, short where the command runs in the repository's root."""
    root = Path(__file__).resolve().parent.parent.parent
    return path if Path.cwd() == root else root / path


def _read_settings(path: Path, command: Command) -> dict[str, Any]:
    known = [name for name, option in _OPTIONS.items() if command.name in option.commands]
    settings = {}
    for key, value in read_yaml_mapping(path).items():
        name = str(key).replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(known)}"
            raise UserError(f"{path}: unknown key {key!r}{hint}")
        if value is None and _DEFAULTS[name] is None:
            settings[name] = None
        else:
            settings[name] = _typed(f"{path}: {key}", value, _OPTIONS[name])
    return settings


def _typed(where: str, value: Any, option: Option) -> Any:
    if option.many:
        values = value if isinstance(value, list) else [value]
        return tuple(_typed(where, each, replace(option, many=False)) for each in values)
    if option.kind is float and type(value) in (int, str):
        try:
            return float(value)  # YAML reads 1e-3, without a dot, as text
        except ValueError:
            pass
    if type(value) is not option.kind:
        raise UserError(f"{where}: expected {option.kind.__name__}, found {value!r}")
    if option.kind is str and "\0" in value:  # the system takes no such path
        raise UserError(f"{where}: expected text, found {value!r}")
    if option.choices and value not in option.choices:
        raise UserError(f"{where}: expected one of {', '.join(option.choices)}, found {value!r}")
    return value


def _check(config: Config, command: Command) -> None:
    for name, option in _OPTIONS.items():
        value = getattr(config, name)
        if option.required and command.name in option.commands and not value:
            raise UserError(f"{_flag(name)} is missing: {option.help}")
        limit = 2**31 if option.kind is int else math.inf
        bounded = option.minimum is not None and value is not None
        if bounded and not option.minimum <= value < limit:
            below = "" if value < limit else f" and less than {limit}"
            raise UserError(
                f"{_flag(name)}: expected {option.minimum} or more{below}, found {value}"
            )
    if config.bit % 8 or not 8 <= config.bit <= 512:
        raise UserError(f"--bit: expected a multiple of 8 from 8 to 512, found {config.bit}")
    if config.topK == 0:
        raise UserError("--topK: expected 1 or more, or -1 for all, found 0")
    if config.crop_size > config.resize_size:
        raise UserError(
            f"--crop-size {config.crop_size}: larger than --resize-size {config.resize_size}"
        )


def config_as_yaml(config: Config, command: Command) -> str:
    """A command's settings as YAML text that `--config` takes."""
    settings = asdict(config)
    mine = {n: settings[n] for n, o in _OPTIONS.items() if command.name in o.commands}
    return yaml.safe_dump(mine, sort_keys=False, allow_unicode=True)
