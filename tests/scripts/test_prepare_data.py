"""Making lists: released lists, VOC, folders of classes; the released lists are read once."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from helpers import drawn_image, fail, succeed
from made_lists import lists_of, prepare, sizes

from scripts.prepare.draws import draw_stratified, image_list
from scripts.prepare.import_lists import KEEP_FROM, cut_paths
from scripts.prepare.writing import as_text
from utils.datasets import open_splits
from utils.datasets.info import SPLITS, read_dataset_info
from utils.system.errors import UserError


def test_the_released_lists_are_imported(released_lists, tmp_path, capsys):
    pieces = tmp_path / "caffe/test"
    pieces.mkdir(parents=True)
    train = (released_lists / "train.txt").read_text(encoding="utf-8").splitlines()
    moved = "".join(f"/home/someone/run/dataset/coco/{line}\n" for line in train)
    (tmp_path / "caffe/train.txt").write_text(moved, encoding="utf-8")
    for split in ("test", "database"):
        lines = (released_lists / f"{split}.txt").read_text(encoding="utf-8").splitlines()
        size = -(-len(lines) // 11)  # 11 pieces: 10 comes after 9, not after 1
        for number in range(11):
            piece = lines[number * size : (number + 1) * size]
            text = "".join(f"./data/coco/{line}\n" for line in piece)
            (pieces / f"{split}{number}.txt").write_text(text, encoding="utf-8")
    prepare("import", "coco", tmp_path / "caffe", "--out", tmp_path / "out")
    told = capsys.readouterr().out
    for counts in ("10,000 training images", "5,000 queries", "112,218 database images"):
        assert counts in told
    assert "all 5,000 of the queries stand in the database, so each of them finds itself" in told
    assert "none of the training images stand in the database" in told
    assert "These are the released lists" in told
    for split in SPLITS:
        imported = (tmp_path / "out" / f"{split}.txt").read_bytes()
        assert imported == (released_lists / f"{split}.txt").read_bytes()

    (pieces / "database3.txt").unlink()
    with pytest.raises(UserError, match=r"database3.txt is missing, database10.txt is there"):
        prepare("import", "coco", tmp_path / "caffe", "--out", tmp_path / "other")
    (pieces / "database3.txt").write_text("./data/coco/val2014/a.jpg" + " 1" * 80, encoding="utf-8")
    with pytest.raises(UserError, match=r"102,017 rows, the released database list has 112,218"):
        prepare("import", "coco", tmp_path / "caffe", "--out", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_lists_that_are_not_the_released_ones_are_named_whatever_their_order(
    released_lists, tmp_path, capsys
):
    rows = (released_lists / "test.txt").read_text(encoding="utf-8").splitlines()
    sources = [tmp_path / "same.txt", tmp_path / "other.txt"]
    sources[0].write_text("\r\n".join(reversed(rows)), encoding="utf-8")
    changed = rows[7][:-1] + "10"[int(rows[7][-1])]
    sources[1].write_text("\n".join([*rows[:7], changed, *rows[8:]]), encoding="utf-8")
    for number, source in enumerate(sources):
        where = ["--test-list", source, "--out", tmp_path / str(number)]
        prepare("import", "coco", released_lists, *where)
    same, other = (line for line in capsys.readouterr().out.splitlines() if "released" in line)
    assert same == "These are the released lists, which the published results come from"
    assert other == "Not the released lists; what differs: test"


def listed(*paths):
    return image_list("list.txt", paths, np.ones((len(paths), 2), np.uint8))


@pytest.mark.parametrize(
    ("dataset", "paths", "expected"),
    [
        ("coco", ["/home/x/coco/train2014/1.jpg", "./coco/val2014/2.jpg"], "train2014 val2014"),
        ("nuswide_81", ["./data/nuswide_81/images/1.jpg", "/a/images/2.jpg"], "images images"),
        ("nuswide_21", ["/home/x/nus_wide/1.jpg", "/home/x/nus_wide/2.jpg"], ". ."),
        ("imagenet", ["./d/imagenet/image/1.jpg", "/h/val_image/2.jpg"], "image val_image"),
        ("own", ["/data/set/a/1.jpg", "/data/set/b/image/2.jpg"], "a b/image"),
    ],
)
def test_the_prefixes_of_released_lists(dataset, paths, expected):
    lists = {"train": listed(paths[0]), "test": listed(paths[1]), "database": listed(*paths)}
    cut = cut_paths(lists, KEEP_FROM.get(dataset, ()))
    folders = [str(Path(path).parent) for path in cut["database"].paths]
    assert folders == expected.split()
    assert cut["train"].paths + cut["test"].paths == cut["database"].paths


def test_prefixes_that_do_not_fit():
    lists = {"train": listed("/a/images/1.jpg"), "test": listed("/b/2.jpg")}
    with pytest.raises(UserError, match=r"list.txt, line 1: /b/2.jpg has no folder images"):
        cut_paths(lists, ["images"])


@pytest.mark.parametrize(
    ("path", "why"),
    [("x/../../a.jpg", "leads out"), (" a.jpg", ""), ("a\nb.jpg", ""), ("\udcff.jpg", "UTF-8")],
)
def test_paths_that_no_list_can_hold(path, why):
    with pytest.raises(UserError, match=f"cannot stand in a list: .*{why}"):
        as_text(listed(path))


def test_import_keeps_what_a_data_set_is_and_names_missing_lists(tmp_path):
    for split in SPLITS:
        (tmp_path / f"{split}.txt").write_text("x/a.jpg 0 1 0\nx/b.jpg 1 1 0\n", encoding="utf-8")
    own = tmp_path / "own"
    own.mkdir()
    info = "{name: own, num_class: 3, topK: -1, data_path: x, resize: square}"
    (own / "dataset.yaml").write_text(info, encoding="utf-8")
    prepare("import", own, tmp_path)
    assert lists_of(own, 3)["train"] == {"a.jpg": (1,), "b.jpg": (0, 1)}
    prepare("import", own, tmp_path, "--out", tmp_path / "copy")
    assert read_dataset_info(str(tmp_path / "copy")).resize == "square"
    (tmp_path / "test.txt").unlink()
    with pytest.raises(UserError, match=r"neither test.txt nor test0.txt .* --test-list FILE"):
        prepare("import", own, tmp_path, "--force")
    with pytest.raises(UserError, match=r"none.txt: missing"):
        prepare("import", own, tmp_path, "--force", "--test-list", tmp_path / "none.txt")
    prepare("import", own, tmp_path, "--force", "--test-list", tmp_path / "train.txt")
    with pytest.raises(UserError, match="it has an archive"):
        prepare("import", "cifar10", tmp_path)


def voc_xml(*names) -> str:
    """Names of objects; those that end with ! are difficult."""
    objects = (f"<name>{n.rstrip('!')}</name><difficult>{n.count('!')}</difficult>" for n in names)
    return f"<annotation>{''.join(f'<object>{item}</object>' for item in objects)}</annotation>"


@pytest.fixture()
def voc(tmp_path):
    """Five images of VOC; one has no object, one a difficult one alone."""
    root = tmp_path / "VOCdevkit/VOC2012"
    for part in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / part).mkdir(parents=True)
    objects = [("person", "dog!", "person"), ("tvmonitor",), ("aeroplane!",), (), ("cat",)]
    for number, names in enumerate(objects, 1):
        (root / f"Annotations/2008_{number:06}.xml").write_text(voc_xml(*names), encoding="utf-8")
    names = "".join(f"2008_{number:06}  1\n" for number in range(1, 6))
    (root / "ImageSets/Main/trainval.txt").write_text(names, encoding="utf-8")
    return root


def test_voc(voc, tmp_path, capsys):
    words = ("--queries", "1", "--train", "2", "--out")
    prepare("voc2012", tmp_path / "VOCdevkit", *words, tmp_path / "out")
    lists = lists_of(tmp_path / "out", 20)
    assert {**lists["test"], **lists["database"]} == {
        "JPEGImages/2008_000001.jpg": (11, 14),
        "JPEGImages/2008_000002.jpg": (19,),
        "JPEGImages/2008_000003.jpg": (0,),
        "JPEGImages/2008_000005.jpg": (7,),
    }
    assert len(lists["test"]) == 1 and len(lists["train"]) == 2
    assert read_dataset_info(str(tmp_path / "out")).data_path == voc.resolve().as_posix()
    assert "4 images of trainval.txt have a label" in capsys.readouterr().out
    prepare("voc2012", voc, "--no_difficult", *words, tmp_path / "sure")
    sure = lists_of(tmp_path / "sure", 20)
    assert {**sure["test"], **sure["database"]}["JPEGImages/2008_000001.jpg"] == (14,)
    assert len(sure["database"]) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (voc_xml("unicorn"), "VOC's XML: an object is called 'unicorn'"),
        ("<annotation><object>", "VOC's XML: no element found: line 1.*unpack the archive anew"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "VOC's XML: it has a DOCTYPE"),
    ],
)
def test_voc_files_that_do_not_fit(voc, tmp_path, content, message):
    (voc / "Annotations/2008_000002.xml").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=rf"000002.xml: .*{message}"):
        prepare("voc2012", voc, "--out", tmp_path / "out")


def test_voc_folders_that_do_not_fit(voc, tmp_path):
    with pytest.raises(UserError, match="expected Annotations, ImageSets/Main, JPEGImages in it"):
        prepare("voc2012", voc / "Annotations", "--out", tmp_path / "out")


def test_a_data_set_that_is_there_stays_and_images_elsewhere_are_named(voc, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    shipped = (read_dataset_info("voc2012").folder / "dataset.yaml").read_bytes()
    (out / "dataset.yaml").write_bytes(shipped)
    prepare("voc2012", voc, "--queries", "1", "--train", "2", "--out", out)
    assert (out / "dataset.yaml").read_bytes() == shipped
    assert capsys.readouterr().out.count(f"--dataset {out} --data-path {voc}") == 2


def test_a_stratified_draw():
    classes = np.array([0] * 20 + [1] * 5 + [2] * 2 + [3])
    images = image_list("folder", list(map(str, range(28))), np.eye(4, dtype=np.uint8)[classes])
    lists = draw_stratified(images, queries=0.2, train=0.5, seed=1)
    of_class = {name: chosen.labels.sum(0).tolist() for name, chosen in lists.items()}
    assert of_class == {"test": [4, 1, 1, 0], "train": [8, 2, 1, 1], "database": [16, 4, 1, 1]}
    assert set(lists["train"].paths) <= set(lists["database"].paths)
    assert {*lists["test"].paths, *lists["database"].paths} == set(images.paths)


@pytest.fixture()
def own_images(tmp_path):
    """Two classes of four and five images, a broken file, a copy, and what does not count."""
    root = tmp_path / "my images"
    for name in ("cats/indoors", "1", ".hidden", "nothing"):
        (root / name).mkdir(parents=True)
    for number in range(4):
        drawn_image(70, 66, number).save(root / "1" / f"{number}.png")
        drawn_image(70, 66, 10 + number).save(root / "cats/indoors" / f"a b {number}.JPG")
        drawn_image(70, 66, 30 + number).save(root / ".hidden" / f"{number}.png")
    drawn_image(70, 66, 20).save(root / "cats/é.jpg")
    (root / "cats/copy.jpg").write_bytes((root / "cats/é.jpg").read_bytes())
    (root / "cats/broken.jpg").write_bytes(b"not an image")
    os.mkfifo(root / "cats/pipe.jpg")  # it would be waited for
    (root / "cats/notes.txt").write_text("no image")
    (root / "cats/.hidden.jpg").write_bytes(b"")
    drawn_image(70, 66, 30).save(root / "outside.jpg")
    return root


def test_own_images_become_a_data_set_and_train(own_images, tmp_path):
    out = tmp_path / "my set"
    words = ("folder", own_images, "--out", out, "--queries", "0.25")
    told = succeed("scripts/prepare_data.py", *words)
    assert "left out, cannot be decoded: cats/broken.jpg, cats/pipe.jpg" in told
    assert "left out, the same bytes as another file: cats/é.jpg = cats/copy.jpg" in told
    lists = lists_of(out, 2)
    assert sizes(lists) == {"train": 7, "test": 2, "database": 7}
    assert {**lists["test"], **lists["database"]} == {
        **{f"1/{number}.png": (0,) for number in range(4)},
        **{f"cats/indoors/a b {number}.JPG": (1,) for number in range(4)},
        "cats/copy.jpg": (1,),
    }
    assert read_dataset_info(str(out)).classes == ("1", "cats")

    check, train = (shlex.split(line)[1:] for line in told.splitlines() if "  python " in line)
    assert "nothing is wrong" in succeed(*check, "--report", tmp_path / "report.json")
    tiny = ("--epoch", "1", "--bit", "8", "--num-workers", "0", "--output-dir", tmp_path / "output")
    told = succeed(*train, *tiny)
    assert "train_set 7" in told and "Best MAP(e1)" in told


def test_linked_folders_count_and_without_held_out_queries_all_can_be_found(own_images, tmp_path):
    linked, out = tmp_path / "linked", tmp_path / "out"
    linked.mkdir()
    for name in ("1", "cats"):
        (linked / name).symlink_to(own_images / name)
    (own_images / "cats/more").symlink_to(own_images / ".hidden")
    (own_images / "cats/around").symlink_to(own_images)
    prepare("folder", linked, "--out", out, "--queries", "0")
    lists = lists_of(out, 2)
    assert sizes(lists) == {"train": 11, "test": 2, "database": 13}
    assert sum(path.startswith("cats/more/") for path in lists["database"]) == 4
    assert set(lists["database"]) == {*lists["train"], *lists["test"]}


def test_folders_called_train_val_and_test_are_splits_and_no_classes(tmp_path, capsys):
    root, seed = tmp_path / "photos", iter(range(99))
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for number in range(2):
                drawn_image(70, 66, next(seed)).save(root / split / name / f"{number}.png")
    prepare("folder", root, "--out", tmp_path / "out")
    lists = lists_of(tmp_path / "out", 2)
    assert sizes(lists) == {"train": 4, "test": 4, "database": 8}
    assert lists["test"] == {
        f"test/{c}/{i}.png": (c == "dog",) for c in ("cat", "dog") for i in (0, 1)
    }
    assert all(path.startswith("train/") for path in lists["train"])
    assert read_dataset_info(str(tmp_path / "out")).classes == ("cat", "dog")
    assert "queries: test/; trained on: train/" in capsys.readouterr().out
    (root / "train/cat/0.png").rename(root / "train/0.png")
    with pytest.raises(UserError, match="in each of them a folder a class"):
        prepare("folder", root, "--out", tmp_path / "other")


def test_with_force_dataset_yaml_names_new_classes_too(own_images, tmp_path):
    out = tmp_path / "set"
    prepare("folder", own_images, "--out", out)
    (own_images / "dogs").mkdir()
    for number in range(3):
        drawn_image(70, 66, 40 + number).save(own_images / "dogs" / f"{number}.png")
    prepare("folder", own_images, "--out", out, "--force")
    assert read_dataset_info(str(out)).classes == ("1", "cats", "dogs")


def test_folders_that_do_not_fit(own_images, tmp_path):
    with pytest.raises(UserError, match="the folder is missing"):
        prepare("folder", tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"expected two sub-folders or more.*found 1"):
        prepare("folder", own_images / "cats", "--out", tmp_path / "out")
    for path in (own_images / "1").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="only the class cats has images"):
        prepare("folder", own_images, "--out", tmp_path / "out")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that root cannot write")
def test_a_folder_that_cannot_be_written_is_told_before_images_are_opened(own_images, monkeypatch):
    monkeypatch.setattr("scripts.prepare.folder.scan_files", None)
    with pytest.raises(UserError, match=r"^/proc/self: cannot be written: .*; --out names another"):
        prepare("folder", own_images, "--out", "/proc/self/set")


def test_help_and_flags_that_do_not_fit():
    for kind in ("folder", "import", "coco", "voc2012"):
        with pytest.raises(SystemExit) as ended:
            prepare(kind, "--help")
        assert ended.value.code == 0
    with pytest.raises(UserError, match="--queries: expected a share above 0"):
        prepare("folder", "x", "--queries", "nan")
    with pytest.raises(UserError, match="--train: expected a whole number of 1 or more"):
        prepare("coco", "x", "--train", "-3")
    line = fail("scripts/prepare_data.py", "coco", "nowhere.json")
    assert line.startswith("error: nowhere.json: missing; get instances_train2014.json")


def test_a_flat_folder_becomes_a_database_without_labels(tmp_path, capsys):
    root = tmp_path / "photos"
    (root / "more").mkdir(parents=True)
    for number, place in enumerate(("a.jpg", "b 1.png", "more/c.jfif")):
        drawn_image(70, 66, number).save(root / place, format="PNG")
    (root / "notes.txt").write_text("no image")
    prepare("folder", root, "--out", tmp_path / "out", "--database-only")
    told = capsys.readouterr().out
    assert "3 database images without labels" in told and "1 files are passed over" in told
    assert re.search(rf"predict\.py --dataset {tmp_path}/out --pretrained WEIGHTS", told)
    assert (tmp_path / "out/database.txt").read_text() == "a.jpg\nb 1.png\nmore/c.jfif\n"
    info = read_dataset_info(str(tmp_path / "out"))
    (database,) = open_splits(info, ["database"], str(root))
    assert len(database) == 3 and not database.labels.any()
    for name in ("train", "test"):
        with pytest.raises(UserError, match=f"has no {name} list: it can be searched, no more"):
            open_splits(info, [name], str(root))
    assert "has no train list" in fail("scripts/check_data.py", "--dataset", tmp_path / "out")
