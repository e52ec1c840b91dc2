"""What the commands' settings say of loading, and work done ahead in order."""

from __future__ import annotations

import threading

import pytest

from utils.config.options import Config
from utils.datasets.info import read_card
from utils.datasets.prefetch import prepared
from utils.system import runtime
from utils.training.common import build_loading, transform_of

CARD = read_card("coco_lite")


@pytest.mark.parametrize(
    ("cores", "flag", "threads"), [(2, None, 2), (99, None, 16), (2, 0, 0), (2, 5, 5)]
)
def test_threads_are_the_cores_unless_the_user_says_otherwise(monkeypatch, cores, flag, threads):
    monkeypatch.setattr(runtime, "usable_cores", lambda: cores)
    config = Config(num_workers=flag)
    assert build_loading(config, transform_of(config, CARD), [], print).threads == threads


def test_processes_share_the_cores(monkeypatch):
    monkeypatch.setattr(runtime, "usable_cores", lambda: 8)
    assert [runtime.cores_for_each(ranks) for ranks in (0, 1, 3, 9)] == [8, 8, 2, 1]
    monkeypatch.setenv("PADDLE_LOCAL_SIZE", "4")
    assert runtime.cores_for_each() == 2


def test_flags_reach_loading_and_transform(tmp_path):
    config = Config(on_bad_image="skip", cache_dir=str(tmp_path / "cache"), fast_decode=True)
    transform = transform_of(config, CARD)
    loading = build_loading(config, transform, [], lambda line: None)
    assert loading.skip_bad and loading.cache.folder.parent == tmp_path / "cache"
    assert transform.scaling.least_side == 224
    assert "JPEG reduced" in (loading.cache.folder / "about.json").read_text()
    plain = build_loading(Config(), transform, [], print)
    assert not plain.skip_bad and plain.cache is None


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_items_come_in_order_with_all_their_parts_done(threads):
    items = [[None] * 5 for _ in range(20)]

    def work(item, part):
        item[part] = part

    found = list(prepared(items, lambda item: range(5), work, threads, 2))
    assert [id(item) for item in found] == [id(item) for item in items]
    assert all(item == [0, 1, 2, 3, 4] for item in found)


@pytest.mark.parametrize("threads", [0, 3])
def test_no_more_items_are_begun_than_may_be_ahead(threads):
    begun = []

    def items():
        for number in range(50):
            begun.append(number)
            yield number

    for number in prepared(items(), lambda item: [0], lambda item, part: None, threads, 3):
        assert len(begun) <= number + 1 + 3


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_comes_where_its_item_would_have_and_no_thread_is_left(threads):
    def work(item, part):
        if item == 7:
            raise ValueError(f"item {item}, part {part}")

    found = []
    with pytest.raises(ValueError, match="item 7, part 0"):
        for item in prepared(range(20), lambda item: range(3), work, threads, 4):
            found.append(item)
    assert found == list(range(7))
    assert not [t for t in threading.enumerate() if t.name.startswith("loader")]


def test_who_stops_asking_leaves_no_thread_behind():
    batches = prepared(range(20), lambda item: range(3), lambda item, part: None, 3, 4)
    next(batches)
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("loader")]
