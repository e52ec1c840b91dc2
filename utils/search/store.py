"""Where an index is kept: the stores' one interface, and SQLite, a file that needs no server."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from utils.codes import check_bit, nearest, packed_bytes
from utils.search.filters import Comparison, parse_filter
from utils.system.errors import UserError, first_line

BATCH = 10_000
"""Entries that are read at a time."""
FILTERS_KEPT = 8
Found = tuple[np.ndarray, np.ndarray]
"""Ids, int64 [m], and distances, int32 [m], ordered by (distance, id)."""


class Entry(NamedTuple):
    """An image of an index.

    Attributes:
        id: from 0 to 2^53 - 1, which numbers of JavaScript hold too.
        path: the image file's.
        key: changes with the file (`utils.datasets.images.ImageFiles.key`).
        code: packed, of as many bytes as `utils.codes.packed_bytes` says.
        labels: sorted, each once.
        metadata: what else is known of it, in JSON values.
    """

    id: int
    path: str
    key: str
    code: bytes
    labels: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}  # noqa: RUF012 (never changed)


class Store(Protocol):
    """What an index asks of a store; any thread may ask. What is wrong is a `UserError`.

    Attributes:
        name: for messages.
        metadata: of the index: `bit`, and what the index itself keeps; empty: there is none yet.
    """

    name: str
    metadata: dict[str, Any]

    def create(self, metadata: dict[str, Any]) -> None:
        """Makes an empty index; where another process was faster, `metadata` is that one's."""

    def upsert(self, entries: Sequence[Entry]) -> None:
        """Adds entries, and replaces those of the same ids: all of them or, in SQLite, none."""

    def delete(self, ids: Sequence[int]) -> None:
        """Removes the entries of these ids that are there."""

    def get(self, ids: Sequence[int]) -> dict[int, Entry]:
        """The entries of these ids that are there."""

    def scan(self) -> Iterator[list[Entry]]:
        """All entries, in lists of `BATCH` or fewer."""

    def count(self) -> int:
        """How many entries there are."""

    def search(self, codes: np.ndarray, k: int, where: str | None = None) -> list[Found]:
        """The nearest k entries of each packed code [n, bytes], of those that pass a filter.

        `where` is a filter of `utils.search.filters`.
        """

    def close(self) -> None:
        """Ends the use of the store."""


def open_store(name: str) -> Store:
    """The store that a name tells; where it holds no index yet, its `metadata` is empty.

    `http://host:19530` and `https://…` are a Milvus server, `milvus:FILE.db` is a file of Milvus
    Lite, and any other name a SQLite file.
    """
    if name.startswith(("http://", "https://", "milvus:")):
        from utils.search.milvus import MilvusStore  # a package that not everybody has

        return MilvusStore(name)
    return SqliteStore(name)


_APPLICATION = 0x48617368
"""'Hash', at byte 68 of the file: whose it is."""
_FORMAT = 1
_SCHEMA = (
    "CREATE TABLE index_metadata (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # Rows only ever grow: what lies beyond the last row seen is what is new or changed.
    "CREATE TABLE images (row INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER NOT NULL UNIQUE, "
    "path TEXT NOT NULL, key TEXT NOT NULL, code BLOB NOT NULL, labels TEXT NOT NULL, "
    "metadata TEXT NOT NULL)",
    "CREATE TABLE removed (row INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER NOT NULL)",
    "CREATE TABLE labels (label TEXT, id INTEGER, PRIMARY KEY (label, id)) WITHOUT ROWID",
)
_COUNTERS = "CREATE TABLE sqlite_sequence(name,seq)"
_GIVEN = "(SELECT value FROM json_each(?))"
"""Any number of ids, as one JSON list."""
_OF_LABELS = "id IN (SELECT DISTINCT id FROM labels"
_COLUMNS = "id, path, key, code, labels, metadata"


