"""The check of a data set: each fault is found and named, what is sound passes."""

from __future__ import annotations

import io
import json
import pickle
import tarfile

import numpy as np
import pytest
from helpers import drawn_image, fail, succeed

from scripts import check_data
from scripts.check_data import NOTES, PROBLEMS, check_dataset
from utils.datasets.cifar10 import NAMES
from utils.datasets.info import read_dataset_info
from utils.system.errors import UserError

TRAIN = ["1.png 1 0 0", "2.png 0 1 0", "3.png 1 1 0"]
TEST = ["q1.png 1 0 0", "q2.png 0 1 0"]
DATABASE = [*TRAIN, "4.png 0 0 1"]


def change(folder, changes) -> None:
    """Writes lists and other files, changes their bytes, or removes them (None)."""
    for name, new in changes.items():
        if new is None:
            (folder / name).unlink()
        elif isinstance(new, list):
            (folder / name).write_text("\n".join(new) + "\n", encoding="utf-8")
        else:
            content = new if isinstance(new, bytes) else new((folder / name).read_bytes())
            (folder / name).write_bytes(content)


@pytest.fixture()
def data(tmp_path):
    """A sound data set: six images, dataset.yaml and lists, all in one folder."""
    for seed, name in enumerate(("1", "2", "3", "4", "q1", "q2")):
        drawn_image(70, 66, seed).save(tmp_path / f"{name}.png")
    info = ["{name: small, num_class: 3, topK: -1, data_path: nowhere, classes: [a, b, c]}"]
    lists = {"train.txt": TRAIN, "test.txt": TEST, "database.txt": DATABASE}
    change(tmp_path, {"dataset.yaml": info, **lists})
    return tmp_path


@pytest.fixture()
def check(data, capsys, monkeypatch):
    """Runs the command on `data`: its status, its report, and what it said."""

    def run_check(*flags):
        words = ["check_data.py", "--dataset", str(data), "--data_path", str(data)]
        monkeypatch.setattr("sys.argv", [*words, "--report", str(data / "out/r.json"), *flags])
        status = check_data.main()
        return status, json.loads((data / "out/r.json").read_bytes()), capsys.readouterr().out

    return run_check


def test_a_sound_data_set(check, data):
    lists = {"train.txt": ["./1.png 1 0 0", *TRAIN[1:]]}
    change(data, {**lists, "database.txt": [*TRAIN[:2], "./3.png 1 1 0", DATABASE[3]]})
    status, report, told = check()
    assert status == 0 and report["ok"] and report["findings"] == {}
    assert report["overlaps"] == {"test in database": 0, "train in database": 3, "test in train": 0}
    assert report["pictures_opened"] == 6
    assert report["lists"]["train"]["rows"] == 3
    # By hand: of the training pairs (1,2) differ, (1,3) and (2,3) share a class. Each query shares
    # its class with two of four database images.
    assert report["pairs"]["similar_training_pairs"] == pytest.approx(2 / 3)
    assert report["pairs"]["chance_map"] == pytest.approx(0.5)
    train = report["labels"]["train"]
    assert train["pictures_per_class"] == {"a": 2, "b": 2, "c": 0}
    assert train["labels_per_picture"]["mean"] == pytest.approx(4 / 3)
    assert train["labels_per_picture"]["pictures_with_0_1_2_…"] == [0, 2, 1]
    assert "nothing is wrong" in told and "all 3 of the training images stand" in told
    assert "test            2 queries, 1.00 labels each; empty classes: c" in told


