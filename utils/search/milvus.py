"""An index in Milvus, a server or a file of Milvus Lite: pip install -r requirements-search.txt.

An index is a collection: its name tells bits and network, so that codes never mix, its description
the metadata. Answers are exact: where more codes than Milvus returns at once are as far as the
last one, those of the lowest ids are found by ranges of ids.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from utils.codes import packed_bytes
from utils.search.filters import parse_filter
from utils.search.store import APPLICATION, BATCH, Entry, Found
from utils.system.errors import UserError
from utils.system.files import open_untrusted
from utils.system.logger import quiet_console

MOST = 16_384
"""What Milvus returns of a search, at most."""
MAX_PATH, MAX_KEY, MAX_ID = 4096, 64, 1 << 53
"""Bytes of a path and of a key; ids are lower."""
_NAME = re.compile(r"(https?://[^/]+)(?:/(\w+)?)?|milvus:(.+\.db)")


class MilvusStore:
    """The same methods as `SqliteStore`; a kill may leave a part of a batch. k is 16,384 at most.

    The name is `http(s)://host:port`, where `/NAME` may follow for another index than 'hashnet', or
    `milvus:FILE.db`. The environment's MILVUS_TOKEN is a server's token, such as 'user:password'.
    """

    def __init__(self, name: str):
        self.name, self.metadata, self._collection = name, {}, ""
        where = _NAME.fullmatch(name)
        if not where:
            raise UserError(
                f"{name}: expected http://HOST:PORT, http://HOST:PORT/NAME or milvus:FILE.db"
            )
        self._index, self._file = where[2] or "hashnet", where[3]
        try:
            import pymilvus
        except ImportError as error:
            raise UserError(
                f"{error.name} is not installed: pip install -r requirements-search.txt"
            ) from error
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # errors are told here, once
        if self._file and os.path.exists(self._file):
            with open_untrusted(self._file, "a file of Milvus Lite", 1 << 62) as opened:
                if opened.read(72)[68:] == APPLICATION.to_bytes(4, "big"):
                    raise UserError(f"{self._file}: an index in SQLite: name it without milvus:")
        token, self._types = os.environ.get("MILVUS_TOKEN", ""), pymilvus.DataType
        hint = "; one process at a time can use a file of Milvus Lite" if self._file else ""
        with self._told(hint):
            with quiet_console():
                self._client = pymilvus.MilvusClient(
                    where[1] or self._file, token=token, timeout=30
                )
            self._open()

    def _open(self) -> None:
        named = re.compile(rf"{self._index}_\d+_[0-9a-f]{{12}}")
        found = sorted(filter(named.fullmatch, self._client.list_collections()))
        if len(found) > 1:
            raise UserError(f"{self.name}: several indexes have the name: {', '.join(found)}")
        if found:
            (self._collection,) = found
            about = self._client.describe_collection(self._collection)
            self.metadata = json.loads(about["description"])
            self._client.load_collection(self._collection)

    def create(self, metadata: dict[str, Any]) -> None:
        client, types = self._client, self._types
        network = json.dumps(metadata["network"], sort_keys=True).encode()
        digest = hashlib.sha256(network).hexdigest()[:12]
        self._collection = f"{self._index}_{metadata['bit']}_{digest}"
        with self._told():
            schema = client.create_schema(auto_id=False, description=json.dumps(metadata))
            schema.add_field("id", types.INT64, is_primary=True)
            schema.add_field("code", types.BINARY_VECTOR, dim=8 * packed_bytes(metadata["bit"]))
            schema.add_field("path", types.VARCHAR, max_length=MAX_PATH)
            schema.add_field("key", types.VARCHAR, max_length=MAX_KEY)
            schema.add_field("labels", types.JSON)  # an array costs Milvus Lite 3 ms an image
            schema.add_field("metadata", types.JSON)
            scan = client.prepare_index_params()
            scan.add_index("code", index_type="BIN_FLAT", metric_type="HAMMING")
            client.create_collection(
                self._collection, schema=schema, index_params=scan, consistency_level="Strong"
            )
            self._open()

    def upsert(self, entries: Sequence[Entry]) -> None:
        rows = [{**e._asdict(), "labels": dict.fromkeys(e.labels, True)} for e in entries]
        with self._told():
            if rows:
                self._client.upsert(self._collection, rows)

    def delete(self, ids: Sequence[int]) -> None:
        with self._told():
            self._client.delete(self._collection, ids=list(ids))

    def get(self, ids: Sequence[int]) -> dict[int, Entry]:
        found = {}
        for begin in range(0, len(ids), BATCH):
            with self._told():
                rows = self._client.get(self._collection, list(ids[begin : begin + BATCH]))
            found.update({row["id"]: _entry(row) for row in rows})
        return found

    def scan(self) -> Iterator[list[Entry]]:
        with self._told():
            rows = self._client.query_iterator(self._collection, BATCH, output_fields=["*"])
        while True:
            with self._told():
                batch = rows.next()
            if not batch:
                return
            yield list(map(_entry, batch))

    def count(self) -> int:
        with self._told():
            return self._client.query(self._collection, "", ["count(*)"])[0]["count(*)"]

    def search(self, code: np.ndarray, k: int, where: str | None = None) -> Found:
        if k > MOST:
            raise UserError(f"{k:,} images asked for: Milvus finds {MOST:,} at most")
        passing = [] if where is None else [f"({_as_expression(where)})"]
        limit = min(2 * k + 100, MOST)
        with self._told():
            found = self._ask(code, limit, passing)
            if len(found) == limit and found[k - 1][0] == found[-1][0]:  # others may be as far
                last = found[-1][0]
                found = [nearer for nearer in found if nearer[0] < last]
                ranges = [range(MAX_ID)]
                while ranges and len(found) < k:
                    ids = ranges.pop()
                    part = f"id >= {ids.start} and id < {ids.stop}"
                    as_far = self._ask(code, MOST, [part, *passing], last)
                    if len(as_far) < MOST:
                        found += as_far
                    else:  # maybe not all of them: by halves, the lower ids first
                        half = len(ids) // 2
                        ranges += [ids[half:], ids[:half]]
        pairs = np.array(sorted(found)[:k], np.int64).reshape(-1, 2)
        return pairs[:, 1], pairs[:, 0].astype(np.int32)

    def close(self) -> None:
        self._client.close()
        if self._file:  # its server would keep the file until this process ends
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self._file)

    def _ask(
        self, code: np.ndarray, limit: int, conditions: list[str], distance: int | None = None
    ) -> list[tuple[int, int]]:
        """Distance and id of the nearest, by distance; maybe of those at one distance alone."""
        within = {} if distance is None else {"range_filter": distance, "radius": distance + 1}
        how = {"metric_type": "HAMMING", "params": within}
        passing = " and ".join(conditions)
        (hits,) = self._client.search(
            self._collection, [code.tobytes()], passing, limit=limit, search_params=how
        )
        return [(int(hit["distance"]), hit["id"]) for hit in hits]

    @contextlib.contextmanager
    def _told(self, hint: str = "") -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # of gRPC, Milvus and Milvus Lite
            message = str(getattr(error, "message", error)) or type(error).__name__
            raise UserError(f"{self.name}: {message.splitlines()[0]}{hint}") from error


def _entry(row: dict[str, Any]) -> Entry:
    labels = tuple(sorted(row["labels"]))
    return Entry(row["id"], row["path"], row["key"], row["code"][0], labels, row["metadata"])


def _as_expression(where: str) -> str:
    """A filter in Milvus's words; labels are the names of a JSON object, each of them true."""
    parts = []
    for part in parse_filter(where):
        if isinstance(part, str):
            parts.append(part.lower())
            continue
        name, sign, value = part
        if name == "label":
            name, value = f"labels[{json.dumps(value, ensure_ascii=False)}]", True
        elif name not in ("id", "path"):
            name = f'metadata["{name}"]'
        sign = "==" if sign == "=" else sign
        parts.append(f"{name} {sign} {json.dumps(value, ensure_ascii=False)}")
    return " ".join(parts)
