"""Scaled pictures on disk, so that each is decoded and scaled once.

    CACHE_DIR/pictures_<what they were made with>/
        about.json        the same in words
        1.pixels          scaled pictures, uint8 [h, w, 3], one after the other
        1.index           a 40-byte entry for each of them
        2.pixels …        of another process that ran at the same time

A process appends to a pair of files that no other process holds, the pixels before the entry, and
reads the pairs of all. Entries and pixels carry checksums, which every reading verifies: what a
killed process, a full disk or a damaged file leaves is not found, and made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import threading
import time
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import __version__ as pillow_version
from PIL import features

from utils.system.files import replacing

ENTRY = struct.Struct("<16sQIIII")
"""Key, offset of the pixels, height, width, CRC-32 of the pixels, CRC-32 of the entry so far."""
REFRESH_SECONDS = 0.2
"""How soon after the last look a missing picture is looked for again in other processes' files."""


class _Place(NamedTuple):
    """Where a picture's pixels are: pair of files, offset, shape and checksum."""

    pair: str
    offset: int
    height: int
    width: int
    checksum: int


class PictureCache:
    """Scaled pictures of one kind, found by key; for many threads, and many processes at once.

    Its memory is about 300 bytes a picture; pixels are never kept in it.

    Args:
        cache_dir: folder of all caches; made where needed.
        scaling: what the pictures went through, in words; others have another folder. So have
            pictures of another Pillow or JPEG library, whose bytes may differ.

    Attributes:
        folder: where the files are.
        found: how many pictures were read from the cache.
        damaged: how many entries or pictures were there and could not be used.
        trouble: why no more pictures are added, where that is so.

    Raises:
        UserError: the folder cannot be made or written.
    """

    def __init__(self, cache_dir: Path, scaling: str):
        made_with = {
            "scaling": scaling,
            "pillow": pillow_version,
            "jpeg": features.version("libjpeg_turbo") or features.version("jpg"),
            "format": 1,
        }
        text = json.dumps(made_with, indent=2) + "\n"
        self.folder = cache_dir / f"pictures_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        with replacing(self.folder / "about.json") as temporary:
            temporary.write_text(text, encoding="utf-8")
        self.found, self.damaged, self.trouble = 0, 0, ""
        self._places: dict[bytes, _Place] = {}
        self._read_to: dict[str, int] = {}
        self._pixels: dict[str, BinaryIO] = {}
        self._own: tuple[str, BinaryIO, BinaryIO] | None = None
        self._lock = threading.Lock()
        self._refreshed = 0.0
        self._refresh()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: bytes) -> bool:
        if key not in self._places and time.monotonic() - self._refreshed > REFRESH_SECONDS:
            with self._lock:
                self._refresh()
        return key in self._places

    def get(self, key: bytes) -> np.ndarray | None:
        """The picture of a key, [h, w, 3] uint8, read-only; None: it is not there."""
        place = self._places.get(key) if key in self else None
        if place is None:
            return None
        pixels = self._read_pixels(place)
        with self._lock:
            if pixels is not None:
                self.found += 1
                return pixels
            self.damaged += 1
            if self._places.get(key) == place:
                del self._places[key]
        return None

    def add(self, key: bytes, pixels: np.ndarray) -> None:
        """Keeps a picture, [h, w, 3] uint8; where it cannot be written, `trouble` says why."""
        content = np.ascontiguousarray(pixels)
        height, width, _ = content.shape
        checksum = zlib.crc32(content)
        with self._lock:
            if key in self._places or self.trouble:
                return
            try:
                if self._own is None:
                    self._own = self._take_pair()
                pair, index, data = self._own
                place = _Place(pair, data.tell(), height, width, checksum)
                _write(data, memoryview(content).cast("B"))
                _write(index, _sealed(ENTRY.pack(key, *place[1:], 0)))
            except OSError as error:
                self.trouble = f"{self.folder}: cannot be written: {error.strerror or error}"
                return
            self._places[key] = place

    def _take_pair(self) -> tuple[str, BinaryIO, BinaryIO]:
        """Opens the first pair that no other process appends to, behind its last whole entry."""
        import fcntl  # not on Windows, where only the cache would not work

        number = 1
        while True:
            index = (self.folder / f"{number}.index").open("ab", buffering=0)
            try:
                fcntl.flock(index, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until this process ends
            except BlockingIOError:
                index.close()
                number += 1
                continue
            if index.tell() % ENTRY.size:
                index.truncate(index.tell() // ENTRY.size * ENTRY.size)
            self._read_index(Path(index.name))
            data = (self.folder / f"{number}.pixels").open("ab", buffering=0)
            return str(number), index, data

    def _refresh(self) -> None:
        """Learns of the pictures that other processes have added."""
        self._refreshed = time.monotonic()
        for path in sorted(self.folder.glob("*.index")):
            if self._own is None or self._own[0] != path.stem:
                with contextlib.suppress(OSError):  # gone, or damaged: nothing is gained
                    self._read_index(path)

    def _read_index(self, path: Path) -> None:
        begin = self._read_to.get(path.stem, 0)
        if path.stat().st_size < begin + ENTRY.size:
            return
        with path.open("rb") as file:
            file.seek(begin)
            added = file.read()
        whole = len(added) // ENTRY.size * ENTRY.size  # the last one may still be incomplete
        for start in range(0, whole, ENTRY.size):
            entry = added[start : start + ENTRY.size]
            if entry == _sealed(entry):
                key, *place, _ = ENTRY.unpack(entry)
                self._places[key] = _Place(path.stem, *place)
            else:
                self.damaged += 1
        self._read_to[path.stem] = begin + whole

    def _read_pixels(self, place: _Place) -> np.ndarray | None:
        size = place.height * place.width * 3
        try:
            file = self._pixels.get(place.pair)
            if file is None:
                file = (self.folder / f"{place.pair}.pixels").open("rb", buffering=0)
                file = self._pixels.setdefault(place.pair, file)
            if place.offset + size > os.fstat(file.fileno()).st_size:
                return None
            content = os.pread(file.fileno(), size, place.offset)
        except OSError:
            return None
        if len(content) != size or zlib.crc32(content) != place.checksum:
            return None
        return np.frombuffer(content, np.uint8).reshape(place.height, place.width, 3)


def _sealed(entry: bytes) -> bytes:
    """An entry with its own checksum in its last four bytes."""
    return entry[:-4] + struct.pack("<I", zlib.crc32(entry[:-4]))


def _write(file: BinaryIO, content: bytes | memoryview) -> None:
    while len(content):
        content = content[file.write(content) :]
