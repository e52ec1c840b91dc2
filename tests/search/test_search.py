"""Search: order, what is known of labels, which files a name stands for, what people see."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from utils.codes import pack_codes
from utils.config import Config
from utils.datasets import Split, unlisted_images
from utils.datasets.images import ImageFiles
from utils.datasets.info import DatasetInfo
from utils.datasets.loader import LoaderOptions
from utils.datasets.transforms import build_transform
from utils.inference.encoder import Encoder
from utils.search import contact_sheet, find_images, known_labels, run_search, search
from utils.search.contact_sheet import FRAME_COLOURS, GAP, LINE, PAPER, TILE, draw_contact_sheet
from utils.system.errors import UserError
from utils.system.logger import log_to_console

SIGNS = np.array([[1] * 8, [1] * 7 + [-1], [-1] * 8, [1] * 8], dtype=np.float32)
CODES = pack_codes(SIGNS)
LABELS = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=np.uint8)
INFO = DatasetInfo("reds", Path(), 2, -1, "", classes=("red", "blue"))


@pytest.fixture()
def database(tmp_path):
    """Four image files, each of one red, with 8-bit codes `CODES`."""
    paths = [tmp_path / "images" / f"{number}.png" for number in range(4)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        Image.new("RGB", (40, 30), (80 * number, 0, 0)).save(path)
    return Split(
        "database", ImageFiles([str(p) for p in paths], "list"), LABELS, {"list_sha256": "1"}
    )


def test_matches_stand_by_distance_and_then_by_index(database):
    matches, unknown = search(CODES[:2], [LABELS[0], None], CODES, database, 3)
    assert [m.relevant for m in unknown] == [None] * 3
    found = [(m.rank, m.distance, m.index, m.relevant) for m in matches]
    assert found == [(1, 0, 0, True), (2, 0, 3, None), (3, 1, 1, False)]
    assert matches[0].image == database.images.names[0]
    assert matches[0].as_dict() == {
        "rank": 1,
        "distance": 0,
        "row": 0,
        "picture": database.images.names[0],
        "relevant": True,
    }


def test_codes_of_another_database_are_refused(database):
    with pytest.raises(UserError, match="3 database codes for 4 images"):
        search(CODES[:1], [None], CODES[:3], database, 1)


def test_names_stand_for_files_and_folders(tmp_path, database):
    folder = tmp_path / "images"
    (folder / "notes.txt").write_text("no image", encoding="utf-8")
    found = find_images([str(folder / "3.png"), str(folder)])
    assert found == [str(folder / f"{name}.png") for name in (3, 0, 1, 2, 3)]
    with pytest.raises(UserError, match=r"9\.png: the image is missing"):
        find_images([str(folder / "9.png")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no image"):
        find_images([str(tmp_path / "empty")])


def test_labels_are_known_for_images_of_the_lists(tmp_path, database, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the same file by another spelling of its path
    stranger = tmp_path / "1.png"
    Image.new("RGB", (8, 8)).save(stranger)
    found = known_labels([Path("images/1.png"), stranger], [database])
    np.testing.assert_array_equal(found[0], LABELS[1])
    assert found[1] is None


class Reds:
    """A backend that knows the database's codes by the images' red."""

    def __init__(self, precision):
        self.precision = precision

    def __enter__(self): ...

    def __exit__(self, *error): ...

    def __call__(self, images):
        return CODES[images[:, 0, 0, 0] // 80]


def ask(
    database, folder, *queries, skip_bad=False, weights="a", crop=24, precision="fp32", info=INFO
):
    """A search for images of the database, by their indices; returns what is found, in JSON."""
    log_to_console(json=False)
    transform, backend = build_transform("short_side", 30, crop), Reds(precision)
    options = LoaderOptions(skip_bad=skip_bad)
    encoder = Encoder(backend, transform, 2, options, {"weights_sha256": weights})
    config = replace(Config(), bit=8, topk=4, save_path=str(folder), info=info)
    images = unlisted_images([database.images.names[index] for index in queries], "--img")
    return run_search(config, encoder, images, [database, database], folder / "codes.npy")


def test_a_search_leaves_table_kept_lines_copy_and_sheet(tmp_path, database, capsys):
    query, output = database.images.names[0], tmp_path / "output"
    (answer,) = ask(database, output, 0)
    said = capsys.readouterr().out
    lines = said.splitlines()
    table = lines.index(f"Query: {query}") + 2
    assert lines[table].split() == ["1", "0", "+", query]
    assert "----- Predicted Hamm_min: 0.0" in lines
    assert f"----- Found Matched Pic: {query}" in lines
    assert f"----- Save Matched Pic in: {output / '0.png'}" in lines
    assert (output / "0.png").read_bytes() == Path(query).read_bytes()
    assert answer["query"] == query and answer["sheet"] == str(output / "search_0.jpg")
    assert Image.open(answer["sheet"]).format == "JPEG"
    assert [match["row"] for match in answer["matches"]] == [0, 3, 1, 2]
    assert f"{output / 'codes.npy'} is not there yet" in said
    again = ask(database, output, 0, 2)
    assert again[0]["matches"] == answer["matches"]
    assert [Path(each["sheet"]).name for each in again] == ["search_1_0.jpg", "search_2_2.jpg"]
    assert f"Database codes: 4 read from {output / 'codes.npy'}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"weights": "b"}, "weights"),
        ({"crop": 20}, "transform"),
        ({"precision": "bf16"}, "precision"),
    ],
)
def test_codes_of_anything_else_are_made_anew(tmp_path, database, capsys, other, why):
    ask(database, tmp_path, 0)
    capsys.readouterr()
    ask(database, tmp_path, 0, **other)
    assert re.search(rf"encoding 4 images \(.*{why}.* changed", capsys.readouterr().out)


@pytest.mark.parametrize("images", [None, {"a": 1}, "abcd", [2**61 - 1, 0, 1, 2], ["a"]])
def test_a_record_of_other_than_images_is_not_used(tmp_path, database, capsys, images):
    ask(database, tmp_path, 0)
    record = json.loads((tmp_path / "codes.json").read_text())
    (tmp_path / "codes.json").write_text(json.dumps({**record, "images": images, "left_out": [0]}))
    ask(database, tmp_path, 0)
    assert capsys.readouterr().out.count("encoding 4 images") == 2


def listed(paths):
    """A database of these files."""
    labels = np.eye(2, dtype=np.uint8)[np.arange(len(paths)) % 2]
    return Split("database", ImageFiles(list(map(str, paths)), "list"), labels, {"list": "l"})


def test_only_new_and_changed_images_are_encoded_and_every_code_is_of_its_image(
    tmp_path, database, capsys
):
    paths = list(map(Path, database.images.names[:4]))
    ask(listed(paths), tmp_path, 0)

    def encodes(paths, query, rows):
        capsys.readouterr()
        (answer,) = ask(listed(paths), tmp_path, query)
        nearest = answer["matches"][0]
        assert (nearest["distance"], nearest["picture"]) == (0, str(paths[query]))
        assert json.loads((tmp_path / "codes.json").read_text())["rows"] == rows
        return re.findall(r"Database codes: (?:encoding )?(\d+)", capsys.readouterr().out)

    assert encodes(paths[::-1], 0, 4) == ["4"], "another order"
    new = paths[0].with_name("new.png")
    shutil.copy(paths[2], new)
    assert encodes([new, *paths], 2, 5) == ["4", "1"], "a new line"
    assert encodes(paths[1:], 0, 3) == ["3"], "lines fewer"
    assert encodes(paths, 0, 4) == ["3", "1"]
    shutil.copy(paths[3], paths[0])
    assert encodes(paths, 0, 4) == ["3", "1"], "a file replaced"
    copies = shutil.copytree(paths[0].parent, tmp_path / "elsewhere")
    assert encodes([copies / path.name for path in paths], 1, 4) == ["0", "4"], "other files"
    assert encodes([paths[0], *paths], 2, 5) == ["0", "5"], "a line twice"
    assert encodes([paths[0], *paths], 2, 5) == ["5"]


def test_codes_that_no_record_describes_are_set_aside(tmp_path, database, capsys):
    np.save(tmp_path / "codes.npy", SIGNS)  # as the published code keeps them
    before = (tmp_path / "codes.npy").read_bytes()
    ask(database, tmp_path, 0)
    assert "earlier_codes.npy" in capsys.readouterr().out
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), CODES)
    (tmp_path / "codes.npy").write_bytes(b"another program's")
    ask(database, tmp_path, 0)
    assert (tmp_path / "earlier_codes.npy").read_bytes() == before
    assert (tmp_path / "earlier_2_codes.npy").read_bytes() == b"another program's"


def test_an_image_found_that_cannot_be_read_any_more(tmp_path, database, capsys):
    output, gone = tmp_path / "output", database.images.names[0]
    ask(database, output, 3)
    (output / "0.png").unlink()
    Path(gone).write_text("no image any more", encoding="utf-8")
    with pytest.raises(UserError, match=r"0\.png: not an image"):
        ask(database, output, 3)
    capsys.readouterr()
    (answer,) = ask(database, output, 3, skip_bad=True)
    said = capsys.readouterr().out
    assert [match["row"] for match in answer["matches"]] == [3, 1, 2]
    assert f"Left out: {gone}: not an image" in said
    assert Path(answer["sheet"]).is_file() and not (output / "0.png").exists()


@pytest.mark.parametrize("count", [1, 5, 6, 12])
def test_frames_on_the_sheet_tell_relevance(count):
    image = Image.new("RGB", (50, 80), (0, 0, 255))
    relevant = [(True, False, None)[place % 3] for place in range(count)]
    found = [(image, [f"{place}. distance 3"], known) for place, known in enumerate(relevant)]
    sheet = draw_contact_sheet(image, ["a name much longer than the image is wide" * 3], found)
    pixels = np.asarray(sheet)
    foot = pixels[-GAP - LINE : -GAP]
    for known in FRAME_COLOURS:
        for part in (pixels, foot):  # in the legend at the foot, too
            there = (part == FRAME_COLOURS[known]).all(-1).sum() > 100  # letters have some, too
            assert there == (known in relevant)
    assert (pixels[:GAP] == 255).all() and (pixels[-GAP:] == 255).all()
    assert (pixels[:, -GAP:] == 255).all(), "a tile sticks out of the sheet"


def test_marks_tell_relevance_without_colours():
    image = Image.new("RGB", (50, 80), (0, 0, 255))
    marks = set()
    for known in FRAME_COLOURS:
        pixels = np.asarray(draw_contact_sheet(image, [], [(image, [], known)]))
        left = pixels.shape[1] - TILE - GAP
        strokes = (pixels[GAP : GAP + LINE, left : left + LINE] == PAPER).all(-1)
        assert strokes.any()
        marks.add(strokes.tobytes())
    assert len(marks) == 3


def test_captions_have_the_names_of_classes_those_of_the_query_first(
    tmp_path, database, monkeypatch
):
    sheets = []

    def draw(query, lines, found):
        sheets.append([lines, *(each[1] for each in found)])
        return query

    monkeypatch.setattr("utils.search.draw_contact_sheet", draw)
    ask(database, tmp_path, 1, 3)
    ask(database, tmp_path, 1, info=replace(INFO, classes=()))
    # From code 1: itself, 0 and 3 one bit away, 2 seven; 3 is that of 0, its labels are not known.
    captions = ["1. distance 0", "2. distance 1", "3. distance 1", "4. distance 7"]
    names = [["blue"], ["red"], [], ["blue, red"]]
    expected = [[caption, *name] for caption, name in zip(captions, names)]
    assert sheets[0] == [["1.png", "blue"], *expected]
    assert sheets[1][:2] == [["3.png"], ["1. distance 0", "red"]]
    assert sheets[1][4] == ["4. distance 8", "red, blue"]
    assert sheets[2] == [["1.png"], *([caption] for caption in captions)]


def caption(*lines):
    """The pixels of a caption of these lines, below the one image found."""
    image = Image.new("RGB", (8, 8))
    sheet = np.asarray(draw_contact_sheet(image, [], [(image, lines, None)]))
    return sheet[GAP + TILE : GAP + TILE + LINE * len(lines), -GAP - TILE :]


def test_a_second_line_is_drawn_below_the_first_and_cut_off_at_the_image_s_end():
    one, two = caption("1. distance 3"), caption("1. distance 3", "dog")
    np.testing.assert_array_equal(two[:LINE], one)
    assert (two[LINE:] != 255).any() and not np.array_equal(two[LINE:], one)
    np.testing.assert_array_equal(two[LINE:], caption("dog"))
    long, longer = caption("dog, " * 20), caption("dog, " * 2000)
    np.testing.assert_array_equal(long, longer)
    assert (long[:, TILE // 2 : TILE] != 255).any() and (long[:, TILE:] == 255).all()


def test_a_font_that_has_them_draws_characters_and_the_others_are_escapes(monkeypatch):
    has = {"own": "ab.!\\u2603", "first": "жя", "second": "图ж"}  # fonts, and what each can draw
    monkeypatch.setattr(contact_sheet, "FONTS", tuple(has))
    monkeypatch.setattr(
        contact_sheet, "_has", lambda name, character: character in has[name or "own"]
    )
    monkeypatch.setattr(contact_sheet, "_font", lambda name: name or "own")
    runs = contact_sheet._runs
    assert runs("aжb") == [("own", "a"), ("first", "ж"), ("own", "b")]
    assert runs("ж图жя") == [("first", "ж"), ("second", "图ж"), ("first", "я")]
    assert runs("图☃!") == [("second", "图"), ("own", "\\u2603!")]


def test_without_a_font_of_the_machine_names_are_escapes(monkeypatch):
    monkeypatch.setattr(contact_sheet, "FONTS", ("",))
    for name, escaped in (("图.jpg", "\\u56fe.jpg"), ("é", "\\xe9"), ("e\u0301", "\\xe9")):
        np.testing.assert_array_equal(caption(name), caption(escaped))


def test_control_characters_and_changes_of_direction_are_escapes_in_any_font():
    np.testing.assert_array_equal(caption("a\u202egpj\n\x1b"), caption("a\\u202egpj\\n\\x1b"))


def test_letters_that_a_font_of_this_machine_has_are_drawn():
    if contact_sheet._font("DejaVuSans") is None:
        pytest.skip("DejaVu Sans is not installed")
    assert [contact_sheet._has("DejaVuSans", each) for each in "aжع图"] == [True, True, True, False]
    assert not np.array_equal(caption("ж"), caption("\\u0436"))


ODD_NAMES = ["a\nb", "\x1b[31mred", "图片", "صورة", "😀", "ж" * 80, os.fsdecode(b"\xff\xfe")]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_that_no_terminal_and_no_sheet_could_bear(tmp_path, database, capsys, name):
    image = tmp_path / f"{name}.png"
    try:
        shutil.copy(database.images.names[0], image)
    except (OSError, UnicodeError):
        pytest.skip("this system knows no such names")
    found = listed([image, *database.images.names[:3]])
    (answer,) = ask(found, tmp_path / "output", 0)
    said = capsys.readouterr().out
    assert answer["matches"][0]["picture"] == str(image)
    assert Image.open(answer["sheet"]).format == "JPEG" and "?" not in answer["sheet"]
    assert all(line.isprintable() for line in said.splitlines())
    assert "Contact sheet: " in said.splitlines()[-1]


def test_more_matches_than_a_sheet_holds(tmp_path, database, capsys):
    many = listed([database.images.names[0]] * 900)
    log_to_console(json=False)
    transform = build_transform("short_side", 30, 24)
    encoder = Encoder(Reds("fp32"), transform, 64, LoaderOptions(), {"weights_sha256": "a"})
    config = replace(Config(), bit=8, topk=900, save_path=str(tmp_path), info=INFO)
    queries = unlisted_images([database.images.names[0]], "--img")
    (answer,) = run_search(config, encoder, queries, [many], tmp_path / "codes.npy")
    assert len(answer["matches"]) == 900
    assert max(Image.open(answer["sheet"]).size) < 1 << 16


def test_files_that_are_no_images_are_counted(tmp_path, database, caplog):
    folder = Path(database.images.names[0]).parent
    for name in ("._0.png", "notes.txt", "5.jfif"):
        (folder / name).write_bytes(b"")
    with caplog.at_level("INFO"):
        found = find_images([str(folder)])
    assert [Path(path).name for path in found] == ["0.png", "1.png", "2.png", "3.png", "5.jfif"]
    assert "2 files are passed over" in caplog.text


def test_images_without_labels_are_found_and_framed_in_grey(tmp_path, database):
    unknown = replace(database, labels=np.zeros_like(database.labels))
    (answer,) = ask(unknown, tmp_path, 0)
    assert [match["relevant"] for match in answer["matches"]] == [None] * 4
    mixed = replace(database, labels=database.labels * np.array([[1], [0], [1], [1]], np.uint8))
    (answer,) = ask(mixed, tmp_path, 2)
    assert {m["row"]: m["relevant"] for m in answer["matches"]} == {
        0: True,
        1: None,
        2: True,
        3: None,
    }
