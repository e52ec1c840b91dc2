"""An index of your own images that grows: `python deploy/search/index.py COMMAND --help`.

INDEX says where it is kept:
  pictures.db               a SQLite file, which needs nothing else
  milvus:FILE.db            a file of Milvus Lite
  http://HOST:19530[/NAME]  a Milvus server; MILVUS_TOKEN is its token
Milvus needs pip install -r requirements-search.txt.

examples:
  python deploy/search/index.py sync pictures.db my_pictures \\
      --model-dir output/inference
  python deploy/search/index.py search pictures.db --img query.jpg \\
      --where "label = 'cat'"
  python deploy/search/index.py copy pictures.db --to http://localhost:19530
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
if __name__ == "__main__":
    import utils.system.interrupt  # noqa: F401  (first of all: Ctrl-C is told in a line)

import argparse
import json
from pathlib import Path
from typing import Any

from utils.config.parser import Parser
from utils.datasets.info import RESIZES
from utils.search import find_images
from utils.search.index import MODEL, Changes, ImageIndex, folder_name, load_encoder, open_store
from utils.system.errors import UserError, printable, run_command, tell
from utils.system.logger import log_to_console

SHOWN = 20
"""Images left out that are named."""
NETWORK = {
    "--model-dir": {"metavar": "DIR", "help": "folder that export_model.py wrote"},
    "--pretrained": {"metavar": "PATH", "help": "trained weights, such as output/weights_64"},
    "--bit": {"type": int, "metavar": "N", "help": "length of the codes (default: the model's)"},
    "--precision": {"choices": ("fp32", "bf16", "fp16"), "help": "default: fp32"},
    "--resize": {"choices": RESIZES, "help": "with --pretrained; default: short_side"},
    "--resize-size": {"type": int, "metavar": "N", "help": "with --pretrained; default: 256"},
    "--crop-size": {"type": int, "metavar": "N", "help": "with --pretrained; default: 224"},
}
"""Flags that say what an index's network is; it keeps what is given when it is made."""


def add(arguments: argparse.Namespace) -> None:
    """Adds images, and all below folders; only new and changed ones are encoded."""
    with open_index(arguments) as index:
        _report(index, index.add(arguments.paths, _labels(arguments)))


def sync(arguments: argparse.Namespace) -> None:
    """Makes an index follow a folder: adds new and changed images, removes vanished ones."""
    with open_index(arguments) as index:
        _report(index, index.sync(arguments.folder, _labels(arguments)))


def remove(arguments: argparse.Namespace) -> None:
    """Removes images by path, and all below folders, whether the files are there or not."""
    with ImageIndex(open_store(arguments.index)) as index:
        removed = index.remove(arguments.paths)
        if not removed:
            raise UserError(f"{arguments.paths[0]}: not in the index, nor is anything below it")
        tell(f"{arguments.index}: {removed} removed; {len(index)} images")


def info(arguments: argparse.Namespace) -> None:
    """Says how many images an index holds, and of which network their codes are."""
    with ImageIndex(open_store(arguments.index)) as index:
        about = index.info()
    if arguments.json:
        print(json.dumps(about, indent=2))
        return
    for name, value in {**about.pop("model"), **about.pop("network"), **about}.items():
        print(f"{name}: {printable(str(value))}")


def search(arguments: argparse.Namespace) -> None:
    """Finds the images nearest to images, or to those of an id, by Hamming distance."""
    how = (arguments.topk, arguments.where, arguments.max_distance)
    if not (arguments.img or arguments.id):
        raise UserError("no query: --img or --id says what to search with")
    asked: dict[Any, Any] = {number: number for number in arguments.id}
    index = open_index(arguments) if arguments.img else ImageIndex(open_store(arguments.index))
    with index:
        images = find_images(arguments.img)
        asked.update(zip(images, index.encode(images) if images else ()))
        answers = {query: index.search(code, *how) for query, code in asked.items()}
    if arguments.json:
        found = {query: [hit._asdict() for hit in hits] for query, hits in answers.items()}
        found = [{"query": query, "results": results} for query, results in found.items()]
        print(json.dumps({"queries": found}, indent=2))
        return
    for query, hits in answers.items():
        tell(f"Query: {query}")
        if not hits:
            tell("no image is that near, or none passes the filter")
            continue
        above = os.path.join(_common_folder([hit.path for hit in hits]), "")
        header = "rank  distance                id  image" + f" below {above}" * bool(above)
        tell(header)
        for rank, hit in enumerate(hits, 1):
            row = f"{rank:4d}  {hit.distance:8d}  {hit.id:16d}  {hit.path.removeprefix(above)}"
            print(printable(f"{row}  {', '.join(hit.labels)}".rstrip()))


