"""Where an index is kept: in SQLite, a file that needs no server, or elsewhere the same way."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utils.codes import check_bit, nearest, packed_bytes
from utils.search.filters import parse_filter
from utils.system.errors import UserError, first_line
from utils.system.files import check_writable

BATCH = 10_000
"""Entries that are read or written at a time."""
Found = tuple[np.ndarray, np.ndarray]
"""Ids, int64 [m], and distances, int32 [m], by (distance, id)."""


class Entry(NamedTuple):
    """An image of an index.

    Attributes:
        id: less than 2^53, so that JavaScript's numbers hold it.
        key: changes with the file (`utils.datasets.images.ImageFiles.key`).
        code: packed, `utils.codes.packed_bytes` long.
        labels: sorted, each once.
        metadata: what else is known, in JSON values.
    """

    id: int
    path: str
    key: str
    code: bytes
    labels: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}  # noqa: RUF012 (nobody changes it)


APPLICATION = 0x48617368
"""'Hash', at byte 68 of the file: whose it is."""
_SCHEMA = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # Row numbers only grow: beyond the last that was seen lies what is new or changed.
    "CREATE TABLE images (row INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER NOT NULL UNIQUE, "
    "path TEXT NOT NULL, key TEXT NOT NULL, code BLOB NOT NULL, labels TEXT NOT NULL, "
    "metadata TEXT NOT NULL)",
    "CREATE TABLE removed (row INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER NOT NULL)",
    "CREATE TABLE labels (label TEXT, id INTEGER, PRIMARY KEY (label, id)) WITHOUT ROWID",
)
_BY_SQLITE = "CREATE TABLE sqlite_sequence(name,seq)"
_ENTRY = "id, path, key, code, labels, metadata"
_THESE = "FROM images WHERE id IN (SELECT value FROM json_each(?))"
_DROP_LABELS = (
    "DELETE FROM labels WHERE (label, id) IN (SELECT json_each.value, images.id FROM images, "
    "json_each(images.labels) WHERE images.id IN (SELECT value FROM json_each(?)))"
)
_WITH_LABEL = "SELECT id FROM labels WHERE label = ?"
_NUMBERS = "'integer', 'real'"
_TYPES = {str: "'text'", bool: "'true', 'false'", int: _NUMBERS, float: _NUMBERS}
"""What SQLite calls the JSON values that a filter's value may be compared with."""


