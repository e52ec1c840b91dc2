"""An index of images that grows: add, remove, sync, search; every image is encoded once.

model = {"bit": 64, "model_dir": "output/inference"}
with ImageIndex(open_store("pictures.db"), load_encoder(model), model) as index:
    index.sync("pictures")
    hits = index.search("query.jpg", k=10, where="label = 'cat'")
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Union

import numpy as np
from PIL import Image

from utils.codes import check_bit, packed_bytes
from utils.config.options import MAX_WORKERS
from utils.datasets import unlisted_images
from utils.datasets.images import ImageFiles, decode_image, open_image
from utils.datasets.loader import BatchLoader, LoaderOptions
from utils.datasets.transforms import MAX_SIDE, build_transform
from utils.inference.encoder import Encoder
from utils.inference.export import load_exported
from utils.inference.program import PredictorOptions, is_on_paddle
from utils.search import find_images
from utils.search.milvus import MilvusStore
from utils.search.store import BATCH, Entry, SqliteStore
from utils.system.errors import UserError, short_repr
from utils.system.logger import progress
from utils.system.runtime import choose_device, cores_for_each, setup_environment, setup_paddle

MODEL = {
    **{"bit": 0, "model_dir": "", "pretrained": "", "precision": "fp32"},
    **{"resize": "short_side", "resize_size": 256, "crop_size": 224},
}
"""What `load_encoder` wants to know, and its defaults."""
Store = Union[SqliteStore, MilvusStore]
PathLike = Union[str, os.PathLike]
Labels = Union[str, Sequence[str], Callable[[str], Union[str, Sequence[str]]]]
"""The labels of all images, or what tells those of an image's path."""


class NoSuchImage(UserError):
    """An id that no image of the index has."""


class Hit(NamedTuple):
    """An image that a search has found."""

    id: int
    distance: int
    path: str
    labels: tuple[str, ...]


@dataclass
class Changes:
    """How many images an update has met; `left_out`: what is wrong with each other one, by path."""

    new: int = 0
    changed: int = 0
    vanished: int = 0
    unchanged: int = 0
    left_out: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.new} new, {self.changed} changed, {self.vanished} vanished, "
            f"{self.unchanged} unchanged, {len(self.left_out)} left out"
        )


