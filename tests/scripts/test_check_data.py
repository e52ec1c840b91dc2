"""The check of a data set: each fault is found and named, what is sound passes."""

from __future__ import annotations

import json
import tarfile

import numpy as np
import pytest
from conftest import drawn_picture
from PIL import Image
from test_cifar import splits_of, write_archive

from scripts import check_data
from scripts.data_sets import scan
from scripts.data_sets.check import check_data_set
from scripts.data_sets.findings import NOTES, PROBLEMS
from scripts.data_sets.overlaps import find_overlaps
from scripts.data_sets.rows import Rows
from scripts.data_sets.statistics import describe_labels, describe_pairs
from utils.datasets.images import open_picture
from utils.datasets.info import read_card
from utils.system.errors import UserError

CARD = "{name: small, num_class: 3, topK: -1, data_path: nowhere, classes: [a, b, c]}"
LISTS = {
    "train": ["1.jpg 1 0 0", "2.jpg 0 1 0", "3.jpg 1 1 0"],
    "test": ["q1.jpg 1 0 0", "q2.jpg 0 1 0"],
    "database": ["1.jpg 1 0 0", "2.jpg 0 1 0", "3.jpg 1 1 0", "4.jpg 0 0 1"],
}


def write_lists(folder, lists) -> None:
    for split, lines in lists.items():
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture()
def data(tmp_path):
    """A sound data set: six pictures, its card and lists, all in one folder."""
    for seed, name in enumerate(("1", "2", "3", "4", "q1", "q2")):
        drawn_picture(64, 48, seed).save(tmp_path / f"{name}.jpg")
    (tmp_path / "dataset.yaml").write_text(CARD, encoding="utf-8")
    write_lists(tmp_path, LISTS)
    return tmp_path


@pytest.fixture()
def check(data, capsys, monkeypatch):
    """Runs the command on `data`: its status, its report, and what it said."""

    def run_check(*flags):
        words = ["check_data.py", "--dataset", str(data), "--data_path", str(data)]
        report = data / "out" / "report.json"
        monkeypatch.setattr("sys.argv", [*words, "--report", str(report), "--workers", "1", *flags])
        status = check_data.main()
        return status, json.loads(report.read_text(encoding="utf-8")), capsys.readouterr().out

    return run_check


def test_a_sound_data_set(check):
    status, report, told = check()
    assert status == 0 and report["ok"] and report["findings"] == {}
    assert report["overlaps"] == {"test in database": 0, "train in database": 3, "test in train": 0}
    assert report["pictures_opened"] == 6
    assert report["lists"]["train"]["rows"] == 3
    # By hand: of the training pairs (1,2) differ, (1,3) and (2,3) share a class. Each query shares
    # its class with two of four database pictures.
    assert report["pairs"]["similar_training_pairs"] == pytest.approx(2 / 3)
    assert report["pairs"]["chance_map"] == pytest.approx(0.5)
    assert "nothing is wrong" in told and "all 3 of the training pictures stand" in told
    assert "test            2 queries, 1.00 labels each; empty classes: c" in told


def break_missing(data):
    (data / "2.jpg").unlink()


def break_empty(data):
    (data / "2.jpg").write_bytes(b"")


def break_text(data):
    (data / "2.jpg").write_bytes(b"<html>404 not found</html>")


