"""--on_bad_image skip: what a bad picture does to batches, codes, code files and metrics."""

from __future__ import annotations

import json

import numpy as np
import paddle
import pytest
from conftest import drawn_picture, write_data_set
from PIL import Image
from test_datasets import open_train

from utils.codes import pack_codes
from utils.datasets.cache import PictureCache
from utils.datasets.loader import Batches, Loading
from utils.datasets.transforms import CenterCrop, RandomCropFlip, Square
from utils.inference.backends import DygraphCoder
from utils.inference.encoder import Encoder, identity_of, provenance, stored_or_new_codes
from utils.search import search
from utils.system.errors import UserError

ROWS, BAD = 11, (2, 3, 9)
SKIP = Loading(skip_bad=True)


@pytest.fixture()
def split(tmp_path):
    """Eleven pictures, of which three are a text, cut short and missing."""
    write_data_set(tmp_path, rows=ROWS)
    (tmp_path / "picture 2.png").write_text("no picture")
    cut = tmp_path / "picture 3.png"
    cut.write_bytes(cut.read_bytes()[:2000])
    (tmp_path / "picture 9.png").unlink()
    return open_train(tmp_path)


def training_epoch(split, epoch=1, loading=SKIP):
    """The batches of a training epoch, and the loader."""
    batches = Batches(split, RandomCropFlip(36, 24), 4, loading, training=True, seed=5)
    batches.set_epoch(epoch)
    return list(batches), batches


def test_in_training_another_picture_comes_with_its_own_labels_and_row(split):
    found, batches = training_epoch(split)
    assert [len(rows) for *_, rows in found] == [4, 4, 3], "a batch stays as large as it was"
    rows = np.concatenate([rows for *_, rows in found])
    assert len(rows) == ROWS and not set(rows) & set(BAD)
    assert set(rows) == set(range(ROWS)) - set(BAD), "all good ones come"
    for pictures, labels, numbers in found:
        np.testing.assert_array_equal(labels, split.labels[numbers])
        for picture, row in zip(pictures, numbers):
            whole = np.asarray(split.pictures.open(int(row)).resize((43, 36), Image.BILINEAR))
            windows = np.lib.stride_tricks.sliding_window_view(whole, (24, 24), axis=(0, 1))
            windows = windows.transpose(0, 1, 3, 4, 2)
            turned = (picture, picture[:, ::-1])
            assert any((windows == each).all(axis=(2, 3, 4)).any() for each in turned)
    assert sorted(batches.bad) == list(BAD)
    assert "line 3" in batches.bad[2] and "not a picture" in batches.bad[2]


def test_the_replacement_depends_on_seed_epoch_and_row_alone(split, tmp_path):
    for epoch in (1, 2):
        expected, _ = training_epoch(split, epoch)
        for threads in (1, 3):
            cache = PictureCache(tmp_path / "cache", str(RandomCropFlip(36, 24).scaling))
            found, _ = training_epoch(split, epoch, Loading(threads, True, cache))
            for one, other in zip(found, expected):
                for a, b in zip(one, other):
                    np.testing.assert_array_equal(a, b)
    orders = [np.concatenate([rows for *_, rows in training_epoch(split, e)[0]]) for e in (1, 2)]
    assert sorted(orders[0]) != sorted(orders[1]), "other pictures take the places"


def test_where_none_is_good_it_says_so(split, tmp_path):
    for path in tmp_path.glob("*.png"):
        path.write_text("no picture")
    with pytest.raises(UserError, match=r"not a picture .*nor can 100 others"):
        training_epoch(split)
    with pytest.raises(UserError, match=r"picture 0.*nor can any other of the 11 pictures"):
        encoder().encode(split)


class Colours(paddle.nn.Layer):
    """z: whether each of eight pixels is brighter than the mean."""

    def forward(self, pictures):
        return paddle.flatten(pictures, 1)[:, 100:108]


def encoder(loading=SKIP, batch_size=4):
    """An encoder of 24×24 pictures to 8 bits."""
    return Encoder(DygraphCoder(Colours()), CenterCrop(36, 24), batch_size, loading)


def codes_of(split, rows):
    """What the codes of rows should be, worked out picture by picture."""
    from models.normalization import PictureNormalization

    pixels = np.stack([CenterCrop(36, 24)(split.pictures.open(row)) for row in rows])
    z = Colours()(PictureNormalization()(paddle.to_tensor(pixels)))
    return pack_codes(z.numpy())


GOOD = [row for row in range(ROWS) if row not in BAD]


@pytest.mark.parametrize("threads", [0, 2])
def test_encoding_leaves_the_row_out_of_codes_labels_and_pictures(split, threads):
    encoded = encoder(Loading(threads, skip_bad=True)).encode(split)
    np.testing.assert_array_equal(encoded.codes, codes_of(split, GOOD))
    np.testing.assert_array_equal(encoded.split.labels, split.labels[GOOD])
    assert len(encoded.split) == len(encoded.split.pictures) == len(GOOD)
    for row, list_row in enumerate(GOOD):
        assert encoded.split.pictures.name(row) == split.pictures.name(list_row)
    assert list(encoded.left_out) == list(BAD)


