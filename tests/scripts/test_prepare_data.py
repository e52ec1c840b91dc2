"""Making lists: released lists, VOC, folders of classes; the released lists are read once."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
from conftest import drawn_picture
from made_lists import lists_of, prepare, sizes

from scripts.data_sets.draws import draw_stratified
from scripts.data_sets.released import KEEP_FROM, cut_paths
from scripts.data_sets.rows import Rows
from scripts.data_sets.writing import as_text
from utils.datasets.info import SPLITS, read_card
from utils.system.errors import UserError


def test_the_released_lists_are_imported(released_lists, tmp_path, capsys):
    prefix = "/home/someone/run/dataset/coco/"
    pieces = tmp_path / "caffe/test"
    pieces.mkdir(parents=True)
    train = (released_lists / "train.txt").read_text(encoding="utf-8")
    moved = "".join(f"{prefix}{line}\n" for line in train.splitlines())
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
    for counts in ("10,000 training pictures", "5,000 queries", "112,218 database pictures"):
        assert counts in told
    assert "all 5,000 of the queries stand in the database, so each of them finds itself" in told
    assert "none of the training pictures stand in the database" in told
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


def rows(*pictures) -> Rows:
    return Rows("list.txt", pictures, np.ones((len(pictures), 2), np.uint8), np.arange(1, 9))


@pytest.mark.parametrize(
    ("dataset", "train", "test", "expected"),
    [
        (
            "coco",
            "/home/caozhangjie/run-czj/dataset/coco/train2014/COCO_train2014_000000158555.jpg",
            "./data/coco/val2014/COCO_val2014_000000477705.jpg",
            ("train2014/COCO_train2014_000000158555.jpg", "val2014/COCO_val2014_000000477705.jpg"),
        ),
        (
            "nuswide_81",
            "./data/nuswide_81/images/98796_381708603_f86eb60ccf_m.jpg",
            "./data/nuswide_81/images/8228_2275882321_a4bf6754ba_m.jpg",
            (
                "images/98796_381708603_f86eb60ccf_m.jpg",
                "images/8228_2275882321_a4bf6754ba_m.jpg",
            ),
        ),
        (
            "nuswide_21",
            "/home/caozhangjie/run-czj/dataset/nus_wide/42368_249918118_7f1a328add_m.jpg",
            "/home/caozhangjie/run-czj/dataset/nus_wide/116356_1240105941_9c4187c00b_m.jpg",
            ("42368_249918118_7f1a328add_m.jpg", "116356_1240105941_9c4187c00b_m.jpg"),
        ),
        (
            "imagenet",
            "./data/imagenet/image/n02102177_1317.JPEG",
            "/home/caozhangjie/run-czj/dataset/imagenet/val_image/ILSVRC2012_val_00042793.JPEG",
            ("image/n02102177_1317.JPEG", "val_image/ILSVRC2012_val_00042793.JPEG"),
        ),
        (
            "own",
            "/data/set/a/1.jpg",
            "/data/set/b/image/2.jpg",
            ("a/1.jpg", "b/image/2.jpg"),
        ),
    ],
)
def test_the_prefixes_of_released_lists(dataset, train, test, expected):
    cut = cut_paths(
        {"train": rows(train), "test": rows(test), "database": rows(test, train)},
        KEEP_FROM.get(dataset, ()),
    )
    assert (cut["train"].pictures[0], cut["test"].pictures[0]) == expected
    assert cut["database"].pictures == expected[::-1]


def test_prefixes_that_do_not_fit():
    lists = {"train": rows("/a/images/1.jpg"), "test": rows("/b/2.jpg"), "database": rows("3.jpg")}
    with pytest.raises(UserError, match=r"list.txt, line 1: /b/2.jpg has no folder images"):
        cut_paths(lists, ("images",))
    with pytest.raises(UserError, match="leads out of the picture folder"):
        as_text(cut_paths(lists, ())["train"])


def test_import_names_a_bad_line_and_a_missing_list(tmp_path):
    for split in SPLITS:
        (tmp_path / f"{split}.txt").write_text("x/a.jpg 0 1 0\nx/b.jpg 1 1 0\n", encoding="utf-8")
    card = tmp_path / "card"
    card.mkdir()
    (card / "dataset.yaml").write_text(
        "{name: own, num_class: 3, topK: -1, data_path: x}", encoding="utf-8"
    )
    prepare("import", card, tmp_path)
    assert lists_of(card, 3)["train"] == {"a.jpg": (1,), "b.jpg": (0, 1)}
    (tmp_path / "test.txt").write_text("x/a.jpg 0 1 0\nx/b.jpg 1 1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"test.txt, line 2: expected 3 labels of 0 or 1, found 2"):
        prepare("import", card, tmp_path, "--force")
    (tmp_path / "test.txt").unlink()
    with pytest.raises(UserError, match=r"neither test.txt nor test0.txt"):
        prepare("import", card, tmp_path, "--force")
    prepare("import", card, tmp_path, "--force", "--test-list", tmp_path / "train.txt")
    with pytest.raises(UserError, match="it has an archive"):
        prepare("import", "cifar10", tmp_path)


@pytest.mark.parametrize(
    "path", ["../a.jpg", "/a.jpg", "x/../../a.jpg", " a.jpg", "a\nb.jpg", "\udcff.jpg"]
)
def test_paths_that_no_list_can_hold(path):
    with pytest.raises(UserError, match="cannot stand in a list"):
        as_text(rows(path))


def voc_xml(*objects) -> str:
    named = "".join(
        f"<object><name>{name}</name><difficult>{int(hard)}</difficult></object>"
        for name, hard in objects
    )
    return f"<annotation><folder>VOC2012</folder>{named}</annotation>"


@pytest.fixture()
def voc(tmp_path):
    """Five pictures of VOC; one has no object, one a difficult one alone."""
    root = tmp_path / "VOCdevkit/VOC2012"
    for part in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / part).mkdir(parents=True)
    objects = {
        "2008_000001": [("person", False), ("dog", True), ("person", False)],
        "2008_000002": [("tvmonitor", False)],
        "2008_000003": [("aeroplane", True)],
        "2008_000004": [],
        "2008_000005": [("cat", False)],
    }
    for number, found in objects.items():
        (root / f"Annotations/{number}.xml").write_text(voc_xml(*found), encoding="utf-8")
    names = "".join(f"{number}\n" for number in objects)
    (root / "ImageSets/Main/trainval.txt").write_text(names, encoding="utf-8")
    return root


def test_voc(voc, tmp_path, capsys):
    flags = ("--queries", "1", "--train", "2")
    prepare("voc2012", tmp_path / "VOCdevkit", *flags, "--out", tmp_path / "out")
    lists = lists_of(tmp_path / "out", 20)
    assert {**lists["test"], **lists["database"]} == {
        "JPEGImages/2008_000001.jpg": (11, 14),
        "JPEGImages/2008_000002.jpg": (19,),
        "JPEGImages/2008_000003.jpg": (0,),
        "JPEGImages/2008_000005.jpg": (7,),
    }
    assert len(lists["test"]) == 1 and len(lists["train"]) == 2
    card = read_card(str(tmp_path / "out"))
    assert card.data_path == voc.resolve().as_posix()
    assert "4 pictures of trainval.txt have a label" in capsys.readouterr().out
    prepare("voc2012", voc, *flags, "--no_difficult", "--out", tmp_path / "sure")
    sure = lists_of(tmp_path / "sure", 20)
    assert {**sure["test"], **sure["database"]}["JPEGImages/2008_000001.jpg"] == (14,)
    assert len(sure["database"]) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (voc_xml(("unicorn", False)), "'unicorn', which is no class of VOC"),
        ("<annotation><object>", "not whole XML"),
        (None, "000002.xml: cannot be read"),
    ],
)
def test_voc_files_that_do_not_fit(voc, tmp_path, content, message):
    path = voc / "Annotations/2008_000002.xml"
    path.unlink() if content is None else path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        prepare("voc2012", voc, "--out", tmp_path / "out")


def test_voc_folders_that_do_not_fit(voc, tmp_path):
    with pytest.raises(UserError, match="expected the folders Annotations"):
        prepare("voc2012", voc / "Annotations", "--out", tmp_path / "out")
    with pytest.raises(UserError, match=r"test.txt: missing; --set names another"):
        prepare("voc2012", voc, "--set", "test", "--out", tmp_path / "out")


def test_a_stratified_draw():
    classes = [0] * 20 + [1] * 5 + [2] * 2 + [3]
    draw = draw_stratified(classes, queries=0.2, train=0.5, seed=1)
    of_class = {
        name: [int((np.array(classes)[found] == label).sum()) for label in range(4)]
        for name, found in draw.items()
    }
    assert of_class == {"test": [4, 1, 1, 0], "train": [8, 2, 1, 1], "database": [16, 4, 1, 1]}
    assert set(draw["train"]) <= set(draw["database"])
    assert sorted([*draw["test"], *draw["database"]]) == list(range(28))


@pytest.fixture()
def own_pictures(tmp_path):
    """Two classes of five and four pictures, a broken file, a copy, and what does not count."""
    root = tmp_path / "my pictures"
    for name in ("cats/indoors", "1"):
        (root / name).mkdir(parents=True)
    for number in range(4):
        drawn_picture(70, 66, number).save(root / "1" / f"{number}.png")
        drawn_picture(70, 66, 10 + number).save(root / "cats/indoors" / f"a b {number}.JPG")
    drawn_picture(70, 66, 20).save(root / "cats/é.jpg")
    (root / "cats/copy.jpg").write_bytes((root / "cats/é.jpg").read_bytes())
    (root / "cats/broken.jpg").write_bytes(b"not a picture")
    (root / "cats/notes.txt").write_text("no picture")
    (root / "cats/.hidden.jpg").write_bytes(b"")
    drawn_picture(70, 66, 30).save(root / "outside.jpg")
    return root


def test_own_pictures_become_a_data_set_and_train(own_pictures, run, tmp_path):
    out = tmp_path / "my set"
    made = run("scripts/prepare_data.py", "folder", own_pictures, "--out", out, "--queries", "0.25")
    assert (made.returncode, made.stderr) == (0, "")
    assert "left out, cannot be decoded: cats/broken.jpg" in made.stdout
    assert "left out, the same bytes as another file: cats/é.jpg = cats/copy.jpg" in made.stdout
    lists = lists_of(out, 2)
    assert sizes(lists) == {"train": 7, "test": 2, "database": 7}
    everything = {**lists["test"], **lists["database"]}
    assert everything == {
        **{f"1/{number}.png": (0,) for number in range(4)},
        **{f"cats/indoors/a b {number}.JPG": (1,) for number in range(4)},
        "cats/copy.jpg": (1,),
    }
    assert read_card(str(out)).classes == ("1", "cats")

    commands = [line.strip() for line in made.stdout.splitlines() if "  python " in line]
    assert ["check_data" in commands[0], "main_single_gpu" in commands[1]] == [True, True]
    python, *words = shlex.split(commands[0])
    checked = run(*words, "--report", tmp_path / "report.json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    python, *words = shlex.split(commands[1])
    assert python == "python"
    tiny = ("--epoch", "1", "--bit", "8", "--num-workers", "0", "--output-dir", tmp_path / "output")
    trained = run(*words, *tiny)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "train_set 7" in trained.stdout and "Best MAP(e1)" in trained.stdout


def test_a_folder_is_written_over_with_force_alone(own_pictures, tmp_path, capsys):
    out = tmp_path / "set"
    prepare("folder", own_pictures, "--out", out)
    (own_pictures / "dogs").mkdir()
    for number in range(3):
        drawn_picture(70, 66, 40 + number).save(own_pictures / "dogs" / f"{number}.png")
    with pytest.raises(UserError, match="is there already"):
        prepare("folder", own_pictures, "--out", out)
    prepare("folder", own_pictures, "--out", out, "--force")
    assert read_card(str(out)).classes == ("1", "cats", "dogs")
    assert len(lists_of(out, 3)["test"]) == 3


def test_folders_that_do_not_fit(own_pictures, tmp_path):
    with pytest.raises(UserError, match="the folder is missing"):
        prepare("folder", tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"expected two sub-folders or more.*found 1"):
        prepare("folder", own_pictures / "cats", "--out", tmp_path / "out")
    for path in (own_pictures / "1").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="only the class cats has pictures"):
        prepare("folder", own_pictures, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("folder", "x", "--queries", "0"), "--queries: expected a share above 0"),
        (("folder", "x", "--queries", "nan"), "--queries: expected a share above 0"),
        (("coco", "x", "--train", "-3"), "--train: expected a whole number of 1 or more"),
        (("coco", "x", "--seed", "1.5"), "--seed: expected a whole number of 0 or more"),
        (("coco", "x", "--split", "mine"), "--split: invalid choice"),
        (("unknown",), "invalid choice"),
        ((), "KIND"),
    ],
)
def test_flags_that_do_not_fit(words, message):
    with pytest.raises(UserError, match=message):
        prepare(*words)


def test_help_and_one_line_errors(run):
    for kind in ("folder", "import", "coco", "voc2012"):
        with pytest.raises(SystemExit) as ended:
            prepare(kind, "--help")
        assert ended.value.code == 0
    done = run("scripts/prepare_data.py", "coco", "nowhere.json")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: nowhere.json")


def test_a_card_that_is_there_stays_and_the_pictures_elsewhere_are_named(voc, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    shipped = (read_card("voc2012").folder / "dataset.yaml").read_bytes()
    (out / "dataset.yaml").write_bytes(shipped)
    prepare("voc2012", voc, "--queries", "1", "--train", "2", "--out", out)
    assert (out / "dataset.yaml").read_bytes() == shipped
    told = capsys.readouterr().out
    assert told.count(f"--dataset {out} --data-path {voc}") == 2
