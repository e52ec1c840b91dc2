"""`kill -9` at random moments; kill_training.py does it, and more often where it is asked to."""

from __future__ import annotations

import json
import sys

import pytest
from helpers import succeed

linux = pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")


@linux
def test_killed_trainings_go_on_from_a_whole_state_and_end_as_an_unbroken_one():
    flags = ["--kills", "12", "--epochs", "12", "--seconds", "1.2"]
    report = json.loads(succeed("tests/kill_training.py", *flags).splitlines()[-1])
    assert report["kills"] == 12 and report["trainings ended"] >= 1
    assert report["states loaded"] >= 3


@linux
def test_ranks_whose_parent_is_killed_while_they_start_end_and_are_begun_anew():
    flags = ["--ranks", "2", "--kills", "1", "--epochs", "6", "--sampling", "shard", "--seed", "40"]
    report = json.loads(succeed("tests/kill_training.py", *flags).splitlines()[-1])
    assert report["kills"] == report["trainings ended"] == 1
    assert any(name.startswith("parent killed") for name in report)