def test_without_skip_the_first_bad_picture_is_the_error(split):
    for threads in (0, 2):
        with pytest.raises(UserError, match=r"picture 2\.png: not a picture .*line 3\)$"):
            encoder(Loading(threads)).encode(split)


def test_encoding_computes_no_gradients(split):
    z = []

    class Linear(paddle.nn.Linear):
        def forward(self, pictures):
            z.append(super().forward(paddle.flatten(pictures, 1)))
            return z[-1]

    Encoder(DygraphCoder(Linear(24 * 24 * 3, 8)), CenterCrop(36, 24), 4, SKIP).encode(split)
    assert z[0].stop_gradient


def test_a_random_start_is_normalised_on_good_pictures(split):
    found = encoder().network_input(split, 5)
    assert found.shape == [5, 3, 24, 24]
    expected = np.stack([CenterCrop(36, 24)(split.pictures.open(row)) for row in GOOD[:5]])
    from models.normalization import PictureNormalization

    np.testing.assert_array_equal(found, PictureNormalization()(paddle.to_tensor(expected)))
    assert len(encoder().network_input(split, 99)) == len(GOOD)
    with pytest.raises(UserError, match=r"picture 2\.png"):
        encoder(Loading()).network_input(split, 5)


def test_matches_name_rows_of_the_list(split):
    encoded = encoder().encode(split)
    ((first, *_),) = search(encoded.codes[-1:], [None], encoded.codes, encoded.split, ROWS)
    assert first.picture == split.pictures.name(first.row)
    matches = search(encoded.codes[-1:], [None], encoded.codes, encoded.split, ROWS)[0]
    assert sorted(match.row for match in matches) == GOOD


@pytest.fixture()
def kept(split, tmp_path):
    """A code file of the split, made with bad pictures left out."""
    weights = tmp_path / "weights.pdparams"
    weights.write_bytes(b"the file's hash counts")
    path, said = tmp_path / "database_code_8.npy", []

    def codes(loading=SKIP):
        said.clear()
        made = encoder(loading)
        made_from = provenance(made, split, identity_of(weights))
        return stored_or_new_codes(path, made, split, 8, made_from, said.append), said

    codes()
    return path, codes


def test_kept_codes_know_which_rows_they_leave_out(split, kept):
    path, codes = kept
    record = json.loads(path.with_suffix(".json").read_text())
    assert (record["left_out"], record["rows"]) == (list(BAD), len(GOOD))
    encoded, said = codes()
    assert f"{len(GOOD)} read from" in said[0]
    np.testing.assert_array_equal(encoded.codes, codes_of(split, GOOD))
    np.testing.assert_array_equal(encoded.split.list_rows, GOOD)
    assert list(encoded.left_out) == list(BAD)


def test_kept_codes_that_leave_rows_out_are_not_used_without_skip(kept):
    _, codes = kept
    with pytest.raises(UserError, match=r"picture 2\.png"):
        codes(Loading())


def test_kept_codes_are_made_again_when_a_picture_can_be_read(split, kept, tmp_path):
    _, codes = kept
    drawn_picture(48, 40).save(tmp_path / "picture 9.png")
    encoded, said = codes()
    assert "picture 9.png was left out and can be read now" in said[0]
    assert len(encoded.codes) == len(GOOD) + 1
    assert "read from" in codes()[1][0]


@pytest.mark.parametrize("wrong", [[2, 3], [2, 3, 11], [-1, 2, 3], "2", [2, 3, 9.0], [2, 2, 9]])
def test_a_record_of_other_rows_is_not_believed(kept, wrong):
    path, codes = kept
    record = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**record, "left_out": wrong}))
    encoded, said = codes()
    assert "encoding 11 pictures" in said[0]
    assert len(encoded.codes) == len(GOOD)


def test_fast_decode_reads_jpeg_at_half_its_size_and_no_less(tmp_path):
    write_data_set(tmp_path, rows=1)
    for name, size in (("large", (640, 481)), ("small", (640, 447))):
        drawn_picture(*size).save(tmp_path / f"{name}.jpg")
    (tmp_path / "train.txt").write_text("large.jpg 1 0 0\nsmall.jpg 1 0 0\npicture 0.png 1 0 0\n")
    pictures = open_train(tmp_path).pictures
    sizes = [pictures.open(row, 224).size for row in range(3)]
    assert sizes == [(320, 241), (640, 447), (48, 40)]
    assert [pictures.open(row).size for row in range(3)] == [(640, 481), (640, 447), (48, 40)]
    for transform in (CenterCrop, RandomCropFlip):
        fast, slow = transform(256, 224, True), transform(256, 224)
        assert fast.scaling.least_side == 224 and slow.scaling.least_side == 0
        assert str(fast) == f"JPEG reduced to 224 or more, {slow}"
    assert str(Square(224, True)).startswith("JPEG reduced to 224 or more, ")
