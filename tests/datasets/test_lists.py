"""List files: a picture's path and its labels a line; errors name the line."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.datasets.lists import read_list
from utils.system.errors import UserError


@pytest.fixture
def read(tmp_path):
    """Writes a list of the given content and reads it for 3 labels a line."""
    path = tmp_path / "train.txt"

    def write_and_read(content, num_class=3):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_list(path, num_class)

    return write_and_read


def test_a_line_is_a_path_and_its_labels(read):
    found = read("a.jpg 1 0 0\nfolder/b.jpg 0 1 1\n")
    assert found.pictures == ("a.jpg", "folder/b.jpg")
    assert found.labels.dtype == np.uint8
    np.testing.assert_array_equal(found.labels, [[1, 0, 0], [0, 1, 1]])
    np.testing.assert_array_equal(found.lines, [1, 2])


@pytest.mark.parametrize(
    "content",
    [
        "a.jpg 1 0 0\nb.jpg 0 1 1",
        "a.jpg 1 0 0\r\nb.jpg 0 1 1\r\n",
        "a.jpg\t1\t0\t0\nb.jpg  0  1  1\n",
        "a.jpg 1 0 0 \n b.jpg 0 1 1\t\n",
        "  a.jpg 1 0 0\n\tb.jpg 0 1 1\n",
    ],
    ids=["no last newline", "CRLF", "tabs and two spaces", "spaces behind", "spaces before"],
)
def test_line_ends_and_the_kind_of_white_space_change_nothing(read, content):
    found = read(content)
    assert found.pictures == ("a.jpg", "b.jpg")
    np.testing.assert_array_equal(found.labels, [[1, 0, 0], [0, 1, 1]])


def test_a_path_may_hold_spaces_and_any_letters(read):
    found = read("my pictures/Märchen 1.jpg 1 0 0\nmy  pictures/2 0.5.png  0 0 1\n")
    assert found.pictures == ("my pictures/Märchen 1.jpg", "my  pictures/2 0.5.png")


def test_blank_lines_are_passed_over_and_counted(read):
    found = read("\na.jpg 1 0 0\n\n  \nb.jpg 0 1 1\n\n")
    assert found.pictures == ("a.jpg", "b.jpg")
    np.testing.assert_array_equal(found.lines, [2, 5])


def test_one_label_a_line_will_do(read):
    assert read("a.jpg 1\nb.jpg 0\n", num_class=1).labels.tolist() == [[1], [0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.jpg 1 0 0\nb.jpg 0 1\n", "line 2: expected 3 labels of 0 or 1, found 2"),
        ("a.jpg 1 0 0\n\nb.jpg 0 1 1 1\n", "line 3: expected 3 labels of 0 or 1, found 4"),
        ("a.jpg\t1 0 0 0\n", "line 1: expected 3 labels of 0 or 1, found 4"),
        ("a.jpg 1 0 2\n", "line 1: expected 3 labels.*'2'"),
        ("a.jpg 2 0 1\n", "line 1: expected 3 labels of 0 or 1, found 2 behind '2'"),
        ("a.jpg 1.0 0 1\n", r"line 1: expected 3 labels.*'1\.0'"),
        ("a.jpg\n", "line 1: expected 3 labels of 0 or 1, found 0"),
        ("a.jpg 1 0 0\n1 0 0\n", "line 2: expected a picture's path"),
        (" 1 0 0\n", "line 1: expected a picture's path"),
        ("1 1 0 0\n", "line 1: expected a picture's path"),
        ("1 0\n", "line 1: expected a picture's path"),
        ("", "the list is empty"),
        ("\n \n", "the list is empty"),
        (b"a.jpg 1 0 0\n\xff\xfe.jpg 0 1 1\n", "line 2: not UTF-8"),
    ],
)
def test_a_bad_list_s_message_is_one_line_that_names_file_and_line(read, content, message):
    with pytest.raises(UserError, match=r"train\.txt.*" + message) as error:
        read(content)
    assert "\n" not in str(error.value)


def test_a_missing_list_s_message_names_the_flag(tmp_path):
    with pytest.raises(UserError, match=r"none\.txt: the list file is missing; --list-path"):
        read_list(tmp_path / "none.txt", 3)


def test_a_folder_in_place_of_a_list_is_an_error(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_list(tmp_path, 3)


def content_or_error(path, text, num_class):
    """What a list gives, or that it is refused."""
    path.write_text(text, encoding="utf-8", newline="")
    try:
        found = read_list(path, num_class)
    except UserError:
        return "refused"
    return found.pictures, found.labels.tolist(), found.lines.tolist()


@given(
    path=st.text(st.sampled_from("01a./ \t\u3000\r"), max_size=8),
    labels=st.lists(st.sampled_from("01"), min_size=1, max_size=4),
)
def test_lines_with_single_spaces_are_read_as_lines_with_double_ones(
    tmp_path_factory, path, labels
):
    file = tmp_path_factory.getbasetemp() / "hypothesis.txt"
    single = content_or_error(file, f"{path} {' '.join(labels)}\n", num_class=3)
    double = content_or_error(file, f"{path}  {'  '.join(labels)}\n", num_class=3)
    assert single == double


def test_the_released_coco_lists_are_read_whole(real_data, tmp_path):
    with tarfile.open(real_data / "coco_lists.tar.xz") as archive:
        for name in ("train", "test", "database"):
            content = archive.extractfile(f"{name}.txt").read()
            (tmp_path / f"{name}.txt").write_bytes(content)
    train, test, database = (
        read_list(tmp_path / f"{name}.txt", 80) for name in ("train", "test", "database")
    )
    assert [len(part.pictures) for part in (train, test, database)] == [10_000, 5_000, 112_218]
    for part in (train, test, database):
        assert part.labels.shape == (len(part.pictures), 80)
        assert set(np.unique(part.labels)) == {0, 1}
        assert (part.labels.sum(1) > 0).all()
        assert part.pictures[-1].endswith(".jpg")
    assert set(test.pictures) <= set(database.pictures)
    assert not set(train.pictures) & set(database.pictures)
