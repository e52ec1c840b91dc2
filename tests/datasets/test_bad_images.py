"""--on-bad-image skip: what a bad image does to codes, code files, searches and first weights."""

from __future__ import annotations

import json

import numpy as np
import paddle
import pytest
from helpers import drawn_image
from test_loader import GOOD, IMAGES, SKIP, TEST, damaged_split, logged

from models.layers import Normalize
from utils.codes import pack_codes
from utils.datasets.loader import LoaderOptions
from utils.inference.backends import DygraphBackend
from utils.inference.database import load_or_build
from utils.inference.encoder import Encoder
from utils.search import search
from utils.system.errors import UserError

BAD = [2, 3, 9]


@pytest.fixture()
def split(tmp_path):
    """Eleven images, of which three are bad."""
    return damaged_split(tmp_path)


class Colours(paddle.nn.Layer):
    """z: whether each of eight pixels is brighter than the mean."""

    def forward(self, images):
        assert not paddle.is_grad_enabled()
        return paddle.flatten(images, 1)[:, 100:108]


def encoder(options=SKIP, network=None):
    """An encoder of 24×24 images to 8 bits."""
    weights = {"weights": "w.pdparams", "weights_sha256": "ab"}
    return Encoder(DygraphBackend(network or Colours()), TEST, 4, options, weights)


@paddle.no_grad()
def codes_of(split, indices):
    """What the codes of images should be, worked out one by one."""
    pixels = np.stack([TEST(split.images.open(index)) for index in indices])
    return pack_codes(Colours()(Normalize()(paddle.to_tensor(pixels))).numpy())


@pytest.mark.parametrize("threads", [0, 2])
def test_encoding_leaves_the_image_out_of_codes_labels_and_images(split, threads):
    (encoded,) = encoder(LoaderOptions(threads, skip_bad=True)).encode(split)
    np.testing.assert_array_equal(encoded.codes, codes_of(split, GOOD))
    np.testing.assert_array_equal(encoded.split.labels, split.labels[GOOD])
    np.testing.assert_array_equal(encoded.split.indices, GOOD)
    assert list(encoded.left_out) == BAD
    matches = search(encoded.codes[-1:], [None], encoded.codes, encoded.split, IMAGES)[0]
    assert sorted(match.index for match in matches) == GOOD
    assert all(match.image == split.images.names[match.index] for match in matches)
    with pytest.raises(UserError, match=r"picture 2\.png"):
        encoder(LoaderOptions(threads)).encode(split)


def test_a_bad_image_is_one_line_that_names_image_list_and_line(split):
    for index, words in zip(BAD, ("format is unknown", "truncated|broken", "missing")):
        expected = rf"picture {index}\.png: .*({words}).*; named in .*train\.txt, line {index + 1}$"
        with pytest.raises(UserError, match=expected):
            split.images.open(index)


@pytest.fixture()
def kept(split, tmp_path):
    """A code file made with bad images left out; a function that loads it and gives the log."""
    path, queries = tmp_path / "database_code_8.npy", split.subset(np.array([0, 1]))

    def codes(options=SKIP):
        with logged() as lines:
            asked, known = load_or_build(path, 8, encoder(options), queries, split)
        np.testing.assert_array_equal(asked.codes, codes_of(split, [0, 1]))
        return known, lines

    codes()
    return path, codes


def test_kept_codes_know_which_images_they_leave_out(split, kept):
    path, codes = kept
    record = json.loads(path.with_suffix(".json").read_text())
    assert (record["left_out"], record["rows"]) == (BAD, len(GOOD))
    encoded, said = codes()
    assert f"{len(GOOD)} read from" in said[0]
    np.testing.assert_array_equal(encoded.codes, codes_of(split, GOOD))
    np.testing.assert_array_equal(encoded.split.indices, GOOD)
    assert list(encoded.left_out) == BAD
    with pytest.raises(UserError, match=r"picture 2\.png"):
        codes(LoaderOptions())


def test_kept_codes_are_made_again_when_an_image_can_be_read(kept, tmp_path):
    _, codes = kept
    drawn_image(48, 40).save(tmp_path / "picture 9.png")
    encoded, said = codes()
    assert f"{len(GOOD)} read from" in said[0] and "encoding 1 images (new or changed)" in said[1]
    assert len(encoded.codes) == len(GOOD) + 1
    assert f"{len(GOOD) + 1} read from" in codes()[1][0]


@pytest.mark.parametrize("wrong", [[2, 3], [2, 3, 11], [-1, 2, 3], "2", [2, 3, 9.0], [2, 2, 9]])
def test_a_record_of_other_images_is_not_believed(kept, wrong):
    path, codes = kept
    record = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**record, "left_out": wrong}))
    encoded, said = codes()
    assert "encoding 11 images" in said[0]
    assert len(encoded.codes) == len(GOOD)
