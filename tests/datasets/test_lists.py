"""List files: an image's path and its labels a line; errors name the line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.datasets.lists import check_inside, read_list
from utils.system.errors import UserError


@pytest.fixture
def read(tmp_path):
    """Writes a list of the given content and reads it for 3 labels a line."""
    path = tmp_path / "train.txt"

    def write_and_read(content, num_class=3, **options):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_list(path, num_class, **options)

    return write_and_read


@pytest.mark.parametrize(
    "content",
    [
        "a.jpg 1 0 0\nb.jpg 0 1 1\n",
        "a.jpg 1 0 0\nb.jpg 0 1 1",
        "a.jpg 1 0 0\r\nb.jpg 0 1 1\r\n",
        "a.jpg\t1\t0\t0\nb.jpg  0  1  1\n",
        "a.jpg 1 0 0 \n b.jpg 0 1 1\t\n",
        "\ufeffa.jpg 1 0 0\nb.jpg 0 1 1\n",
    ],
    ids=["usual", "no last newline", "CRLF", "tabs, two spaces", "spaces around", "byte order"],
)
def test_a_line_is_a_path_and_its_labels_whatever_its_end_and_white_space(read, content):
    found = read(content)
    assert found.paths == ("a.jpg", "b.jpg") and len(found) == 2
    assert found.labels.dtype == np.uint8
    np.testing.assert_array_equal(found.labels, [[1, 0, 0], [0, 1, 1]])
    np.testing.assert_array_equal(found.lines, [1, 2])


def test_paths_may_hold_spaces_and_any_letters_and_blank_lines_are_counted(read):
    found = read("my images/Märchen 1.jpg 1 0 0\n\n  \nmy  images/2 0.5.png  0 0 1\n\n")
    assert found.paths == ("my images/Märchen 1.jpg", "my  images/2 0.5.png")
    np.testing.assert_array_equal(found.lines, [1, 4])
    assert read("a.jpg 1\nb.jpg 0\n", num_class=1).labels.tolist() == [[1], [0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.jpg 1 0 0\nb.jpg 0 1\n", "line 2: expected 3 labels of 0 or 1, found 2"),
        ("a.jpg 1 0 0\n\nb.jpg 0 1 1 1\n", "line 3: expected 3 labels of 0 or 1, found 4"),
        ("a.jpg 2 0 1\n", "line 1: expected 3 labels of 0 or 1, found 2 behind '2'"),
        ("a.jpg\n", "line 1: expected 3 labels of 0 or 1, found 0"),
        ("a.jpg 1 0 0\n1 0 0\n", "line 2: expected an image's path"),
        ("", "the list is empty"),
        (b"a.jpg 1 0 0\n\xff\xfe.jpg 0 1 1\n", "line 2: not UTF-8"),
        (b"a.jpg 1 0 0\nb\0.jpg 0 1 1\n", "line 2: not UTF-8"),
    ],
)
def test_a_bad_list_s_message_is_one_line_that_names_file_and_line(read, content, message):
    with pytest.raises(UserError, match=r"train\.txt.*" + message) as error:
        read(content)
    assert "\n" not in str(error.value)


def test_faults_may_be_set_aside_unless_nothing_else_is_there(read):
    found = read("a.jpg 1 0 0\nb.jpg\n1 0 0\nc.jpg 0 0 1\n", skip_faults=True)
    assert found.paths == ("a.jpg", "c.jpg") and found.lines.tolist() == [1, 4]
    assert "line 2: expected 3 labels" in found.faults[0] and "line 3" in found.faults[1]
    with pytest.raises(UserError, match="line 1: expected 3 labels"):
        read("a.jpg\n", skip_faults=True)


def content_or_error(path, text, num_class):
    """What a list gives, or that it is refused."""
    path.write_bytes(text.encode())
    try:
        found = read_list(path, num_class)
    except UserError:
        return "refused"
    return found.paths, found.labels.tolist(), found.lines.tolist()


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


def test_a_path_that_leads_out_of_the_folder_is_told_with_its_line(read):
    check_inside(read("a.jpg 1\nb/../a.jpg 1\n", 1))
    with pytest.raises(UserError, match=r"train\.txt, line 3: .*--allow-outside"):
        check_inside(read("b/ok.jpg 1\n\nb/../../a.jpg 0\n", 1))


def test_the_released_coco_lists_are_read_whole(released_lists):
    train, test, database = (
        read_list(released_lists / f"{name}.txt", 80) for name in ("train", "test", "database")
    )
    assert list(map(len, (train, test, database))) == [10_000, 5_000, 112_218]
    for part in (train, test, database):
        assert part.labels.shape == (len(part), 80)
        assert set(np.unique(part.labels)) == {0, 1}
        assert (part.labels.sum(1) > 0).all()
        assert part.paths[-1].endswith(".jpg")
    assert set(test.paths) <= set(database.paths)
    assert not set(train.paths) & set(database.paths)


def test_a_database_s_line_may_be_a_path_alone(tmp_path):
    path = tmp_path / "database.txt"
    path.write_text("a b.jpg\nc.jpg 0 1\r\nd 1.jpg\rdeep/e.jpg 1 0\n")
    found = read_list(path, 2, unlabelled=True)
    assert found.paths == ("a b.jpg", "c.jpg", "d 1.jpg", "deep/e.jpg")
    assert found.labels.tolist() == [[0, 0], [0, 1], [0, 0], [1, 0]]
    with pytest.raises(UserError, match="line 1: expected 2 labels of 0 or 1, found 0"):
        read_list(path, 2)
    path.write_text("a.jpg 1\n")
    with pytest.raises(UserError, match="line 1: expected 2 labels of 0 or 1, found 1"):
        read_list(path, 2, unlabelled=True)
