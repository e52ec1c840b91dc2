"""COCO's lists from COCO's own annotation files: made files with known counts, real labels."""

from __future__ import annotations

import json

import pytest
from made_lists import lists_of, prepare, sizes

from utils.datasets.info import read_dataset_info
from utils.system.errors import UserError

COCO = read_dataset_info("coco").classes
SMALL = ("--any-count", "--queries", "2", "--train", "3")


def coco_name(number, part="train2014"):
    return f"COCO_{part}_{number:012d}.jpg"


def coco_file(path, images, annotations):
    """Writes an instances file; category ids are in another order than the names, with gaps."""
    ids = {name: 3 * (len(COCO) - place) for place, name in enumerate(COCO)}
    content = {
        "info": {"year": 2014},
        "images": [{"id": number, "file_name": name, "height": 480} for number, name in images],
        "annotations": [
            {"id": 7, "image_id": image, "category_id": ids[name], "segmentation": [[1.5, 2.0]]}
            for image, name in annotations
        ],
        "categories": [{"id": ids[name], "name": name, "supercategory": "x"} for name in COCO],
    }
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture()
def annotations(tmp_path):
    """Six images of train2014 and three of val2014; one of each has no label."""
    folder = tmp_path / "annotations"
    folder.mkdir()
    train = [(1, "person"), (1, "person"), (1, "zebra"), (2, "airplane"), (3, "dog"), (4, "cat")]
    images = [(n, coco_name(n)) for n in range(1, 7)]
    coco_file(folder / "instances_train2014.json", images, [*train, (5, "stop sign")])
    images = [(n, coco_name(n, "val2014")) for n in (11, 12, 13)]
    coco_file(folder / "instances_val2014.json", images, [(11, "person"), (13, "dog")])
    return folder


def test_lists_as_in_the_paper(annotations, tmp_path, capsys):
    out = tmp_path / "out"
    prepare("coco", annotations, *SMALL, "--seed", 4, "--out", out)
    lists = lists_of(out)
    assert sizes(lists) == {"train": 3, "test": 2, "database": 5}
    assert not lists["test"].keys() & lists["database"].keys()
    assert lists["train"].keys() < lists["database"].keys()
    assert {**lists["test"], **lists["database"]} == {
        f"train2014/{coco_name(1)}": (COCO.index("person"), COCO.index("zebra")),
        f"train2014/{coco_name(2)}": (COCO.index("airplane"),),
        f"train2014/{coco_name(3)}": (COCO.index("dog"),),
        f"train2014/{coco_name(4)}": (COCO.index("cat"),),
        f"train2014/{coco_name(5)}": (COCO.index("stop sign"),),
        f"val2014/{coco_name(11, 'val2014')}": (COCO.index("person"),),
        f"val2014/{coco_name(13, 'val2014')}": (COCO.index("dog"),),
    }
    info = read_dataset_info(str(out))
    assert (info.name, info.topK, info.classes) == ("coco_paper", 5000, COCO)
    assert "seed 4" in info.provenance and "not the lists" in info.provenance
    told = capsys.readouterr().out
    assert "9 images, 7 with a label" in told
    assert "none of the queries stand in the database" in told
    assert "all 3 of the training images stand in the database" in told


def test_lists_like_the_released_ones(annotations, tmp_path, capsys):
    out = tmp_path / "out"
    prepare("coco", annotations, *SMALL, "--split", "released-like", "--out", out)
    lists = lists_of(out)
    assert sizes(lists) == {"train": 3, "test": 2, "database": 4}
    assert lists["test"].items() < lists["database"].items()
    assert not lists["train"].keys() & lists["database"].keys()
    assert "all 2 of the queries stand in the database" in capsys.readouterr().out


def test_the_seed_alone_decides_the_draw(annotations, tmp_path):
    files = [annotations / f"instances_{part}2014.json" for part in ("train", "val")]
    prepare("coco", *files, *SMALL, "--seed", 1, "--out", tmp_path / "a")
    prepare("coco", *reversed(files), *SMALL, "--seed", 1, "--out", tmp_path / "b")
    prepare("coco", *files, *SMALL, "--seed", 2, "--out", tmp_path / "c")
    a, b, c = (lists_of(tmp_path / name) for name in "abc")
    assert a == b != c