class SqliteStore:
    """An index in a SQLite file; its codes lie packed in memory, where they are searched.

    A batch is a transaction, readers do not wait for a writer (write-ahead log), and what other
    processes have committed is taken in before each search: only what has changed is read.
    """

    def __init__(self, name: str):
        self.name, self.metadata = name, {}
        self._lock = threading.RLock()
        self._ids, self._codes = np.empty(0, np.int64), np.empty((0, 0), np.uint8)
        self._seen, self._filtered = (0, 0), {}
        self._db: sqlite3.Connection | None = None
        with self._told():
            found = os.stat(name) if os.path.lexists(name) else None
            if found and not stat.S_ISREG(found.st_mode):
                raise UserError(f"{name}: not a regular file; expected an index")
            if found and found.st_size:
                self._open("rw")

    def _open(self, mode: str) -> None:
        """Opens the file, and makes sure that an index in it, if there is one, is ours."""
        file = Path(self.name).absolute().as_uri()
        self._db = sqlite3.connect(
            f"{file}?mode={mode}", uri=True, timeout=30, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
        for setting in ("trusted_schema = OFF", "case_sensitive_like = ON", "cache_size = -65536"):
            self._db.execute(f"PRAGMA {setting}")
        ((application,), (version,)) = (
            self._db.execute(f"PRAGMA {name}").fetchone()
            for name in ("application_id", "user_version")
        )
        schema = {row[0] for row in self._db.execute("SELECT sql FROM sqlite_master")} - {None}
        if not schema:  # nothing yet, or what a kill has left of the first moment
            return
        if application != _APPLICATION or version > _FORMAT or schema != {*_SCHEMA, _COUNTERS}:
            newer = " of this version" if application == _APPLICATION else ""
            raise UserError(f"{self.name}: a database, but no index{newer}; name another file")
        known = self._db.execute("SELECT name, value FROM index_metadata")
        self.metadata = {name: json.loads(value) for name, value in known}
        check_bit(self.metadata["bit"], f"{self.name}: ")
        self._codes = np.empty((0, packed_bytes(self.metadata["bit"])), np.uint8)

    def create(self, metadata: dict[str, Any]) -> None:
        self.close()
        with self._told():
            Path(self.name).absolute().parent.mkdir(parents=True, exist_ok=True)
            self._open("rwc")
            self._db.execute("PRAGMA journal_mode = WAL")
        with self._transaction("IMMEDIATE") as db:
            if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                for statement in _SCHEMA:
                    db.execute(statement)
                rows = [(name, json.dumps(value)) for name, value in metadata.items()]
                db.executemany("INSERT INTO index_metadata VALUES (?, ?)", rows)
                db.execute(f"PRAGMA application_id = {_APPLICATION}")
                db.execute(f"PRAGMA user_version = {_FORMAT}")
        self.close()
        with self._told():
            self._open("rw")

    def upsert(self, entries: Sequence[Entry]) -> None:
        rows, labels = [], []
        for entry in sorted(
            entries, key=itemgetter(0)
        ):  # by id, so that the tree of ids is walked in order
            texts = json.dumps(entry.labels), json.dumps(entry.metadata)
            rows.append((*entry[:4], *texts))
            labels += [(label, entry.id) for label in entry.labels]
        with self._transaction("IMMEDIATE") as db:
            _drop_labels(db, [entry.id for entry in entries])
            db.executemany(
                f"INSERT OR REPLACE INTO images ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", rows
            )
            db.executemany("INSERT OR IGNORE INTO labels VALUES (?, ?)", labels)

    def delete(self, ids: Sequence[int]) -> None:
        given = (json.dumps(list(map(int, ids))),)
        with self._transaction("IMMEDIATE") as db:
            _drop_labels(db, ids)
            these = f"FROM images WHERE id IN {_GIVEN}"
            db.execute(f"INSERT INTO removed (id) SELECT id {these}", given)
            db.execute(f"DELETE {these}", given)

    def get(self, ids: Sequence[int]) -> dict[int, Entry]:
        given = (json.dumps(list(map(int, ids))),)
        with self._transaction() as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM images WHERE id IN {_GIVEN}", given)
            return {row[0]: _entry(row) for row in rows}

    def scan(self) -> Iterator[list[Entry]]:
        last = 0
        while True:
            with self._transaction() as db:
                rows = db.execute(
                    f"SELECT {_COLUMNS}, row FROM images WHERE row > ? ORDER BY row LIMIT ?",
                    (last, BATCH),
                ).fetchall()
                entries = [_entry(row[:-1]) for row in rows]
            if not entries:
                return
            last = rows[-1][-1]
            yield entries

    def count(self) -> int:
        with self._transaction() as db:
            return db.execute("SELECT count(*) FROM images").fetchone()[0]

    def search(self, codes: np.ndarray, k: int, where: str | None = None) -> list[Found]:
        with self._transaction() as db:
            self._refresh(db)
            ids, known = self._ids, self._codes
            if where is not None:
                places = self._places(db, where)
                ids, known = ids[places], known[places]
        if not len(ids):
            return [(np.empty(0, np.int64), np.empty(0, np.int32))] * len(codes)
        distances, places = nearest(codes, known, k)  # ids rise: by place is by id
        return list(zip(ids[places], distances))

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()
            self._db = None

    def _refresh(self, db: sqlite3.Connection) -> None:
        """Takes in what was added and removed since the last search, by whatever process."""
        last = dict(db.execute("SELECT name, seq FROM sqlite_sequence"))
        seen = last.get("images", 0), last.get("removed", 0)
        if seen == self._seen:
            return
        rows = db.execute("SELECT id, code FROM images WHERE row > ?", self._seen[:1])
        ids, codes = _ids_and_codes(rows, self._codes.shape[1])
        gone = db.execute("SELECT id FROM removed WHERE row > ?", self._seen[1:])
        gone = np.concatenate([ids, np.fromiter((row[0] for row in gone), np.int64)])
        places = np.searchsorted(self._ids, gone)
        there = places < len(self._ids)
        there[there] = self._ids[places[there]] == gone[there]
        kept_ids = np.delete(self._ids, places[there])
        kept_codes = np.delete(self._codes, places[there], axis=0)
        places = np.searchsorted(kept_ids, ids)
        self._ids = np.insert(kept_ids, places, ids)
        self._codes = np.insert(kept_codes, places, codes, axis=0)
        self._seen, self._filtered = seen, {}

    def _places(self, db: sqlite3.Connection, where: str) -> np.ndarray:
        """The places, rising, of the codes that pass a filter; kept until something changes."""
        if where not in self._filtered:
            if len(self._filtered) >= FILTERS_KEPT:
                self._filtered.clear()
            query, values = _as_query(where)
            found = np.fromiter((row[0] for row in db.execute(query, values)), np.int64)
            self._filtered[where] = np.searchsorted(self._ids, np.sort(found))
        return self._filtered[where]

    @contextlib.contextmanager
    def _transaction(self, kind: str = "DEFERRED") -> Iterator[sqlite3.Connection]:
        """One state of the index for the block; all that it writes is kept, or nothing."""
        with self._lock, self._told():
            if self._db is None:
                raise UserError(f"{self.name}: no index is there")
            self._db.execute(f"BEGIN {kind}")
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise UserError(f"{self.name}: {first_line(error)}") from error
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise UserError(f"{self.name}: a damaged index: {first_line(error)}") from error


def _drop_labels(db: sqlite3.Connection, ids: Sequence[int]) -> None:
    db.execute(
        "DELETE FROM labels WHERE (label, id) IN (SELECT json_each.value, images.id "
        f"FROM images, json_each(images.labels) WHERE images.id IN {_GIVEN})",
        (json.dumps(list(map(int, ids))),),
    )


def _entry(row: tuple) -> Entry:
    return Entry(*row[:4], tuple(json.loads(row[4])), json.loads(row[5]))


def _ids_and_codes(rows: sqlite3.Cursor, width: int) -> Found:
    """Ids, rising, and packed codes, read some at a time: rows in Python take much memory."""
    ids, codes = [np.empty(0, np.int64)], [np.empty((0, width), np.uint8)]
    while some := rows.fetchmany(BATCH):
        of_some = [row[1] for row in some]
        if set(map(len, of_some)) != {width}:
            raise ValueError(f"codes of other lengths than {width} bytes")
        ids.append(np.array([row[0] for row in some], np.int64))
        codes.append(np.frombuffer(b"".join(of_some), np.uint8).reshape(-1, width))
    ids, codes = map(np.concatenate, (ids, codes))
    order = ids.argsort()
    return ids[order], codes[order]


def _as_query(where: str) -> tuple[str, list[Any]]:
    """A filter as SQL that gives ids, and the values that it compares with."""
    parts, values = [], []
    for part in parse_filter(where):
        if not isinstance(part, Comparison):
            parts.append(part)
            continue
        negated = part.sign in ("!=", "NOT IN")
        sign = {"!=": "=", "NOT IN": "IN"}.get(part.sign, part.sign)
        marks = ", ".join("?" * len(part.values))
        compared = f"{sign} ({marks})" if sign == "IN" else f"{sign} ?"
        if part.name == "label":
            sql = f"{_OF_LABELS} WHERE label {compared})"
        elif part.name in ("id", "path"):
            sql = f"{part.name} {compared}"
        else:
            value = f"""json_extract(metadata, '$."{part.name}"')"""
            kind = "'text'" if isinstance(part.values[0], str) else "'integer', 'real'"
            sql = f"coalesce({value} {compared}, 0)"
            if sign[0] in "<>L":
                sql = f"({sql} AND typeof({value}) IN ({kind}))"
        parts.append(f"NOT {sql}" if negated else sql)
        values += part.values
    if len(parts) == 1 and parts[0].startswith(_OF_LABELS):  # no need to look at images
        return parts[0][len("id IN (") : -1], values
    return f"SELECT id FROM images WHERE {' '.join(parts)}", values