class ImageIndex:
    """Images in a store: codes of one network, labels, metadata.

    Any thread may search while one changes it.

    Args:
        store: from `open_store`; an index is made where it holds none yet.
        encoder: the index's network; without it, what needs no encoding works.
        model: the `model` of `load_encoder`, `bit` at least; kept in a new index.

    Raises:
        UserError: the index is of another network (weights, transform, bits or precision), or there
            is none and no encoder.
    """

    def __init__(
        self, store: Store, encoder: Encoder | None = None, model: dict[str, Any] | None = None
    ):
        self.store, self._encoder = store, encoder
        if encoder is not None:
            network = {**encoder.provenance(), "bit": model["bit"]}
            _create_or_check(store, {"bit": model["bit"], "network": network, "model": model})
        elif not store.metadata:
            how = "`add` and `sync` make one, with --model-dir or --pretrained"
            raise UserError(f"{store.name}: no index is there; {how}")
        self.bit: int = store.metadata["bit"]
        self._lock, self._running = threading.Lock(), contextlib.ExitStack()
        self._is_running = False

    def __enter__(self) -> ImageIndex:
        return self

    def __exit__(self, *error: object) -> None:
        self._running.close()
        self.store.close()

    def __len__(self) -> int:
        return self.store.count()

    def info(self) -> dict[str, Any]:
        """In JSON values: name, kind of store, number of images, bits, network, model."""
        kind = type(self.store).__name__
        return {"index": self.store.name, "store": kind, "images": len(self), **self.store.metadata}

    def add(
        self,
        paths: PathLike | Iterable[PathLike],
        labels: Labels | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Changes:
        """Adds image files, and all below folders; only what is new or changed is encoded.

        Each batch is kept as soon as it is encoded. What cannot be read is left out. Where labels
        or metadata are None, an image keeps those that it has.
        """
        return self._update(_find(paths), labels, metadata)

    def sync(self, folder: PathLike, labels: Labels | None = None) -> Changes:
        """Adds what is new or changed below a folder, and removes what has vanished from it.

        A folder that is missing or holds no image is an error: its disk may not be there.
        """
        if not os.path.isdir(folder):
            raise UserError(f"{folder}: the folder is missing; `remove` takes its images out")
        changes = self._update(_find(folder), labels, None)
        entries = self._below(_absolute(folder))
        changes.vanished = self._delete(e.id for e in entries if not os.path.lexists(e.path))
        return changes

    def remove(self, paths: PathLike | Iterable[PathLike]) -> int:
        """Removes images by path, and all below folders, there or not; returns how many."""
        absolute = _absolute(paths)
        found = {entry.path: entry.id for entry in self._look_up(absolute) if entry.code}
        folders = [path for path in absolute if path not in found]
        return self._delete({*found.values(), *(entry.id for entry in self._below(folders))})

    def copy_to(self, target: Store) -> int:
        """Copies all to another store, which keeps what it has; returns how many images.

        The target's index is made where there is none yet, else must be of the same network.
        """
        if os.path.realpath(target.name) == os.path.realpath(self.store.name):  # would never end
            raise UserError(f"{target.name}: the index itself; expected another to copy to")
        _create_or_check(target, self.store.metadata)
        count = 0
        for batch in progress(self.store.scan(), "copying", -(-len(self) // BATCH)):
            target.upsert(batch)
            count += len(batch)
        return count

    def search(
        self,
        query: PathLike | bytes | Image.Image | np.ndarray | int,
        k: int = 10,
        where: str | None = None,
        max_distance: int | None = None,
    ) -> list[Hit]:
        """The nearest images, by (distance, id).

        Args:
            query: an image's file or its content, an image, a packed code (uint8 [bytes]), or the
                id of an image of the index, which then finds itself, too.
            k: how many, at most.
            where: a filter (`utils.search.filters`).
            max_distance: the most bits in which a code may differ.
        """
        if k < 1:
            raise UserError(f"{k} images asked for: ask for 1 or more")
        if isinstance(query, (int, np.integer)):
            query = np.frombuffer(self.entry(int(query)).code, np.uint8)
        elif not isinstance(query, np.ndarray):
            (query,) = self.encode([query])
        if query.dtype != np.uint8 or query.shape != (packed_bytes(self.bit),):
            raise UserError(f"a code of {query.dtype} {list(query.shape)}: not of {self.bit} bits")
        ids, distances = self.store.search(query, k, where)
        if max_distance is not None:
            ids = ids[: np.searchsorted(distances, max_distance, side="right")]
        entries = self.store.get(ids.tolist())
        found = [(entries.get(i), d) for i, d in zip(ids.tolist(), distances.tolist())]
        return [Hit(e.id, d, e.path, e.labels) for e, d in found if e]  # not what is gone just now

    def entry(self, number: int) -> Entry:
        """The image of an id."""
        entry = self.store.get([number]).get(number)
        if entry is None:
            raise NoSuchImage(f"{number}: no image of the index has this id")
        return entry

    def encode(self, images: Sequence[PathLike | bytes | Image.Image]) -> np.ndarray:
        """Packed codes, uint8 [n, bytes], of image files, contents of such, or images."""
        encoder, codes = self._the_encoder(), []
        least_side = encoder.transform.resize.least_side
        for begin in range(0, len(images), encoder.batch_size):
            pixels = []
            for image in images[begin : begin + encoder.batch_size]:
                if isinstance(image, bytes):
                    image = decode_image(image, least_side)
                elif not isinstance(image, Image.Image):
                    image = open_image(image, least_side=least_side)
                pixels.append(encoder.transform(image.convert("RGB")))
            codes.append(self._run(np.stack(pixels)))
        return np.concatenate(codes)

    def _the_encoder(self) -> Encoder:
        if self._encoder is None:
            raise UserError(f"{self.store.name}: opened without its network, it encodes no image")
        return self._encoder

    def _run(self, pixels: np.ndarray) -> np.ndarray:
        """Codes of a batch, for one thread at a time; the network stays ready until the end."""
        with self._lock:
            if not self._is_running:
                self._running.enter_context(self._encoder.backend)
                self._is_running = True
            return self._encoder.backend(pixels)

    def _update(
        self, paths: list[str], labels: Labels | None, metadata: dict[str, Any] | None
    ) -> Changes:
        odd = {path: f"{path}: its name is not UTF-8" for path in paths if not _is_utf8(path)}
        paths = [path for path in paths if path not in odd]
        changes, outdated, described = Changes(left_out=odd), [], []
        files = ImageFiles(paths, "")
        for index, entry in enumerate(self._look_up(paths)):
            key, wanted = files.key(index), _described(entry, labels, metadata)
            if entry.key != key:
                outdated.append(wanted._replace(key=key))
            elif wanted != entry:
                described.append(wanted)
            else:
                changes.unchanged += 1
        for batch in _batches(described):
            self.store.upsert(batch)
            changes.changed += len(batch)
        if outdated:
            self._encode(outdated, changes)
        return changes

    def _encode(self, entries: list[Entry], changes: Changes) -> None:
        """Encodes new entries, which have no code, and outdated ones; stores batch by batch."""
        encoder = self._the_encoder()
        split = unlisted_images([entry.path for entry in entries], "")
        options = replace(encoder.options, skip_bad=True)
        batches = BatchLoader(split, encoder.transform, encoder.batch_size, options)
        for pixels, places in progress(batches, "encoding", len(batches)):
            codes = self._run(pixels)
            batch = [(entries[i], code) for i, code in zip(places, codes) if i >= 0]
            self.store.upsert([entry._replace(code=code.tobytes()) for entry, code in batch])
            new = sum(not entry.code for entry, _ in batch)
            changes.new += new
            changes.changed += len(batch) - new
        changes.left_out.update({entries[i].path: problem for i, problem in batches.bad.items()})
        # What was there and cannot be read any more has the code of an earlier image.
        self._delete([entries[i].id for i in batches.bad if entries[i].code])

    def _look_up(self, paths: list[str]) -> Iterator[Entry]:
        """The entry of each path; a new one has an id that is free, and no code."""
        taken: set[int] = set()
        for batch in _batches(paths):
            candidates = {path: candidate_ids(path) for path in batch}
            there = self.store.get([number for ids in candidates.values() for number in ids])
            for path, ids in candidates.items():
                known = [there[i] for i in ids if i in there and there[i].path == path]
                free = [i for i in ids if i not in there and i not in taken]
                if not (known or free):
                    raise UserError(f"{path}: other images have its ids; give it another name")
                entry = known[0] if known else Entry(free[0], path, "", b"")
                taken.add(entry.id)
                yield entry

    def _below(self, folders: Sequence[str]) -> list[Entry]:
        below = tuple(os.path.join(folder, "") for folder in folders)
        batches = self.store.scan() if below else ()
        return [entry for batch in batches for entry in batch if entry.path.startswith(below)]

    def _delete(self, ids: Iterable[int]) -> int:
        ids = list(ids)
        for batch in _batches(ids):
            self.store.delete(batch)
        return len(ids)


def open_store(name: str) -> Store:
    """`http(s)://host:port`: a Milvus server; `milvus:FILE.db`: Milvus Lite; else a SQLite file."""
    on_milvus = name.startswith(("http://", "https://", "milvus:"))
    return MilvusStore(name) if on_milvus else SqliteStore(name)


def load_encoder(model: dict[str, Any], device: str = "auto") -> Encoder:
    """Loads a network as an index needs it, and Paddle where the network does.

    Args:
        model: `bit`, and `model_dir`, an exported model's folder, or `pretrained`, trained weights,
            with what differs from `MODEL`.
        device: 'auto', 'cpu' or 'gpu'.
    """
    model = {**MODEL, **model}
    for name, value in model.items():
        if name not in MODEL or type(value) is not type(MODEL[name]):
            raise UserError(f"the network's {name} is {short_repr(value)}: --bit and others say it")
    bit, precision, folder = model["bit"], model["precision"], model["model_dir"]
    check_bit(bit, "--bit: ")
    if folder and not is_on_paddle(folder, bit):
        setup_environment(device=device)
        on_gpu = False
    else:
        setup_paddle(device=device)
        on_gpu = choose_device(device) != "cpu"
    if folder:
        backend, record = load_exported(folder, bit, PredictorOptions(on_gpu, precision))
        transform, weights = record.transform(), record.fingerprint()
    else:
        from models.hashnet import load_network
        from utils.inference.backends import build_backend

        resize_size, crop_size = model["resize_size"], model["crop_size"]
        if not 63 <= crop_size <= resize_size < MAX_SIDE:
            raise UserError(f"--crop-size {crop_size}: expected 63 to --resize-size {resize_size}")
        network, weights, _ = load_network(model["pretrained"], bit)
        transform = build_transform(model["resize"], resize_size, crop_size)
        backend = build_backend(network, crop_size, "auto", precision)
    loading = LoaderOptions(min(cores_for_each(), MAX_WORKERS))
    return Encoder(backend, transform, 64, loading, weights)


def folder_name(path: str) -> str:
    """The name of the folder that a file lies in, to be its label."""
    return os.path.basename(os.path.dirname(path))


def candidate_ids(path: str) -> tuple[int, ...]:
    """The ids that an image may have, from a hash of its path: the first that no other has."""
    digest = hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=24).digest()
    return tuple(number >> 11 for number in struct.unpack(">3Q", digest))


def _create_or_check(store: Store, metadata: dict[str, Any]) -> None:
    """Makes the index that `metadata` tells of; one that is there must be of the same network."""
    if not store.metadata:
        store.create(metadata)
    there, wanted = store.metadata.get("network"), metadata["network"]
    if not isinstance(there, dict):
        raise UserError(f"{store.name}: says nothing of its network")
    if any(there.get(name) != wanted[name] for name in wanted if name != "weights"):
        raise UserError(f"{store.name}: is of {_in_words(there)}, not of {_in_words(wanted)}")


def _in_words(network: dict[str, Any]) -> str:
    sha256, names = str(network.get("weights_sha256")), ("bit", "transform", "precision")
    bit, *how = (str(network.get(name)) for name in names)
    return f"{network.get('weights')} ({sha256[:12]}), {bit} bits, {', '.join(how)}"


def _described(entry: Entry, labels: Labels | None, metadata: dict[str, Any] | None) -> Entry:
    """The entry with the labels and metadata that are given."""
    given = labels(entry.path) if callable(labels) else labels
    given = (given,) if isinstance(given, str) else given
    try:
        if given is not None:
            "".join(given).encode()
            entry = entry._replace(labels=tuple(sorted(set(given))))
        if metadata is not None:
            json.dumps(metadata, allow_nan=False)
            entry = entry._replace(metadata=metadata)
    except (TypeError, ValueError) as error:
        raise UserError(f"{entry.path}: labels or metadata: not text and JSON: {error}") from error
    return entry


def _absolute(paths: PathLike | Iterable[PathLike]) -> list[str]:
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    return list(dict.fromkeys(map(os.path.abspath, paths)))


def _find(paths: PathLike | Iterable[PathLike]) -> list[str]:
    return list(dict.fromkeys(find_images(_absolute(paths), below=True)))


def _batches(items: list) -> Iterator[list]:
    for begin in range(0, len(items), BATCH):
        yield items[begin : begin + BATCH]


def _is_utf8(path: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in path)