class SqliteStore:
    """An index in a SQLite file, its codes packed in memory; any thread may call it.

    A batch is a transaction: there after a kill, or not at all. Readers do not wait for a writer
    (write-ahead log). A search first takes in what any process has changed. Whatever goes wrong
    is a `UserError`.

    Attributes:
        name: for messages.
        metadata: the index's, `bit` among it; empty where there is no index yet.
    """

    def __init__(self, name: str):
        self.name, self.metadata = name, {}
        self._lock, self._db = threading.RLock(), None
        with self._told():
            if os.path.lexists(name):
                if not stat.S_ISREG(os.stat(name).st_mode):
                    raise UserError(f"{name}: not a regular file; expected an index")
                self._open("rw")

    def _open(self, mode: str) -> None:
        self._ids, self._codes = np.empty(0, np.int64), np.empty((0, 0), np.uint8)
        self._seen, self._passing, self._frozen = (0, 0), (None, None), None
        try:
            schema = self._connect(f"mode={mode}")
        except sqlite3.OperationalError:
            # Reading needs files beside the index, unless nobody writes it.
            frozen = self._state()
            if os.access(Path(self.name).absolute().parent, os.W_OK) or frozen[-1]:
                raise
            schema, self._frozen = self._connect(f"mode={mode}&immutable=1"), frozen
        db = self._db
        if not schema:  # a new file, or what a kill in the first moment has left
            return
        whose = db.execute("PRAGMA application_id").fetchone()[0]
        if (whose, schema) != (APPLICATION, {*_SCHEMA, _BY_SQLITE}):
            raise UserError(f"{self.name}: a database, but not an index of this version")
        about = db.execute("SELECT name, value FROM about")
        self.metadata = {name: json.loads(value) for name, value in about}
        check_bit(self.metadata["bit"], f"{self.name}: ")
        self._codes = np.empty((0, packed_bytes(self.metadata["bit"])), np.uint8)

    def _connect(self, how: str) -> set[str]:
        self.close()
        uri = f"{Path(self.name).absolute().as_uri()}?{how}"
        self._db = db = sqlite3.connect(
            uri, uri=True, timeout=30, isolation_level=None, check_same_thread=False
        )
        db.execute("PRAGMA trusted_schema = OFF")
        return {row[0] for row in db.execute("SELECT sql FROM sqlite_master")} - {None}

    def _state(self) -> tuple:
        """Differs once another process has written the file, or begun to."""
        file = os.stat(self.name)
        return file.st_ino, file.st_size, file.st_mtime_ns, os.path.exists(f"{self.name}-wal")

    def create(self, metadata: dict[str, Any]) -> None:
        """Makes an index; where another process was faster, `metadata` is that one's."""
        with self._told():
            check_writable(Path(self.name).absolute().parent)
            self._open("rwc")
            self._db.execute("PRAGMA journal_mode = WAL")
            with self._transaction("IMMEDIATE") as db:
                if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                    about = [(name, json.dumps(value)) for name, value in metadata.items()]
                    for statement in _SCHEMA:
                        db.execute(statement)
                    db.executemany("INSERT INTO about VALUES (?, ?)", about)
                    db.execute(f"PRAGMA application_id = {APPLICATION}")
            self._open("rw")

    def upsert(self, entries: Sequence[Entry]) -> None:
        """Adds `BATCH` entries at most, in place of those of the same ids."""
        entries = sorted(entries, key=lambda entry: entry.id)  # the tree of ids is walked in order
        rows = [(*e[:4], json.dumps(e.labels), json.dumps(e.metadata)) for e in entries]
        labels = [(label, entry.id) for entry in entries for label in entry.labels]
        with self._transaction("IMMEDIATE") as db:
            db.execute(_DROP_LABELS, [_listed(entry.id for entry in entries)])
            db.executemany(f"REPLACE INTO images ({_ENTRY}) VALUES (?, ?, ?, ?, ?, ?)", rows)
            db.executemany("INSERT OR IGNORE INTO labels VALUES (?, ?)", labels)

    def delete(self, ids: Sequence[int]) -> None:
        """Removes the entries of `BATCH` ids at most, where they are there."""
        with self._transaction("IMMEDIATE") as db:
            db.execute(_DROP_LABELS, [_listed(ids)])
            db.execute(f"INSERT INTO removed (id) SELECT id {_THESE}", [_listed(ids)])
            db.execute(f"DELETE {_THESE}", [_listed(ids)])

    def get(self, ids: Sequence[int]) -> dict[int, Entry]:
        """The entries of these ids that are there."""
        with self._transaction() as db:
            rows = db.execute(f"SELECT {_ENTRY} {_THESE}", [_listed(ids)])
            return {row[0]: _entry(row) for row in rows}

    def scan(self) -> Iterator[list[Entry]]:
        """All entries, some at a time."""
        some = f"SELECT {_ENTRY}, row FROM images WHERE row > ? ORDER BY row LIMIT {BATCH}"
        last = 0
        while True:
            with self._transaction() as db:
                rows = db.execute(some, [last]).fetchall()
                entries = [_entry(row[:-1]) for row in rows]
            if not entries:
                return
            yield entries
            last = rows[-1][-1]

    def count(self) -> int:
        """How many entries there are."""
        with self._transaction() as db:
            return db.execute("SELECT count(*) FROM images").fetchone()[0]

    def search(self, code: np.ndarray, k: int, where: str | None = None) -> Found:
        """The nearest k of a code, uint8 [bytes], among what passes a filter."""
        with self._transaction() as db:
            self._refresh(db)
            ids, known = self._ids, self._codes
            if where is not None:
                ids, known = self._passing_of(db, where)
        if not len(ids):
            return ids, np.empty(0, np.int32)
        (distances,), (places,) = nearest(code[np.newaxis], known, k)
        return ids[places], distances  # ids rise, so that by place is by id

    def close(self) -> None:
        """Ends the use of the store."""
        with self._lock:
            if self._db is not None:
                self._db.close()

    def _refresh(self, db: sqlite3.Connection) -> None:
        """Takes in what was added and removed since the last search; only that is read."""
        last = dict(db.execute("SELECT name, seq FROM sqlite_sequence"))
        seen = last.get("images", 0), last.get("removed", 0)
        if seen == self._seen:
            return
        new = db.execute("SELECT id, code FROM images WHERE row > ?", self._seen[:1])
        ids, codes = _ids_and_codes(new, self._codes.shape[1])
        gone = _ids(db, "SELECT id FROM removed WHERE row > ?", self._seen[1:])
        gone = np.isin(self._ids, np.concatenate([ids, gone]))
        kept_ids, kept_codes = self._ids[~gone], self._codes[~gone]
        places = np.searchsorted(kept_ids, ids)
        self._ids = np.insert(kept_ids, places, ids)
        self._codes = np.insert(kept_codes, places, codes, axis=0)
        self._seen, self._passing = seen, (None, None)

    def _passing_of(self, db: sqlite3.Connection, where: str) -> tuple[np.ndarray, np.ndarray]:
        """Ids, rising, and codes of what passes a filter; those of the last one are kept."""
        if self._passing[0] != where:
            ids = np.sort(_ids(db, *_as_sql(where)), kind="stable")
            codes = self._codes[np.searchsorted(self._ids, ids)]
            self._passing = where, (ids, codes)
        return self._passing[1]

    @contextlib.contextmanager
    def _transaction(self, kind: str = "DEFERRED") -> Iterator[sqlite3.Connection]:
        """One state of the index for the block; all that it writes is kept, or nothing."""
        with self._lock, self._told():
            if self._frozen and self._frozen != self._state():
                self._open("rw")
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
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{self.name}: a damaged index: {first_line(error)}") from error


