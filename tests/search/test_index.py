"""An index of images: what is encoded when, what is found; its commands as users run them."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers import COCO_LITE, fail, run_script, succeed
from PIL import Image

from utils.datasets.transforms import build_transform
from utils.inference.encoder import Encoder
from utils.search import index as index_module
from utils.search.index import ImageIndex, folder_name, open_store
from utils.system.errors import UserError

COMMAND = "deploy/search/index.py"


class Reds:
    """A backend whose codes are the images' red; it counts the images."""

    precision, encoded, after = "fp32", 0, None

    def __enter__(self): ...

    def __exit__(self, *error): ...

    def __call__(self, images):
        if self.after is not None and self.encoded >= self.after:
            raise KeyboardInterrupt
        self.encoded += len(images)
        return images[:, 0, 0, :1].copy()


def opened(path, bit=8, weights="a" * 64, crop=24):
    """An index in a SQLite file, and what encodes its images."""
    backend = Reds()
    network = {"weights": "w.pdparams", "weights_sha256": weights}
    encoder = Encoder(backend, build_transform("short_side", 30, crop), 3, weights=network)
    return ImageIndex(open_store(str(path)), encoder, {"bit": bit}), backend


def draw(path, red):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (red, 0, 0)).save(path)
    return path


@pytest.fixture()
def images(tmp_path):
    """Ten images in folders cat and dog, of the reds 0 to 9."""
    for red in range(10):
        draw(tmp_path / "images" / ("cat", "dog")[red % 2] / f"{red}.png", red)
    return tmp_path / "images"


def found(hits):
    return [(hit.distance, Path(hit.path).name) for hit in hits]


def test_only_new_and_changed_images_are_encoded_and_vanished_ones_removed(images, tmp_path):
    index, backend = opened(tmp_path / "i.db")
    with index:
        changes = index.add(images / "cat", labels=folder_name)
        assert (str(changes), backend.encoded) == (
            "5 new, 0 changed, 0 vanished, 0 unchanged, 0 left out",
            5,
        )
        assert str(index.sync(images)).startswith("5 new, 0 changed, 0 vanished, 5 unchanged")
        assert backend.encoded == len(index) == 10
        (images / "cat/4.png").unlink()
        (images / "cat/6.png").write_text("no image")
        draw(images / "dog/3.png", 255)
        draw(images / "dog/new.png", 4)
        changes = index.sync(images)
        counts = (changes.new, changes.changed, changes.vanished, changes.unchanged)
        assert counts == (1, 1, 1, 7) and list(changes.left_out) == [str(images / "cat/6.png")]
        assert found(index.search(images / "dog/new.png", 1)) == [(0, "new.png")]
        assert index.search(np.uint8([255]), 1)[0].path == str(images / "dog/3.png")
        assert index.remove([images / "dog", images / "cat/0.png", "nothing"]) == 7
        shutil.rmtree(images)
        with pytest.raises(UserError, match=r"images: the folder is missing"):
            index.sync(images)
        images.mkdir()
        with pytest.raises(UserError, match=r"images: the folder holds no image"):
            index.sync(images)
        assert len(index) == 2


def test_searches_by_file_image_code_and_id_with_labels_and_limits(images, tmp_path):
    index, _ = opened(tmp_path / "i.db")
    with index:
        index.add(images, folder_name, {"year": 2024})
        index.add(images / "dog/1.png", ["dog", "old"], {"year": 2000})
        hits = index.search(images / "cat/2.png", 20)
        assert [(h.distance, h.id) for h in hits] == sorted((h.distance, h.id) for h in hits)
        with Image.open(images / "cat/2.png") as image:
            others = (image, np.uint8([2]), hits[0].id)
            assert all(index.search(query, 20) == hits for query in others)
        assert hits[0]._asdict() == {
            "id": hits[0].id,
            "distance": 0,
            "path": str(images / "cat/2.png"),
            "labels": ("cat",),
        }
        assert {h.labels for h in index.search(np.uint8([2]), 20, "label = 'cat'")} == {("cat",)}
        old = index.search(np.uint8([0]), 20, "year < 2010 AND label = 'old'")
        assert found(old) == [(1, "1.png")] and old[0].labels == ("dog", "old")
        near = index.search(np.uint8([0]), 20, max_distance=1)
        assert {h.distance for h in near} == {0, 1} and len(near) == 5
        for query, how, message in (
            (5, {}, "5: no image of the index has this id"),
            (np.uint8([1, 2]), {}, r"a code of uint8 \[2\]: not of 8 bits"),
            (np.uint8([1]), {"k": 0}, "0 images asked for"),
            (images / "none.png", {}, r"none\.png: missing"),
        ):
            with pytest.raises(UserError, match=message):
                index.search(query, **how)
        for labels in ([1], ["\udc80"]):
            with pytest.raises(UserError, match=r"\.png: labels or metadata: not text and JSON"):
                index.add(images, labels)