def break_truncated(data):
    content = (data / "2.jpg").read_bytes()
    (data / "2.jpg").write_bytes(content[: len(content) // 2])


def break_damaged(data):
    drawn_picture(64, 48).save(data / "2.png")
    content = bytearray((data / "2.png").read_bytes())
    content[len(content) // 2] ^= 0xFF  # the checksum of the pixels no longer fits
    (data / "2.jpg").write_bytes(content)


def break_line(data):
    write_lists(data, {"database": [*LISTS["database"], "2.jpg 1 0", "4.jpg 0 2 1"]})


def break_label(data):
    write_lists(data, {"test": ["q1.jpg 1 0 0", "q2.jpg 0 0 0"]})


def break_repeated(data):
    write_lists(data, {"train": [*LISTS["train"], "./2.jpg 0 1 0"]})


def break_contradiction(data):
    write_lists(data, {"train": ["1.jpg 1 0 0", "2.jpg 0 1 1", "3.jpg 1 1 0"]})


def break_trained_on(data):
    write_lists(data, {"train": [*LISTS["train"], "q2.jpg 0 1 0"]})


def break_trained_on_copy(data):
    (data / "2.jpg").write_bytes((data / "q2.jpg").read_bytes())


def break_partly(data):
    write_lists(data, {"database": [*LISTS["database"], "q1.jpg 1 0 0"]})


def break_outside(data):
    (data / "2.jpg").rename(data.parent / "beside.jpg")
    for split in ("train", "database"):
        lines = [line.replace("2.jpg", "../beside.jpg") for line in LISTS[split]]
        write_lists(data, {split: lines})


@pytest.mark.parametrize(
    ("spoil", "kind", "count", "place"),
    [
        (break_missing, "missing", 1, "train.txt, line 2: 2.jpg"),
        (break_empty, "not-a-picture", 1, "train.txt, line 2: 2.jpg"),
        (break_text, "not-a-picture", 1, "train.txt, line 2: 2.jpg"),
        (break_truncated, "truncated", 1, "train.txt, line 2: 2.jpg"),
        (break_damaged, "damaged", 1, "train.txt, line 2: 2.jpg"),
        (break_line, "bad-line", 2, "database.txt, line 5: expected 3 labels"),
        (break_label, "no-label", 1, "test.txt, line 2: q2.jpg"),
        (break_repeated, "repeated", 1, "train.txt, line 4: ./2.jpg"),
        (break_contradiction, "contradiction", 1, "train.txt, line 2: 2.jpg"),
        (break_trained_on, "query-trained-on", 1, "test.txt, line 2: q2.jpg"),
        (break_trained_on_copy, "query-trained-on", 1, "q2.jpg (test) = 2.jpg (database, train)"),
        (break_partly, "partly-inside", 1, "1 of 2 queries stand in the database"),
        (break_outside, "outside", 1, "train.txt, line 2: ../beside.jpg"),
    ],
)
def test_each_fault_is_found_and_named(check, data, spoil, kind, count, place):
    spoil(data)
    status, report, told = check()
    assert status == 1 and not report["ok"]
    assert list(report["findings"]) == [kind]
    found = report["findings"][kind]
    assert (found["count"], found["wrong"]) == (count, True)
    assert place in found["places"][0]
    assert f"WRONG: {kind} ({PROBLEMS[kind]}): {count}" in told and place in told
    status, report, told = check("--accept", kind)
    assert status == 0 and report["ok"] and report["accepted"] == [kind]
    assert f"note: {kind}" in told


def test_the_faults_above_are_all_there_are():
    marks = test_each_fault_is_found_and_named.pytestmark[0].args[1]
    assert {kind for _, kind, _, _ in marks} == set(PROBLEMS)


def test_notes_leave_the_status_alone(check, data):
    (data / "4.jpg").write_bytes((data / "3.jpg").read_bytes())
    drawn_picture(64, 48, 77).save(data / "1.png")
    (data / "1.png").replace(data / "1.jpg")
    status, report, told = check()
    assert status == 0
    assert set(report["findings"]) == set(NOTES) == {"duplicate", "ending"}
    (copy,) = report["findings"]["duplicate"]["places"]
    assert copy == "3.jpg (database, train) = 4.jpg (database); their labels differ"
    (ending,) = report["findings"]["ending"]["places"]
    assert ending.endswith("train.txt, line 1: 1.jpg is PNG")
    assert "note: duplicate" in told and "WRONG" not in told


def test_queries_inside_the_database_are_a_fact(check, data):
    write_lists(data, {"database": LISTS["database"] + LISTS["test"]})
    status, report, told = check()
    assert status == 0
    assert "all 2 of the queries stand in the database, so each of them finds itself" in told
    # By hand: 3 of 6 are relevant, the query among them; without it 2 of 5.
    assert report["pairs"]["chance_map"] == pytest.approx(0.5)
    assert report["pairs"]["chance_map_without_self"] == pytest.approx(0.4)


def test_labels_only_opens_no_picture(check, data):
    break_missing(data)
    status, report, _ = check("--labels_only")
    assert (status, report["pictures_opened"]) == (0, 0)


def test_what_cannot_be_checked_is_the_users_to_mend(check, data, run):
    for picture in data.glob("*.jpg"):
        picture.unlink()
    with pytest.raises(UserError, match=r"none of the 6 pictures .* such as .*1.jpg; --data-path"):
        check()
    (data / "test.txt").unlink()
    with pytest.raises(UserError, match=r"test.txt: the list file is missing"):
        check()
    with pytest.raises(UserError, match="--accept: invalid choice: 'tea'"):
        check("--accept", "tea")
    done = run("scripts/check_data.py", "--dataset", data)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "--data-path names it" in done.stderr
    done = run("scripts/check_data.py", "--dataset", "cifar10", "--data-path", data)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "cifar-10-python.tar.gz: missing" in done.stderr


def test_the_command_with_several_processes(run, data):
    lines = {split: list(lines) for split, lines in LISTS.items()}
    for number in range(80):  # more than one process takes at a time
        drawn_picture(32, 32, 100 + number).save(data / f"more {number}.png")
        lines["database"].append(f"more {number}.png 0 0 1")
    (data / "more 70.png").write_bytes((data / "more 70.png").read_bytes()[:-900])
    (data / "more 7.png").unlink()
    write_lists(data, lines)
    flags = ("--dataset", data, "--data-path", data, "--workers", "2")
    done = run("scripts/check_data.py", *flags, "--report", data / "r.json")
    assert (done.returncode, done.stderr) == (1, "")
    report = json.loads((data / "r.json").read_text(encoding="utf-8"))
    assert [report["findings"][kind]["count"] for kind in ("missing", "truncated")] == [1, 1]
    assert "line 12: more 7.png" in report["findings"]["missing"]["places"][0]
    assert "wrong: missing, truncated; report:" in done.stdout


def test_long_findings_are_cut_on_the_console(check, data):
    lines = [f"{number}.jpg 1 0" for number in range(9)]
    write_lists(data, {"database": [*LISTS["database"], *lines]})
    _, report, told = check()
    assert report["findings"]["bad-line"]["count"] == 9
    assert len(report["findings"]["bad-line"]["places"]) == 9
    assert "… 4 more in the report" in told


def odd_pictures(folder):
    """Files of many kinds, sound and not."""
    plain = drawn_picture(40, 30)
    plain.convert("CMYK").save(folder / "cmyk.jpg")
    plain.convert("P").save(folder / "palette.png")
    plain.convert("1").save(folder / "bits.png")
    plain.convert("RGBA").save(folder / "alpha.webp")
    Image.fromarray(np.full((30, 40), 40_000, np.uint16)).save(folder / "16 bit.png")
    plain.save(folder / "moving.gif", save_all=True, append_images=[drawn_picture(40, 30, 2)])
    plain.save(folder / "progressive.jpg", progressive=True)
    Image.new("RGB", (1, 1)).save(folder / "one.bmp")
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        (folder / f"half of {path.name}").write_bytes(content[: len(content) // 2])
        (folder / f"head of {path.name}").write_bytes(content[:20])
    (folder / "folder.jpg").mkdir()
    return [*sorted(folder.iterdir()), folder / "missing.jpg"]


def test_what_the_check_passes_training_opens_and_the_other_way_round(tmp_path):
    kinds = set()
    for path in odd_pictures(tmp_path):
        found = scan.scan_file(str(path))
        kinds.add(found.fault)
        if found.fault:
            with pytest.raises(UserError) as raised:
                open_picture(path)
            assert str(raised.value) == found.message
        else:
            assert open_picture(path).mode == "RGB"
            assert scan.ending_fits(str(path), found.form), path
    assert kinds == {"", scan.MISSING, scan.NOT_A_PICTURE, scan.TRUNCATED, scan.DAMAGED}


def rows(pictures, labels) -> Rows:
    labels = np.array(labels, np.uint8)
    return Rows("l.txt", tuple(pictures), labels, np.arange(1, len(labels) + 1))


def test_label_statistics_by_hand():
    found = describe_labels(np.array([[1, 0, 1], [1, 0, 0], [0, 0, 0]], np.uint8), ["a", "b", "c"])
    assert found["pictures_per_class"] == {"a": 2, "b": 0, "c": 1}
    assert found["empty_classes"] == ["b"]
    assert found["labels_per_picture"]["mean"] == 1.0
    assert found["labels_per_picture"]["pictures_with_0_1_2_…"] == [1, 1, 1]


def test_pair_statistics_against_a_plain_count():
    rng = np.random.default_rng(5)
    labels = {name: (rng.random((n, 6)) < 0.15).astype(np.uint8) for name, n in SIZES.items()}
    names = {name: [f"{name[0]}{row}" for row in range(n)] for name, n in SIZES.items()}
    names["database"][:4] = names["test"][:4]
    labels["database"][:4] = labels["test"][:4]
    lists = {name: rows(names[name], labels[name]) for name in SIZES}
    own = find_overlaps(lists).places["test", "database"]
    assert own.tolist() == [0, 1, 2, 3, *[-1] * 9]
    found = describe_pairs(lists, own)
    similar = labels["train"].astype(int) @ labels["train"].T > 0
    others = ~np.eye(len(similar), dtype=bool)
    assert found["similar_training_pairs"] == pytest.approx(similar[others].mean())
    relevant = labels["test"].astype(int) @ labels["database"].T > 0
    assert found["chance_map"] == pytest.approx(relevant.mean())
    relevant[range(4), range(4)] = False
    assert found["queries_without_relevant"] == (~relevant.any(1)).sum() > 0


SIZES = {"train": 20, "test": 13, "database": 31}


def test_overlaps_by_hand():
    one = [[1, 0]]
    found = find_overlaps(
        {
            "train": rows(["a", "b", "./a"], one * 3),
            "test": rows(["q", "x/../b"], [[1, 0], [0, 1]]),
            "database": rows(["b", "q"], one * 2),
        }
    )
    assert found.repeated == {"train": [2], "test": [], "database": []}
    assert found.places["test", "database"].tolist() == [1, 0]
    assert found.shared("train", "database") == 1 and found.shared("test", "train") == 1
    assert found.contradictions == [("train", 1, "test", 1)]


def test_the_shipped_data_set_is_sound(run, tmp_path):
    done = run("scripts/check_data.py", "--dataset", "coco_lite", "--report", tmp_path / "r.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "128 training pictures" in done.stdout and "MAP of a random ranking: 0.2049" in done.stdout
    )


def test_thirteen_real_photos_are_sound(real_data):
    photos = real_data / "coco_photos"
    checked = check_data_set(read_card("coco"), photos, photos / "lists", 2, False, 0)
    assert checked.report.findings == {}
    assert checked.report.facts["pictures_opened"] == 13
    assert checked.report.facts["overlaps"]["test in database"] == 4
    train = checked.report.facts["labels"]["train"]["pictures_per_class"]
    assert (train["elephant"], train["airplane"], train["tennis racket"]) == (2, 1, 1)


def test_the_released_lists_are_sound(released_lists):
    checked = check_data_set(read_card("coco"), released_lists, released_lists, 1, True, 0)
    assert checked.report.findings == {}
    overlaps = checked.report.facts["overlaps"]
    assert overlaps == {"test in database": 5000, "train in database": 0, "test in train": 0}
    # COCO's own count of pictures with a person in train2014 and val2014 together is 66,808.
    labels = checked.report.facts["labels"]
    people = [labels[split]["pictures_per_class"]["person"] for split in ("train", "database")]
    assert sum(people) == 66_808


def test_cifar_from_its_archive(tmp_path):
    write_archive(tmp_path)
    splits_of(tmp_path, "train")  # writes the card: 4 training pictures and 2 queries a class
    checked = check_data_set(read_card(str(tmp_path)), tmp_path, None, 1, False, 0)
    assert checked.report.findings == {}
    facts = checked.report.facts
    overlaps = {"test in database": 0, "train in database": 40, "test in train": 0}
    assert (facts["overlaps"], facts["pictures_opened"]) == (overlaps, 60)
    # By hand: of 39 others, 3 are of the same class; a query is like 4 of 40.
    assert facts["pairs"]["similar_training_pairs"] == pytest.approx(3 / 39)
    assert facts["pairs"]["chance_map"] == pytest.approx(0.1)


def test_real_cifar_pictures(real_data, tmp_path):
    with tarfile.open(real_data / "cifar10_small.tar.xz") as archive:
        archive.extractall(tmp_path)
    (lists,) = tmp_path.rglob("lists")
    (lists / "dataset.yaml").write_text(
        "{name: cifar_small, num_class: 10, topK: -1, data_path: nowhere}", encoding="utf-8"
    )
    card = read_card(str(lists))
    picture = (lists / "train.txt").read_text(encoding="utf-8").split()[0]
    (folder,) = {path.parents[picture.count("/")] for path in tmp_path.rglob(picture)}
    checked = check_data_set(card, folder, None, 2, False, 0)
    assert checked.report.facts["overlaps"] == {
        "test in database": 0,
        "train in database": 5000,
        "test in train": 0,
    }
    assert checked.report.facts["pictures_opened"] == 11_000
    assert checked.report.wrong([]) == []
    assert checked.report.facts["pairs"]["chance_map"] == pytest.approx(0.1, abs=0.002)
