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
def test_killed_ranks_leave_no_orphans_and_go_on_alike():
    flags = ["--ranks", "2", "--kills", "2", "--epochs", "8", "--sampling", "replicate"]
    report = json.loads(succeed("tests/kill_training.py", *flags).splitlines()[-1])
    assert report["kills"] == 2 and report["trainings ended"] >= 1