def test_another_network_is_refused_and_none_is_enough_to_search_by_id(images, tmp_path):
    index, _ = opened(tmp_path / "i.db")
    with index:
        index.add(images)
        hit = index.search(np.uint8([3]), 1)[0]
    for other in ({"weights": "b" * 64}, {"crop": 20}, {"bit": 7}):
        with pytest.raises(
            UserError, match=r"i\.db: is of w\.pdparams \(a{12}\), 8 bits, .*, not "
        ):
            opened(tmp_path / "i.db", **other)
    with ImageIndex(open_store(str(tmp_path / "i.db"))) as index:
        assert index.search(hit.id, 1) == [hit] and index.info()["images"] == 10
        with pytest.raises(UserError, match=r"opened without its network, it encodes no image"):
            index.search(images / "cat/2.png")
    with pytest.raises(UserError, match=r"none\.db: no index is there; `add` and `sync` make one"):
        ImageIndex(open_store(str(tmp_path / "none.db")))
    assert not (tmp_path / "none.db").exists()


def test_an_interruption_costs_the_batch_at_hand_alone(images, tmp_path):
    index, backend = opened(tmp_path / "i.db")
    backend.after = 6
    with index, pytest.raises(KeyboardInterrupt):
        index.sync(images)
    index, backend = opened(tmp_path / "i.db")
    with index:
        assert len(index) == 6
        assert index.sync(images).new == backend.encoded == 4


def test_images_of_the_same_id_are_kept_apart(images, tmp_path, monkeypatch):
    of_path = index_module.candidate_ids
    monkeypatch.setattr(index_module, "candidate_ids", lambda path: (7, *of_path(path)[1:]))
    index, _ = opened(tmp_path / "i.db")
    with index:
        index.add(images)
        assert len(index) == 10 and index.search(7, 1)[0].id == 7
        index.remove(index.search(7, 1)[0].path)
        assert index.sync(images).new == 1 and len(index) == 10


def test_names_that_are_no_text_are_left_out(images, tmp_path):
    odd = os.fsencode(images / "cat") + b"/\xff.png"
    try:
        shutil.copy(os.fsencode(images / "cat/0.png"), odd)
    except OSError:
        pytest.skip("this system knows no such names")
    index, _ = opened(tmp_path / "i.db")
    with index:
        changes = index.sync(images)
        assert (changes.new, list(changes.left_out)) == (10, [os.fsdecode(odd)])
        assert index.remove(os.fsdecode(odd)) == 0


def test_a_copy_has_all_of_it_and_keeps_to_the_network(images, tmp_path):
    index, _ = opened(tmp_path / "i.db")
    with index:
        index.add(images, folder_name)
        target = open_store(str(tmp_path / "copy.db"))
        assert index.copy_to(target) == 10
        assert sorted(next(target.scan())) == sorted(next(index.store.scan()))
        target.close()
        with pytest.raises(UserError, match=r"i\.db: the index itself"):  # that had no end
            index.copy_to(open_store(str(tmp_path / "." / "i.db")))
    other, _ = opened(tmp_path / "other.db", weights="b" * 64)
    with other, pytest.raises(UserError, match=r"copy\.db: is of w\.pdparams"):
        other.copy_to(open_store(str(tmp_path / "copy.db")))