def test_other_counts_than_cocos_and_images_that_come_twice_are_refused(annotations, tmp_path):
    out, path = tmp_path / "out", annotations / "instances_val2014.json"
    with pytest.raises(UserError, match=r"7 images have a label; 122,218 have.*--any-count"):
        prepare("coco", annotations, "--out", out)
    with pytest.raises(UserError, match=r"5000 queries and 10000 training images .* 7 images have"):
        prepare("coco", annotations, "--any-count", "--out", out)
    with pytest.raises(UserError, match="images in common"):
        prepare("coco", path, path, "--out", out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"images": [], "annot', "not COCO 2014's instances: .*line 1.*; get instances_"),
        (b"[]", "no list 'categories'"),
        (b'{"categories": [{"id": 1}]}', "lacks id or name"),
        (b'{"categories": [{"id": 1, "name": "unicorn"}]}', "its 1 categories are not COCO's 80"),
    ],
)
def test_files_that_are_not_cocos(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path}: .*{message}"):
        prepare("coco", path, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0].update(category_id=1), "image 1, category 1: not there"),
        (lambda c: c["annotations"][0].update(image_id=99), "image 99, category .*: not there"),
        (lambda c: c["annotations"][0].update(image_id=[1]), "lacks image_id or category_id"),
        (lambda c: c["annotations"][0].update(image_id=1 << 70), "lacks image_id or category_id"),
        (lambda c: c["images"][0].update(file_name=f"../{coco_name(1)}"), "is no name"),
        (lambda c: c["images"][0].update(id=2), "the same id"),
        (lambda c: c["images"].append(3), "an entry of 'images' lacks id or file_name"),
    ],
)
def test_annotations_that_do_not_fit(annotations, tmp_path, change, message):
    path = annotations / "instances_train2014.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=f"^{path}: .*{message}"):
        prepare("coco", annotations, "--out", tmp_path / "out")


def test_nothing_is_written_over_unasked(annotations, tmp_path):
    out = tmp_path / "out"
    words = ("coco", annotations, *SMALL, "--out", out)
    prepare(*words)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(UserError, match=r"is there already; --force writes over it, --out"):
        prepare(*words, "--seed", "9")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    prepare(*words, "--seed", "9", "--force")
    after = {path.name: path.read_bytes() for path in out.iterdir()}
    assert after["train.txt"] != before["train.txt"]
    assert after["dataset.yaml"] == before["dataset.yaml"]  # one that is there stays
    text = "{name: other, num_class: 3, topK: -1, data_path: x}"
    (out / "dataset.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"dataset.yaml: it is another data set's \(other, 3"):
        prepare(*words, "--force")
    assert (out / "train.txt").read_bytes() == after["train.txt"]


def test_all_files_or_none(annotations, tmp_path):
    (tmp_path / "out/test.txt").mkdir(parents=True)  # cannot be replaced by a file
    with pytest.raises(UserError, match=r"test.txt: cannot be written"):
        prepare("coco", annotations, *SMALL, "--out", tmp_path / "out", "--force")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["test.txt"]


def test_real_labels_through_annotation_files(released_lists, tmp_path, capsys):
    released = lists_of(released_lists)
    labels = {**released["train"], **released["database"]}
    for part in ("train2014", "val2014"):
        names = [path.split("/")[1] for path in labels if path.startswith(part)]
        images = [(int(name[-16:-4]), name) for name in names]
        objects = [(n, COCO[c]) for n, name in images for c in labels[f"{part}/{name}"]]
        unlabelled = [(1_000_000 + n, coco_name(1_000_000 + n, part)) for n in range(534)]
        coco_file(tmp_path / f"instances_{part}.json", images + unlabelled, objects)
    prepare("coco", tmp_path, "--out", tmp_path / "out")
    assert "123,286 images, 122,218 with a label" in capsys.readouterr().out
    lists = lists_of(tmp_path / "out")
    assert sizes(lists) == {"train": 10_000, "test": 5000, "database": 117_218}
    assert {**lists["test"], **lists["database"]} == labels
