"""Search: order, what is known of labels, which files a name stands for, what people see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from utils.codes import pack_codes
from utils.datasets import Split, loose_pictures, own_rows
from utils.datasets.images import PictureArray, PictureFiles
from utils.search import find_pictures, known_labels, search
from utils.search.contact_sheet import FRAME_COLOURS, GAP, draw_contact_sheet
from utils.search.report import report_search
from utils.system.errors import UserError

SIGNS = np.array([[1] * 8, [1] * 7 + [-1], [-1] * 8, [1] * 8], dtype=np.float32)
LABELS = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=np.uint8)


@pytest.fixture()
def database(tmp_path):
    """Four picture files with 8-bit codes `SIGNS`."""
    paths = [tmp_path / "pictures" / f"{number}.png" for number in range(4)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        Image.new("RGB", (40, 30), (80 * number, 0, 0)).save(path)
    return Split("database", PictureFiles([str(p) for p in paths], "list"), LABELS, {})


def test_matches_stand_by_distance_and_then_by_row(database):
    codes = pack_codes(SIGNS)
    ((first, second, third),) = search(codes[:1], [LABELS[0]], codes, database, 3)
    assert [(m.rank, m.distance, m.row) for m in (first, second, third)] == [
        (1, 0, 0),
        (2, 0, 3),
        (3, 1, 1),
    ]
    assert [m.relevant for m in (first, second, third)] == [True, False, False]
    assert first.picture == database.pictures.name(0)
    assert first.as_dict() == {
        "rank": 1,
        "distance": 0,
        "row": 0,
        "picture": database.pictures.name(0),
        "relevant": True,
    }


def test_relevance_of_a_query_without_known_labels_is_not_known(database):
    codes = pack_codes(SIGNS)
    known, unknown = search(codes[:2], [LABELS[2], None], codes, database, 99)
    assert [m.relevant for m in unknown] == [None] * 4
    assert {m.row: m.relevant for m in known} == {0: True, 1: True, 2: True, 3: False}


def test_codes_of_another_database_are_refused(database):
    with pytest.raises(UserError, match="3 database codes for 4 pictures"):
        search(pack_codes(SIGNS[:1]), [None], pack_codes(SIGNS[:3]), database, 1)


def test_names_stand_for_files_and_folders(tmp_path, database):
    folder = tmp_path / "pictures"
    (folder / "notes.txt").write_text("no picture", encoding="utf-8")
    found = find_pictures([str(folder / "3.png"), str(folder)])
    assert found == [folder / f"{name}.png" for name in (3, 0, 1, 2, 3)]
    with pytest.raises(UserError, match="missing"):
        find_pictures([str(folder / "9.png")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no picture"):
        find_pictures([str(tmp_path / "empty")])


def test_labels_are_known_for_pictures_of_the_lists(tmp_path, database, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the same file by another spelling of its path
    stranger = tmp_path / "1.png"
    Image.new("RGB", (8, 8)).save(stranger)
    found = known_labels([Path("pictures/1.png"), stranger], [database])
    np.testing.assert_array_equal(found[0], LABELS[1])
    assert found[1] is None


def test_own_rows_finds_queries_that_stand_in_the_database(database):
    path = Path(database.pictures.name(2))
    other_spelling = f"{path.parent}/./{path.name}"
    names = [other_spelling, "elsewhere.png", database.pictures.name(0)]
    queries = Split("test", PictureFiles(names, "list"), LABELS[:3], {})
    np.testing.assert_array_equal(own_rows(queries, database), [2, -1, 0])


def test_a_report_has_table_kept_lines_copy_and_sheet(tmp_path, database):
    query = Path(database.pictures.name(0))
    codes = pack_codes(SIGNS)
    (matches,) = search(codes[:1], [LABELS[0]], codes, database, 4)
    lines: list[str] = []
    output = tmp_path / "output"
    sheet = report_search(
        0, loose_pictures([query], "--img"), matches, database, output, lines.append
    )
    assert lines[0] == f"Query: {query}"
    assert lines[2].split() == ["1", "0", str(query), "shares", "a", "label"]
    assert "----- Predicted Hamm_min: 0.0" in lines
    assert f"----- Found Matched Pic: {query}" in lines
    assert f"----- Save Matched Pic in: {output / '0.png'}" in lines
    assert (output / "0.png").read_bytes() == query.read_bytes()
    assert sheet == output / "search_0.jpg" and Image.open(sheet).format == "JPEG"


def test_a_copy_into_the_picture_folder_leaves_the_picture_as_it_is(database):
    path = Path(database.pictures.name(1))
    before = path.read_bytes()
    assert database.pictures.copy(1, path.parent) == path
    assert path.read_bytes() == before


def test_a_copy_leaves_another_file_of_that_name_alone(tmp_path, database):
    mine = tmp_path / "output/1.png"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    copy = database.pictures.copy(1, mine.parent)
    assert copy == mine.with_name("1_2.png") and mine.read_bytes() == b"mine"
    assert copy.read_bytes() == Path(database.pictures.name(1)).read_bytes()
    assert database.pictures.copy(1, mine.parent) == copy, "a second copy is the same file"


def test_pictures_in_memory_are_copied_as_png(tmp_path):
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    copy = PictureArray(pixels, ["cifar10/0.png", "cifar10/1.png"]).copy(1, tmp_path)
    assert copy == tmp_path / "1.png"
    np.testing.assert_array_equal(np.asarray(Image.open(copy)), pixels[1])


@pytest.mark.parametrize("count", [1, 5, 6, 12])
def test_frames_on_the_sheet_tell_relevance(count):
    picture = Image.new("RGB", (50, 80), (0, 0, 255))
    relevant = [(True, False, None)[place % 3] for place in range(count)]
    found = [(picture, f"{place}. distance 3", known) for place, known in enumerate(relevant)]
    sheet = draw_contact_sheet(picture, "a name much longer than the picture is wide" * 3, found)
    pixels = np.asarray(sheet)
    for known in set(relevant):
        assert (pixels == FRAME_COLOURS[known]).all(-1).any()
    if count == 1:
        assert not (pixels == FRAME_COLOURS[False]).all(-1).any()
    assert (pixels[:GAP] == 255).all() and (pixels[-GAP:] == 255).all()
    assert (pixels[:, -GAP:] == 255).all(), "a tile sticks out of the sheet"


def test_a_picture_found_that_cannot_be_read_any_more(tmp_path, database):
    query = Path(database.pictures.name(0))
    codes = pack_codes(SIGNS)
    (matches,) = search(codes[3:], [None], codes, database, 2)
    assert [match.row for match in matches] == [0, 3]
    asked = loose_pictures([Path(database.pictures.name(3))], "--img")
    query.write_text("no picture any more", encoding="utf-8")
    with pytest.raises(UserError, match=r"0\.png: not a picture"):
        report_search(0, asked, matches, database, tmp_path / "output", print)
    lines: list[str] = []
    sheet = report_search(0, asked, matches, database, tmp_path / "output", lines.append, True)
    assert sheet.is_file() and not (tmp_path / "output/0.png").exists()
    assert any(line.startswith(f"Not shown: {query}: not a picture") for line in lines)
    assert not any("Save Matched Pic" in line for line in lines)