def _listed(ids: Iterable[int]) -> str:
    return json.dumps(list(map(int, ids)))


def _entry(row: tuple) -> Entry:
    return Entry(*row[:4], tuple(json.loads(row[4])), json.loads(row[5]))


def _ids(db: sqlite3.Connection, query: str, values: Sequence[Any]) -> np.ndarray:
    """The ids that a query gives, as one text: that takes half the time of a row each."""
    text = db.execute(f"SELECT group_concat(id) FROM ({query})", values).fetchone()[0]
    return np.fromstring(text or "", np.int64, sep=",")


def _ids_and_codes(rows: sqlite3.Cursor, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids, rising, and their codes; some at a time, since rows in Python take much memory."""
    ids, codes = [np.empty(0, np.int64)], [np.empty((0, width), np.uint8)]
    while some := rows.fetchmany(BATCH):
        of_some = [row[1] for row in some]
        if set(map(len, of_some)) != {width}:
            raise ValueError(f"codes that do not have {width} bytes")
        ids.append(np.array([row[0] for row in some], np.int64))
        codes.append(np.frombuffer(b"".join(of_some), np.uint8).reshape(-1, width))
    ids, codes = map(np.concatenate, (ids, codes))
    order = ids.argsort()
    return ids[order], codes[order]


def _as_sql(where: str) -> tuple[str, list[Any]]:
    """A filter as SQL that gives ids, and the values that it compares with."""
    parts, values = [], []
    for part in parse_filter(where):
        if isinstance(part, str):
            parts.append(part)
            continue
        name, sign, value = part
        if name == "label":
            sql = f"id IN ({_WITH_LABEL})"
        elif name in ("id", "path"):
            sql = f"{name} {sign.lstrip('!')} ?"
        else:
            place = f"metadata, '$.{json.dumps(name)}'"  # escaped, as the names in it are
            compared = f"json_extract({place}) {sign.lstrip('!')} ?"
            sql = f"(ifnull(json_type({place}), '') IN ({_TYPES[type(value)]}) AND {compared})"
        parts.append(f"NOT {sql}" if sign == "!=" else sql)
        values.append(value)
    condition = " ".join(parts)
    if condition == f"( id IN ({_WITH_LABEL}) )":
        return _WITH_LABEL, values  # no image need be looked at
    return f"SELECT id FROM images WHERE {condition}", values
