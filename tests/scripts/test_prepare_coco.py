"""COCO's lists from COCO's own annotation files: made files with known counts, real labels."""

from __future__ import annotations

import json

import pytest
from made_lists import lists_of, prepare, sizes

from scripts.data_sets.draws import draw_split
from utils.datasets.info import read_card
from utils.system.errors import UserError

COCO = read_card("coco").classes


def coco_file(path, images, annotations, names=COCO):
    """Writes an instances file; category ids are in another order than the names, with gaps."""
    ids = {name: 3 * (len(names) - place) for place, name in enumerate(names)}
    content = {
        "info": {"year": 2014},
        "images": [{"id": number, "file_name": name, "height": 480} for number, name in images],
        "annotations": [
            {"id": 7, "image_id": image, "category_id": ids[name], "segmentation": [[1.5, 2.0]]}
            for image, name in annotations
        ],
        "categories": [{"id": ids[name], "name": name, "supercategory": "x"} for name in names],
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def coco_name(number, part="train2014"):
    return f"COCO_{part}_{number:012d}.jpg"


@pytest.fixture()
def annotations(tmp_path):
    """Six pictures of train2014 and three of val2014; one of each has no label."""
    folder = tmp_path / "annotations"
    folder.mkdir()
    train = [(n, coco_name(n)) for n in range(1, 7)]
    coco_file(
        folder / "instances_train2014.json",
        train,
        [
            *((1, "person"), (1, "person"), (1, "zebra"), (2, "airplane")),
            *((3, "dog"), (4, "cat"), (5, "stop sign")),
        ],
    )
    val = [(n, coco_name(n, "val2014")) for n in (11, 12, 13)]
    coco_file(folder / "instances_val2014.json", val, [(11, "person"), (13, "dog")])
    return folder


def test_coco_columns_are_the_categories_by_name():
    assert len(COCO) == 80
    assert list(COCO) == sorted(COCO)
    assert COCO[49] == "person"


def test_coco_as_in_the_paper(annotations, tmp_path, capsys):
    out = tmp_path / "out"
    prepare(
        *("coco", annotations, "--any_count", "--queries", 2, "--train", 3, "--seed", 4),
        *("--out", out),
    )
    lists = lists_of(out)
    assert sizes(lists) == {"train": 3, "test": 2, "database": 5}
    assert not lists["test"].keys() & lists["database"].keys()
    assert lists["train"].keys() < lists["database"].keys()
    everything = {**lists["test"], **lists["database"]}
    assert everything == {
        f"train2014/{coco_name(1)}": (COCO.index("person"), COCO.index("zebra")),
        f"train2014/{coco_name(2)}": (COCO.index("airplane"),),
        f"train2014/{coco_name(3)}": (COCO.index("dog"),),
        f"train2014/{coco_name(4)}": (COCO.index("cat"),),
        f"train2014/{coco_name(5)}": (COCO.index("stop sign"),),
        f"val2014/{coco_name(11, 'val2014')}": (COCO.index("person"),),
        f"val2014/{coco_name(13, 'val2014')}": (COCO.index("dog"),),
    }
    card = read_card(str(out))
    assert (card.name, card.topK, card.classes) == ("coco_paper", 5000, COCO)
    assert "seed 4" in card.provenance and "not the lists" in card.provenance
    told = capsys.readouterr().out
    assert "9 pictures, 7 with a label" in told
    assert "none of the queries stand in the database" in told
    assert "all 3 of the training pictures stand in the database" in told


def test_coco_as_in_the_released_lists(annotations, tmp_path, capsys):
    flags = ("coco", annotations, "--any-count", "--queries", "2", "--train", "3")
    prepare(*flags, "--split", "released-like", "--out", tmp_path / "out")
    lists = lists_of(tmp_path / "out")
    assert sizes(lists) == {"train": 3, "test": 2, "database": 4}
    assert lists["test"].items() < lists["database"].items()
    assert not lists["train"].keys() & lists["database"].keys()
    assert "all 2 of the queries stand in the database" in capsys.readouterr().out


def test_the_draw_is_the_seeds_alone(annotations, tmp_path):
    flags = ("--any-count", "--queries", "2", "--train", "3", "--seed")
    files = [annotations / f"instances_{part}2014.json" for part in ("train", "val")]
    prepare("coco", *files, *flags, 1, "--out", tmp_path / "a")
    prepare("coco", *reversed(files), *flags, 1, "--out", tmp_path / "b")
    prepare("coco", *files, *flags, 2, "--out", tmp_path / "c")
    a, b, c = (lists_of(tmp_path / name) for name in "abc")
    assert a == b != c


def test_other_counts_than_cocos_are_refused(annotations, tmp_path):
    with pytest.raises(UserError, match=r"7 pictures have a label; 122,218 have.*--any-count"):
        prepare("coco", annotations, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_cut_off(annotations, tmp_path):
    path = annotations / "instances_val2014.json"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"val2014.json, line 1: not whole JSON.*get it anew"):
        prepare("coco", annotations, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "no list 'images'"),
        ('{"images": [], "annotations": []}', "no list 'categories'"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', "lacks id or name"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "unicorn"}]}',
            "'unicorn' is none of them",
        ),
        ('{"images": [], "annotations": [], "categories": []}', "'airplane' is not there"),
        ('{"images": 3, "annotations": [], "categories": []}', "no list 'images'"),
        ("\xff", "not whole JSON"),
    ],
)
def test_files_that_are_not_cocos(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=message):
        prepare("coco", path, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0].update(category_id=1), "category_id 1, which is none"),
        (lambda c: c["annotations"][0].update(image_id=99), "picture 99, which is not there"),
        (lambda c: c["annotations"][0].update(image_id=[1]), "of a wrong kind"),
        (lambda c: c["images"][0].update(file_name="000000000009.jpg"), "COCO 2014's names"),
        (lambda c: c["images"][0].update(file_name=f"../{coco_name(1)}"), "COCO 2014's names"),
        (lambda c: c["images"][0].update(id=2), "the same id"),
        (lambda c: c["images"].append(3), "an entry of 'images' lacks id or file_name"),
    ],
)
def test_annotations_that_do_not_fit(annotations, tmp_path, change, message):
    path = annotations / "instances_train2014.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        prepare("coco", annotations, "--out", tmp_path / "out")


