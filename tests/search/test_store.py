"""Stores of an index: the answers of brute force, whatever has happened before."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import REPOSITORY

from utils.search.filters import parse_filter
from utils.search.index import open_store
from utils.search.milvus import MOST
from utils.search.store import Entry, SqliteStore
from utils.system.errors import UserError

HAS_LITE = all(map(importlib.util.find_spec, ("pymilvus", "milvus_lite")))
LITE = pytest.mark.skipif(not HAS_LITE, reason="pymilvus or milvus-lite is not installed")
KINDS = ["{}.db", pytest.param("milvus:{}_milvus.db", marks=LITE)]
_DROP = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
WITHOUT_RIGHTS = ["env"] if os.getuid() else _DROP if shutil.which("setpriv") else []
"""What a command begins with that may write no more than its files' modes say."""
LABELS = ["cat", "dog", "it's", 'a"b', "ü\\x"]
METADATA = {"year": [2000, 2001, 2002.5, "2001"], "who": ["x", "x_y", "y%"]}
METADATA.update({"ok": [True, False, 1, 0], "größe": [1, "1", "[1]", [1], {"1": 1}, None]})


def labelled(*names):
    return lambda entry: bool({*names} & {*entry.labels})


def year(entry, default=0.0):
    value = entry.metadata.get("year", default)
    return default if isinstance(value, str) else value


FILTERS = {
    "label = 'cat'": labelled("cat"),
    "label != 'cat' AND year >= 2001": lambda e: "cat" not in e.labels and year(e) >= 2001,
    "label IN ('dog','it''s') or path LIKE '/a/1%'": lambda e: (
        labelled("dog", "it's")(e) or e.path.startswith("/a/1")
    ),
    "label NOT IN ('dog', 'cat')": lambda e: not labelled("dog", "cat")(e),
    "(label = 'a\"b' OR label == 'ü\\x')": labelled('a"b', "ü\\x"),
    "year <> 2001": lambda e: e.metadata.get("year") != 2001,
    "year < 2001.5": lambda e: year(e, 3000) < 2001.5,
    "year > 'a'": lambda e: False,
    "who = 'x_y' AND (year = 2000 OR ok = true)": lambda e: (
        e.metadata.get("who") == "x_y" and (year(e) == 2000 or e.metadata.get("ok") is True)
    ),
    "who LIKE 'x_%'": lambda e: e.metadata.get("who") == "x_y",
    "nobody != 1 AND id >= 0": lambda e: True,
    "ok = 1 OR ok > 0.5": lambda e: repr(e.metadata.get("ok")) == "1",
    "ok NOT IN (0, true)": lambda e: repr(e.metadata.get("ok")) not in ("0", "True"),
    "größe = 1": lambda e: e.metadata.get("größe") == 1,
    "größe LIKE '%' and größe != '1'": lambda e: e.metadata.get("größe") == "[1]",
}


def drawn(number: int, bit: int, draw: random.Random) -> Entry:
    """An entry with one of few codes, so that many are equally far."""
    code = np.packbits([draw.random() < 0.2 if i < 6 else 0 for i in range(bit)])
    metadata = {name: draw.choice(v) for name, v in METADATA.items() if draw.random() < 0.7}
    labels = tuple(sorted(draw.sample(LABELS, draw.randrange(3))))
    return Entry(
        number, f"/a/{draw.randrange(100)} {number}", "k", code.tobytes(), labels, metadata
    )


def brute_force(entries, code, k, keep):
    """Distances and ids, by both."""
    found = []
    for entry in filter(keep, entries):
        differing = np.frombuffer(entry.code, np.uint8) ^ code
        found.append((int(np.unpackbits(differing).sum()), entry.id))
    return sorted(found)[:k]


def made(kind: str, folder, bit: int):
    """A new store of a kind, and its name."""
    name = kind.format(folder / "index")
    store = open_store(name)
    assert store.metadata == {}
    store.create({"bit": bit, "network": {"weights_sha256": "0"}})
    return store, name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bit", [12, 16, 64, 100, 512])