FAULTS = [
    ("missing", {"2.png": None}, "train.txt, line 2: 2.png"),
    ("not-a-picture", {"2.png": b"<html>404 not found</html>"}, "train.txt, line 2: 2.png"),
    ("truncated", {"2.png": lambda old: old[: len(old) // 2]}, "train.txt, line 2: 2.png"),
    # The checksum of the pixels no longer fits.
    ("damaged", {"2.png": lambda old: old[:5000] + b"????" + old[5004:]}, "line 2: 2.png"),
    ("bad-line", {"database.txt": [*DATABASE, "2.png 1 0"]}, "line 5: expected 3 labels"),
    ("no-label", {"test.txt": [TEST[0], "q2.png 0 0 0"]}, "test.txt, line 2: q2.png"),
    ("repeated", {"train.txt": [*TRAIN, "./2.png 0 1 0"]}, "train.txt, line 4: ./2.png"),
    ("contradiction", {"train.txt": [TRAIN[0], "2.png 0 1 1", TRAIN[2]]}, "line 2: 2.png and"),
    ("query-trained-on", {"train.txt": [*TRAIN, "q2.png 0 1 0"]}, "test.txt, line 2: q2.png"),
    ("nothing-to-learn", {"train.txt": TRAIN[:2]}, "train.txt"),
    ("partly-inside", {"database.txt": [*DATABASE, TEST[0]]}, "1 of 2 queries stand in the data"),
]


@pytest.mark.parametrize(("kind", "changes", "place"), FAULTS)
def test_each_fault_is_found_and_named(check, data, kind, changes, place):
    change(data, changes)
    status, report, told = check()
    assert status == 1 and not report["ok"]
    assert list(report["findings"]) == [kind]
    found = report["findings"][kind]
    assert (found["count"], found["wrong"]) == (1, True)
    assert place in found["places"][0]
    assert f"WRONG: {kind} ({PROBLEMS[kind]}): 1" in told and place in told
    status, report, told = check("--accept", kind)
    assert status == 0 and report["ok"] and report["accepted"] == [kind]
    assert f"note: {kind}" in told


def test_a_path_that_leads_out_and_a_copy_of_a_query(check, data):
    assert {kind for kind, _, _ in FAULTS} == {*PROBLEMS} - {"outside"}
    (data / "2.png").rename(data.parent / "beside.png")
    lists = {"train.txt": TRAIN, "database.txt": DATABASE}
    change(data, {name: [line.replace("2", "../beside") for line in lists[name]] for name in lists})
    change(data, {"3.png": (data / "q2.png").read_bytes()})
    findings = check()[1]["findings"]
    assert findings["outside"]["places"] == [f"{data}/train.txt, line 2: ../beside.png"]
    assert findings["query-trained-on"]["places"] == [
        "q2.png (test) = 3.png (database, train); their labels differ"
    ]


def test_notes_leave_the_status_alone(check, data):
    change(data, {"4.png": (data / "3.png").read_bytes()})
    drawn_image(70, 66, 77).save(data / "1.png", format="BMP")
    status, report, told = check()
    assert status == 0 and set(report["findings"]) == set(NOTES)
    (copy,) = report["findings"]["duplicate"]["places"]
    assert copy == "3.png (database, train) = 4.png (database); their labels differ"
    (ending,) = report["findings"]["ending"]["places"]
    assert ending.endswith("train.txt, line 1: 1.png is BMP")
    assert "note: duplicate" in told and "WRONG" not in told


def test_queries_inside_the_database_are_a_fact(check, data):
    change(data, {"database.txt": DATABASE + TEST})
    status, report, told = check()
    assert status == 0
    assert "all 2 of the queries stand in the database, so each of them finds itself" in told
    # By hand: 3 of 6 are relevant, the query among them; without it 2 of 5.
    assert report["pairs"]["chance_map"] == pytest.approx(0.5)
    assert report["pairs"]["chance_map_without_self"] == pytest.approx(0.4)
    assert report["pairs"]["queries_without_relevant"] == 0
    change(data, {"database.txt": [DATABASE[3], *TEST]})
    _, report, told = check()
    assert report["pairs"]["chance_map"] == pytest.approx(1 / 3)
    assert "2 queries share a label with no other image of the database" in told


def test_many_faults_of_lists_alone_are_cut_on_the_console(check, data):
    lines = [f"{number}.png 1 0" for number in range(9)]
    change(data, {"database.txt": [*DATABASE, *lines], "1.png": None})
    _, report, told = check("--labels_only")
    assert report["pictures_opened"] == 0 and list(report["findings"]) == ["bad-line"]
    assert len(report["findings"]["bad-line"]["places"]) == 9
    assert "… 4 more in the report" in told


def test_what_cannot_be_checked_is_the_users_to_mend(check, data):
    for image in data.glob("*.png"):
        image.unlink()
    with pytest.raises(UserError, match=r"none of the 6 images .* such as 1.png; --data-path"):
        check()
    line = fail("scripts/check_data.py", "--dataset", "cifar10", "--data-path", data)
    assert "cifar-10-python.tar.gz: missing" in line


def test_a_report_that_cannot_be_written_is_told_before_images_are_opened(check, data, monkeypatch):
    monkeypatch.setattr("scripts.prepare.scan.scan_files", None)
    with pytest.raises(UserError, match=r"1.png: cannot be written: .*; --report names another"):
        check("--report", str(data / "1.png/r.json"))


def test_the_shipped_data_set_is_sound(tmp_path):
    words = ("--dataset", "coco_lite", "--workers", "2", "--report", tmp_path / "r.json")
    told = succeed("scripts/check_data.py", *words)
    assert "128 training images" in told
    assert "MAP of a random ranking: 0.2049" in told


def check_with(info, folder, lists, labels_only=False):
    return check_dataset(read_dataset_info(info), folder, lists, 1, labels_only, seed=0)


def test_thirteen_real_photos_are_sound(real_data):
    photos = real_data / "coco_photos"
    report = check_with("coco", photos, photos / "lists")
    assert report["findings"] == {} and report["pictures_opened"] == 13
    train = report["labels"]["train"]["pictures_per_class"]
    assert (train["elephant"], train["airplane"], train["tennis racket"]) == (2, 1, 1)


def test_the_released_lists_are_sound(released_lists):
    report = check_with("coco", released_lists, released_lists, labels_only=True)
    assert report["findings"] == {}
    assert list(report["overlaps"].values()) == [5000, 0, 0]
    # COCO's own count of images with a person in train2014 and val2014 together is 66,808.
    labels = report["labels"]
    people = [labels[split]["pictures_per_class"]["person"] for split in ("train", "database")]
    assert sum(people) == 66_808


def test_cifar10_from_its_archive(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (120, 3072), np.uint8)
    labels = [index % 10 for index in range(120)]
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        for number, name in enumerate(NAMES):
            rows = slice(20 * number, 20 * number + 20)
            content = pickle.dumps({"data": pixels[rows], "labels": labels[rows]}, protocol=2)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    protocol = "protocol: {train_per_class: 4, test_per_class: 2, database: train}"
    info = f"{{name: c, kind: cifar10, num_class: 10, topK: -1, data_path: x, {protocol}}}"
    change(tmp_path, {"dataset.yaml": [info]})
    report = check_with(str(tmp_path), tmp_path, tmp_path)
    assert report["findings"] == {} and report["pictures_opened"] == 60
    assert list(report["overlaps"].values()) == [0, 40, 0]
    # By hand: of 39 others, 3 are of the same class; a query is like 4 of 40.
    assert report["pairs"]["similar_training_pairs"] == pytest.approx(3 / 39)
    assert report["pairs"]["chance_map"] == pytest.approx(0.1)