def test_threads_search_while_one_adds(images, tmp_path):
    index, _ = opened(tmp_path / "i.db")
    wrong = []

    def search():
        for red in range(60):
            hits = index.search(np.uint8([red]), 20)
            if [(h.distance, h.id) for h in hits] != sorted((h.distance, h.id) for h in hits):
                wrong.append(hits)
            index.encode([images / "cat/0.png"])

    with index:
        threads = [threading.Thread(target=search) for _ in range(4)]
        for thread in threads:
            thread.start()
        for name in ("cat", "dog"):
            index.add(images / name)
        for thread in threads:
            thread.join()
        assert not wrong and len(index.search(np.uint8([0]), 20)) == 10


def test_the_commands_on_coco_lite(weights_16, tmp_path, repository):
    model, pictures, db = tmp_path / "model", tmp_path / "pictures", tmp_path / "i.db"
    shutil.copytree(COCO_LITE / "val2014", pictures / "val2014")
    weights = ("--bit", "16", "--pretrained", weights_16)
    succeed("export_model.py", *weights, "--save-inference-dir", model)
    said = succeed(COMMAND, "sync", db, pictures, "--model-dir", model, "--folder-labels")
    assert said.endswith("48 new, 0 changed, 0 vanished, 0 unchanged, 0 left out; 48 images\n")
    query = sorted((pictures / "val2014").iterdir())[0]
    asked = ("--where", "label = 'val2014'", "--topk", "3", "--json")
    result = run_script(COMMAND, "search", db, "--img", query, *asked)
    (answer,) = json.loads(result.stdout)["queries"]
    assert answer["query"] == str(query) and len(answer["results"]) == 3
    first = answer["results"][0]
    assert (first["distance"], first["labels"]) == (0, ["val2014"])
    without_paddle = {"PYTHONPATH": str(tmp_path)}
    (tmp_path / "paddle.py").write_text("raise SystemExit('Paddle was imported')")
    again = run_script(
        COMMAND, "search", db, "--id", first["id"], *asked, environment=without_paddle
    )
    assert json.loads(again.stdout)["queries"][0]["results"] == answer["results"]
    table = succeed(COMMAND, "search", db, "--id", first["id"], environment=without_paddle)
    folder, name = os.path.split(first["path"])
    _, header, *rows = table.splitlines()
    assert header.endswith(f"  image below {folder}/") and len(rows) == 10
    assert rows[0].split() == ["1", "0", str(first["id"]), name, "val2014"]
    asked = ("--id", first["id"], "--where", "colour = 'red'")
    none = succeed(COMMAND, "search", db, *asked, environment=without_paddle)
    assert none == f"Query: {first['id']}\nno image is that near, or none passes the filter\n"
    copied = succeed(COMMAND, "copy", db, "--to", tmp_path / "copy.db", environment=without_paddle)
    assert copied.endswith("48 copied; 48 images\n")
    removed = succeed(COMMAND, "remove", db, query, environment=without_paddle)
    assert removed == f"{db}: 1 removed; 47 images\n"
    assert "weights_sha256: " in succeed(COMMAND, "info", db, environment=without_paddle)
    # The same weights by another way are the same network.
    said = succeed(COMMAND, "add", tmp_path / "copy.db", query, *weights, "--labels", "one", "two")
    assert said.endswith("0 new, 1 changed, 0 vanished, 0 unchanged, 0 left out; 48 images\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("info none.db", "none.db: no index is there"),
        ("copy none.db --to other.db", "none.db: no index is there"),
        ("sync none.db folder", "none.db: no index is there"),
        (
            "sync none.db folder --model-dir a --pretrained b",
            "expected --model-dir or --pretrained",
        ),
        ("sync none.db folder --pretrained b", "--bit: say how long the codes are"),
        ("sync none.db folder --model-dir a", "a: no exported model is there; export_model.py"),
        ("sync none.db folder --model-dir two", "codes are; two has models of 16, 8"),
        ("sync none.db folder --model-dir a --bit 513", "513-bit codes"),
        ("search none.db", "no query: --img or --id"),
        ("add none.db", "the following arguments are required: PATH"),
    ],
)
def test_a_mistake_is_one_line(words, message, tmp_path):
    (tmp_path / "two").mkdir()
    for bit in (8, 16):
        (tmp_path / f"two/inference_{bit}.yaml").touch()
    assert message in fail(COMMAND, *words.split(), cwd=tmp_path)
    assert not (tmp_path / "none.db").exists()