def _common_folder(paths: list[str]) -> str:
    try:
        return os.path.commonpath(list(map(os.path.dirname, paths)))
    except ValueError:  # several drives
        return ""


def copy(arguments: argparse.Namespace) -> None:
    """Copies an index to another store, which keeps what it has."""
    with ImageIndex(open_store(arguments.index)) as index:
        target = open_store(arguments.to)
        tell(f"{arguments.to}: {index.copy_to(target)} copied; {target.count()} images")
        target.close()


def open_index(arguments: argparse.Namespace) -> ImageIndex:
    """The index, with the network that flags name, or that it was made with."""
    store = open_store(arguments.index)
    model = {name: value for name in MODEL if (value := getattr(arguments, name)) is not None}
    if not model and store.metadata:
        model = store.metadata["model"]
    elif model and ("model_dir" in model) == ("pretrained" in model):
        raise UserError("the network: expected --model-dir or --pretrained, and one of them")
    elif model:
        if "bit" not in model:
            model["bit"] = store.metadata.get("bit") or _only_bit(model.get("model_dir"))
        for name in {"model_dir", "pretrained"} & model.keys():
            model[name] = os.path.abspath(model[name])
    return ImageIndex(store, load_encoder(model, arguments.device) if model else None, model)


def _only_bit(folder: str | None) -> int:
    """The bits of the only model that is exported in a folder."""
    found = [path.stem[len("inference_") :] for path in Path(folder or "").glob("inference_*.yaml")]
    if folder and not found:
        raise UserError(f"{folder}: no exported model is there; export_model.py writes one")
    if len(found) != 1 or not found[0].isdecimal():
        there = f"; {folder} has models of {', '.join(sorted(found))}" if folder else ""
        raise UserError(f"--bit: say how long the codes are{there}")
    return int(found[0])


def _labels(arguments: argparse.Namespace) -> Any:
    return folder_name if arguments.folder_labels else arguments.labels


def _report(index: ImageIndex, changes: Changes) -> None:
    problems = list(changes.left_out.values())
    for problem in problems[:SHOWN]:
        tell(f"Left out: {problem}")
    if len(problems) > SHOWN:
        print(f"and {len(problems) - SHOWN} more")
    tell(f"{index.store.name}: {changes}; {len(index)} images")


def add_network(parser: argparse.ArgumentParser) -> None:
    """Gives a parser the flags that `open_index` reads."""
    title = "network (needed when an index is made, which remembers it)"
    group = parser.add_argument_group(title)
    for flag, how in NETWORK.items():
        group.add_argument(flag, **how)
    devices = ("auto", "gpu", "cpu")
    group.add_argument("--device", choices=devices, default="auto", help="default: auto")


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line; `run` of the result is the command's function."""
    parser = Parser(description=__doc__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    flags = {}
    for run in (add, sync, remove, info, search, copy):
        text = run.__doc__
        command = commands.add_parser(run.__name__, help=text, description=text)
        command.set_defaults(run=run)
        command.add_argument("index", metavar="INDEX", help="pictures.db, for example")
        flags[run] = command.add_argument
        if run in (add, remove):
            flags[run]("paths", nargs="+", metavar="PATH", help="an image or a folder")
        if run in (add, sync):
            flags[run]("--labels", nargs="+", metavar="NAME", help="labels of all these images")
            text = "an image's label is the name of its folder"
            flags[run]("--folder-labels", action="store_true", help=text)
        if run in (info, search):
            flags[run]("--json", action="store_true", help="print one JSON document")
        if run in (add, sync, search):
            add_network(command)
    flags[sync]("folder", metavar="FOLDER", help="the images' folder")
    flags[copy]("--to", required=True, metavar="INDEX", help="where to, such as milvus:FILE.db")
    text = "the queries: images, or folders of them"
    flags[search]("--img", nargs="+", default=[], metavar="PATH", help=text)
    text = "queries that are in the index, by id: no network is needed"
    flags[search]("--id", nargs="+", default=[], type=int, metavar="N", help=text)
    flags[search]("--topk", type=int, default=10, metavar="N", help="how many images (default: 10)")
    flags[search]("--where", metavar="FILTER", help="such as \"label = 'cat'\"")
    flags[search]("--max-distance", type=int, metavar="N", help="bits that may differ, at most")
    return parser.parse_args(words)


def main() -> None:
    """Runs one command."""
    arguments = parse_arguments()
    log_to_console(getattr(arguments, "json", False))
    arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(run_command(main))
