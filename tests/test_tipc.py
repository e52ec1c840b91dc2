"""The TIPC scripts: configurations, recorded steps, a failing step, what needs a GPU."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BITS = (16, 32, 48, 64)
MODES = (
    "lite_train_lite_infer",
    "lite_train_whole_infer",
    "whole_train_whole_infer",
    "whole_infer",
)
KEYS = [
    *("===========================train_params===========================", "model_name"),
    *("python", "gpu_list", "--use-gpu", "--epoch", "--output-dir", "--batch-size"),
    *("--pretrained", "train_model_name", "--data-path", "--dataset", "##", "trainer"),
    *("norm_train", "##", "===========================eval_params==========================="),
    *("eval", "--dataset", "##"),
    "===========================infer_params===========================",
    *("--save-inference-dir", "--pretrained", "norm_export", "train_model", "infer_export"),
    *("inference", "--use-gpu", "--batch-size", "--model-dir", "--img-path", "--benchmark"),
]


def config_of(bit: int) -> Path:
    """A shipped configuration."""
    return ROOT / f"test_tipc/configs/hashnet_{bit}/train_infer_python.txt"


def run_bash(script: str, *arguments, **environment) -> subprocess.CompletedProcess:
    """Runs a script of test_tipc."""
    return subprocess.run(
        ["bash", f"test_tipc/{script}", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("bit", BITS)
def test_a_configuration_has_the_32_lines_of_the_format(bit):
    lines = config_of(bit).read_text(encoding="utf-8").splitlines()
    assert [line.partition(":")[0] for line in lines] == KEYS
    assert lines[1] == f"model_name:hashnet_{bit}" and f"--bit {bit}" in lines[14]
    for number in (10, 11, 18, 30):
        for part in lines[number].partition(":")[2].split("|"):
            assert part.partition("=")[0] in MODES


def test_the_configurations_carry_the_published_seeds():
    seeds = {bit: config_of(bit).read_text(encoding="utf-8") for bit in BITS}
    for bit, seed in ((16, 0), (32, 2000), (48, 200), (64, 2000)):
        assert f"--bit {bit} --seed {seed}\n" in seeds[bit]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: "),
        ([config_of(16), "lite"], "mode 'lite': expected one of lite_train_lite_infer"),
        (["nowhere.txt", "whole_infer"], "nowhere.txt: missing"),
        (["README.md", "whole_infer"], "README.md: expected 32 lines"),
    ],
)
def test_a_mistake_is_one_line(arguments, message):
    for script in ("prepare.sh", "test_train_inference_python.sh"):
        done = run_bash(script, *arguments)
        assert done.returncode == 2 and message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_missing_data_is_told_before_anything_runs():
    if (ROOT / "datasets/COCO2014").is_dir():
        pytest.skip("COCO is here")
    done = run_bash("prepare.sh", config_of(64), "whole_train_whole_infer")
    assert done.returncode == 2 and "datasets/COCO2014: the pictures of coco" in done.stderr


def changed(folder: Path, name: str, **lines: str) -> Path:
    """A 16-bit configuration with other lines, whose results go to a folder of its own."""
    text = config_of(16).read_text(encoding="utf-8").splitlines()
    text[6] = f"--output-dir:{folder}"
    for number, line in lines.items():
        text[int(number[1:]) - 1] = line
    path = folder / name
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def test_a_failing_step_is_recorded_and_fails_the_script(tmp_path):
    config = changed(tmp_path, "config.txt", l25=f"train_model:{tmp_path}/no_weights")
    done = run_bash("test_train_inference_python.sh", config, "whole_infer")
    assert done.returncode == 1
    results = tmp_path / "whole_infer"
    log = (results / "results_python.log").read_text(encoding="utf-8")
    assert f"Run failed with command - {sys.executable} export_model.py --bit 16" in log
    assert "Run successfully" not in log
    steps = (results / "steps.tsv").read_text(encoding="utf-8").splitlines()
    assert steps == ["export\tfailed", "inference\tfailed"]
    assert "no_weights.pdparams: missing" in done.stdout, "the cause is shown"


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="a GPU may answer")
def test_what_needs_a_gpu_is_skipped_and_never_a_success(tmp_path):
    config = changed(tmp_path, "config.txt", l4="gpu_list:0|0,1", l5="--use-gpu:True|True")
    done = run_bash("test_train_inference_python.sh", config, "lite_train_lite_infer")
    assert done.returncode == 0
    results = tmp_path / "lite_train_lite_infer"
    one, two = (results / "results_python.log").read_text(encoding="utf-8").splitlines()
    assert one.startswith("Skipped (no GPU): CUDA_VISIBLE_DEVICES=0 ")
    assert two.startswith("Skipped (no GPU): ") and "launch --gpus=0,1 main_multi_gpu.py" in two
    steps = (results / "steps.tsv").read_text(encoding="utf-8").splitlines()
    assert steps == ["train 0\tskipped", "train 0,1\tskipped"]


@pytest.mark.parametrize(
    ("distance", "status", "said"), [(3, 0, "same answers for 1"), (4, 1, "different answers")]
)
def test_answers_are_compared_by_what_they_found(tmp_path, distance, status, said):
    for name, far, sheet in (("one", 3, "a.jpg"), ("other", distance, "b.jpg")):
        match = {"rank": 1, "distance": far, "row": 7, "picture": "7.jpg", "relevant": None}
        results = [{"query": "q.jpg", "sheet": sheet, "matches": [match]}]
        (tmp_path / name).write_text(json.dumps({"bit": 16, "results": results}))
    done = subprocess.run(
        [sys.executable, "test_tipc/compare_answers.py", tmp_path / "one", tmp_path / "other"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status and said in done.stdout