def test_answers_are_those_of_brute_force(kind, bit, tmp_path):
    draw, entries = random.Random(bit), {}
    store, name = made(kind, tmp_path, bit)
    for step in range(3):
        new = {number: drawn(number, bit, draw) for number in draw.sample(range(1, 500), 200)}
        entries.update(new)  # some of them in place of others
        store.upsert(list(new.values()))
        gone = draw.sample(sorted(entries), 40)
        store.delete([*gone, 1000])
        for number in gone:
            del entries[number]
        if step == 1:
            store.close()
            store = open_store(name)
            assert store.metadata["bit"] == bit
        assert store.count() == len(entries) and store.get([*entries, 1000]) == entries
        assert {e.id: e for some in store.scan() for e in some} == entries
        codes = [np.frombuffer(e.code, np.uint8) for e in list(entries.values())[:2]]
        for where, keep in {None: lambda e: True, **FILTERS}.items():
            for k in (1, 7, 1000):
                for code in codes:
                    ids, distances = store.search(code, k, where)
                    pairs = list(zip(distances.tolist(), ids.tolist()))
                    assert pairs == brute_force(entries.values(), code, k, keep), (where, k)
    store.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_of_a_thousand_values(kind, tmp_path):
    store, _ = made(kind, tmp_path, 8)
    store.upsert([Entry(n, "/p", "k", b"a", (str(n),), {"n": n}) for n in range(1500)])
    numbers, labels = ", ".join(map(str, range(1200))), ", ".join(f"'{n}'" for n in range(1200))
    for where, found in (
        (f"id IN ({numbers})", range(1200)),
        (f"n NOT IN ({numbers})", range(1200, 1500)),
        (f"label IN ({labels})", range(1200)),
    ):
        assert store.search(np.uint8([0]), 2000, where)[0].tolist() == list(found)
    store.close()


@LITE
def test_more_ties_than_milvus_returns_at_once(tmp_path):
    store, _ = made("milvus:{}.db", tmp_path, 8)
    rng = np.random.default_rng(0)
    ids = np.unique(rng.integers(0, 1 << 53, MOST + 4000))
    for some in np.array_split(ids, 3):
        store.upsert(
            [Entry(number, "/p", "k", bytes([number % 8 == 0])) for number in some.tolist()]
        )
    for k in (5, MOST):
        found, distances = store.search(np.uint8([1]), k)
        order = np.lexsort([ids, ids % 8 != 0])[:k]
        np.testing.assert_array_equal(found, ids[order])
        np.testing.assert_array_equal(distances, ids[order] % 8 != 0)
    with pytest.raises(UserError, match=r"16,385 images asked for: Milvus finds 16,384 at most"):
        store.search(np.uint8([1]), MOST + 1)
    store.close()


@pytest.mark.parametrize(
    ("text", "where"),
    [
        *(("", "not a whole one"), ("label = 'a' AND", "not a whole one"), ("a = 1)", "whole")),
        *(("a = 1; DROP TABLE images", "; DROP TABLE"), ("a = (SELECT 1)", "a = ")),
        *(("label < 'x'", "label <"), ("a LIKE 'x%y'", "a LIKE"), ("a = 1 b = 2", "whole")),
        *(("label = 5", "label = 5"), ("id IN (1, 'x')", "id IN"), ("id = 1.5 OR", "id = 1.5")),
        *(("path != true", "path !="), ("id LIKE '1%'", "id LIKE")),
        *(("'a' = 'a'", "'a' ="), ("a = b", "a = b"), ("x" * 10_001, "not understood")),
        *(("a = '\udcff'", "'"), ("a LIKE '\udcff%'", "LIKE")),  # bytes that are no UTF-8
    ],
)
def test_a_filter_that_is_none_is_one_line(text, where):
    with pytest.raises(UserError, match=r"^filter .* expected such as label = 'cat'") as told:
        parse_filter(text)
    assert where in str(told.value) and len(str(told.value).splitlines()) == 1


def test_parentheses_without_end_are_refused_by_sqlite(tmp_path):
    store, _ = made(KINDS[0], tmp_path, 8)
    store.upsert([Entry(1, "/a", "k", b"a")])
    with pytest.raises(UserError, match=r"index\.db: "):
        store.search(np.uint8([0]), 1, "(" * 2000 + "a = 1" + ")" * 2000)
    assert len(store.search(np.uint8([0]), 1)[0]) == 1


def others(path):
    """What is no index of ours: name → message."""
    (path / "folder.db").mkdir()
    (path / "text.db").write_text("no database at all" * 100)
    with sqlite3.connect(path / "other.db") as db:
        db.execute("CREATE TABLE images (id)")
    db.close()
    made(KINDS[0], path, 8)[0].close()
    (path / "index.db").rename(path / "damaged.db")
    with sqlite3.connect(path / "damaged.db") as db:
        db.execute("UPDATE about SET value = '\"eight\"' WHERE name = 'bit'")
    db.close()
    return {
        "folder.db": "not a regular file",
        "text.db": "file is not a database",
        "other.db": "a database, but not an index",
        "damaged.db": "a damaged index",
    }


def test_what_is_no_index_is_one_line(tmp_path):
    for name, message in others(tmp_path).items():
        with pytest.raises(UserError, match=rf"{name}: {message}"):
            open_store(str(tmp_path / name))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that root cannot write")
def test_a_folder_that_cannot_be_written_is_one_line():
    with pytest.raises(UserError, match=r"^/proc/self: cannot be written: "):
        SqliteStore("/proc/self/new.db").create({"bit": 8})


def test_a_package_that_lacks_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(UserError, match=r"not installed: pip install -r requirements-search"):
        open_store("http://localhost:1")


