"""Paddle's start: what is set before its libraries read it, and what is recorded of it."""

from __future__ import annotations

import pytest
from helpers import run_script

from utils.system.runtime import precision_on, setup_paddle

SHOW = (
    "import os\nfrom utils.system.runtime import setup_paddle\n"
    "setup_paddle(tf32={tf32})\nprint(os.environ.get('NVIDIA_TF32_OVERRIDE'))"
)


@pytest.mark.parametrize(("tf32", "before", "after"), [(False, "1", "0"), (True, "0", "None")])
def test_float32_is_float32_unless_asked_otherwise(tf32, before, after):
    environment = {"NVIDIA_TF32_OVERRIDE": before, "PYTHONPATH": "."}
    done = run_script("-c", SHOW.format(tf32=tf32), environment=environment)
    assert done.stdout.strip() == after, done.stderr


def test_codes_rounded_to_tf32_are_recorded_as_such(monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert [precision_on(gpu, "fp32") for gpu in (True, False)] == ["fp32", "fp32"]
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    assert [precision_on(gpu, "fp32") for gpu in (True, False)] == ["tf32", "fp32"]
    assert [precision_on(True, precision) for precision in ("fp16", "bf16")] == ["fp16", "bf16"]
    setup_paddle()  # as it was