def test_the_same_file_twice_and_a_missing_one(annotations, tmp_path):
    path = annotations / "instances_val2014.json"
    with pytest.raises(UserError, match="pictures in common"):
        prepare("coco", path, path, "--out", tmp_path / "out")
    path.unlink()
    with pytest.raises(UserError, match=r"instances_val2014.json: the annotation file is missing"):
        prepare("coco", annotations, "--out", tmp_path / "out")


def test_lists_are_not_written_over_unasked(annotations, tmp_path):
    out = tmp_path / "out"
    flags = ("coco", annotations, "--any-count", "--queries", "2", "--train", "3", "--out", out)
    prepare(*flags)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(UserError, match=r"is there already; --force writes over it, --out"):
        prepare(*flags, "--seed", "9")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    prepare(*flags, "--seed", "9", "--force")
    after = {path.name: path.read_bytes() for path in out.iterdir()}
    assert after["train.txt"] != before["train.txt"]
    assert after["dataset.yaml"] == before["dataset.yaml"]  # a card that is there stays


def test_all_files_or_none(annotations, tmp_path):
    out = tmp_path / "out"
    (out / "test.txt").mkdir(parents=True)  # cannot be replaced by a file
    flags = ("coco", annotations, "--any-count", "--queries", "2", "--train", "3", "--out", out)
    with pytest.raises(UserError, match=r"test.txt: cannot be written"):
        prepare(*flags, "--force")
    assert [path.name for path in out.iterdir()] == ["test.txt"]


def test_a_card_of_another_data_set_stays(annotations, tmp_path):
    (tmp_path / "dataset.yaml").write_text(
        "{name: other, num_class: 3, topK: -1, data_path: x}", encoding="utf-8"
    )
    flags = ("--any-count", "--queries", "2", "--train", "3", "--out", tmp_path)
    with pytest.raises(UserError, match="the card of another data set"):
        prepare("coco", annotations, *flags)
    assert not (tmp_path / "train.txt").exists()


def test_the_draw_of_the_whole_of_coco():
    for protocol, database in (("paper", 117_218), ("released-like", 112_218)):
        draw = draw_split(122_218, 5000, 10_000, protocol, seed=3)
        sizes = {name: len(set(rows)) for name, rows in draw.items()}
        assert sizes == {"train": 10_000, "test": 5000, "database": database}
        assert not set(draw["train"]) & set(draw["test"])
    with pytest.raises(UserError, match="5 queries and 6 training pictures are asked for, 10"):
        draw_split(10, 5, 6, "paper", seed=0)


@pytest.fixture(scope="module")
def real_labels(released_lists):
    """Path → columns of its labels, for all 122,218 pictures."""
    found = lists_of(released_lists)
    return {**found["train"], **found["database"]}


def test_real_labels_through_annotation_files(real_labels, tmp_path, capsys):
    images = {"train2014": [], "val2014": []}
    objects = {"train2014": [], "val2014": []}
    for path, labels in real_labels.items():
        part, name = path.split("/")
        number = int(name[-16:-4])
        images[part].append((number, name))
        objects[part] += [(number, COCO[column]) for column in labels]
    for part, found in images.items():
        unlabelled = [(1_000_000 + n, coco_name(1_000_000 + n, part)) for n in range(534)]
        coco_file(tmp_path / f"instances_{part}.json", found + unlabelled, objects[part])
    prepare("coco", tmp_path, "--out", tmp_path / "out")
    told = capsys.readouterr().out
    assert "123,286 pictures, 122,218 with a label" in told
    lists = lists_of(tmp_path / "out")
    assert sizes(lists) == {"train": 10_000, "test": 5000, "database": 117_218}
    assert {**lists["test"], **lists["database"]} == real_labels