@LITE
def test_what_is_no_milvus_is_one_line(tmp_path):
    others(tmp_path)
    for name, message in (
        (f"milvus:{tmp_path}/damaged.db", "an index in SQLite: name it without milvus:"),
        (f"milvus:{tmp_path}/text.db", "Open local milvus failed"),
        ("http://127.0.0.1:1", "Fail connecting to server"),
        ("milvus:file", "expected http://HOST:PORT"),
    ):
        with pytest.raises(UserError, match=message):
            open_store(name)


def test_codes_of_a_wrong_length_are_told(tmp_path):
    store, _ = made(KINDS[0], tmp_path, 16)
    store.upsert([Entry(1, "/a", "k", b"ab"), Entry(2, "/b", "k", b"abc")])
    with pytest.raises(UserError, match=r"a damaged index: codes that do not have 2 bytes"):
        store.search(np.uint8([0, 0]), 1)


def test_a_reader_sees_what_another_process_does(tmp_path):
    writer, name = made(KINDS[0], tmp_path, 8)
    reader, code = SqliteStore(name), np.uint8([0])

    def seen(**how):
        return reader.search(code, 9, **how)[0].tolist()

    assert seen() == []
    writer.upsert([Entry(n, f"/{n}", "k", bytes([n]), ("odd",) * (n % 2)) for n in range(1, 4)])
    assert seen() == [1, 2, 3] and seen(where="label = 'odd'") == [1, 3]
    writer.delete([1])
    writer.upsert([Entry(3, "/3", "k", b"\0")])
    assert seen() == [3, 2] and seen(where="label = 'odd'") == []
    writer.delete([3])
    writer.upsert([Entry(3, "/3", "k", b"\xff")])
    assert seen() == [2, 3]


READER = """
import sys
import numpy as np
from utils.search.store import SqliteStore
store = SqliteStore(sys.argv[1])
while True:
    print(*store.search(np.uint8([0]), 9)[0], flush=True)
    input()
"""


@pytest.mark.skipif(not WITHOUT_RIGHTS, reason="this system does not let root have no rights")
def test_an_index_in_a_folder_that_cannot_be_written_is_read_and_followed(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    store, name = made(KINDS[0], folder, 8)
    store.upsert([Entry(1, "/1", "k", b"\1")])
    store.close()
    folder.chmod(0o555)
    command = [*WITHOUT_RIGHTS, sys.executable, "-c", READER, name]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=REPOSITORY, **pipes) as reader:
        assert reader.stdout.readline() == "1\n"
        for number in (2, 3):
            folder.chmod(0o755)
            store = SqliteStore(name)
            store.upsert([Entry(number, f"/{number}", "k", b"\1")])
            if number == 3:  # an open one has files beside the index
                store.close()
            folder.chmod(0o555)
            print(file=reader.stdin, flush=True)
            assert reader.stdout.readline() == " ".join(map(str, range(1, number + 1))) + "\n"
        reader.stdin.close()
    folder.chmod(0o755)


def keep_adding(name: str, acknowledged: str) -> None:
    """Adds and replaces batch after batch, and notes each that is kept; until it is killed."""
    store, draw = SqliteStore(name), random.Random(os.getpid())
    if not store.metadata:
        store.create({"bit": 64})
    with Path(acknowledged).open("a") as file:
        while True:
            batch = [drawn(draw.randrange(10**6), 64, draw) for _ in range(20)]
            batch = list({entry.id: entry for entry in batch}.values())
            store.upsert(batch)
            file.write(json.dumps([entry.id for entry in batch]) + "\n")
            file.flush()


def kill_while_adding(folder, kills: int) -> None:
    """Kills a process that adds at random moments; what it noted must be there each time."""
    name, notes, draw = str(folder / "killed.db"), folder / "notes.txt", random.Random(kills)
    process = multiprocessing.get_context("fork").Process
    for _ in range(kills):
        job = process(target=keep_adding, args=(name, str(notes)))
        job.start()
        time.sleep(draw.uniform(0, 0.15))
        os.kill(job.pid, signal.SIGKILL)
        job.join()
        lines = notes.read_text().splitlines(keepends=True) if notes.exists() else []
        noted = {number for line in lines if line.endswith("\n") for number in json.loads(line)}
        store = SqliteStore(name)
        entries = {e.id: e for some in store.scan() for e in some} if store.metadata else {}
        assert entries.keys() >= noted
        if entries:
            ids, _ = store.search(np.zeros(8, np.uint8), len(entries))
            assert sorted(ids.tolist()) == sorted(entries)
            cats = [e.id for e in entries.values() if "cat" in e.labels]
            found, _ = store.search(np.zeros(8, np.uint8), 10**6, "label = 'cat'")
            assert sorted(found.tolist()) == sorted(cats)
        store.close()
    assert len(entries) > 20


def test_nothing_that_was_kept_is_lost_by_a_kill(tmp_path):
    kill_while_adding(tmp_path, int(os.environ.get("HASHNET_KILLS", 8)))
