"""The TIPC scripts: configurations, recorded steps, failures, what needs a GPU, the table.

Most run with a stand-in for Python, which notes the commands and answers at once.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BITS = (16, 32, 48, 64)
LITE, WHOLE_INFER = "lite_train_lite_infer", "whole_infer"
MODES = (LITE, "lite_train_whole_infer", "whole_train_whole_infer", WHOLE_INFER)
# The lines' keys in the community's order; its scripts find lines by their numbers.
KEYS = [
    *("===========================train_params===========================", "model_name"),
    *("python", "gpu_list", "use-gpu", "--epoch", "--output-dir", "--batch-size"),
    *("--pretrained", "train_model_name", "--data-path", "##", "trainer", "norm_train", "##"),
    *("===========================eval_params===========================", "eval", "##"),
    "===========================infer_params===========================",
    *("--save-inference-dir", "--pretrained", "norm_export", "##"),
    *("train_model", "infer_export", "##", "inference", "--use-gpu", "--batch-size"),
    *("--model-dir", "--img-path", "--benchmark"),
]
STAND_IN = """\
#!/usr/bin/env bash
case "$*" in
    -c*usable_gpus*) echo "$GPUS"; exit ;;
    -c* | *compare_answers.py*) exec "$REAL_PYTHON" "$@" ;;
esac
echo "${CUDA_VISIBLE_DEVICES:-all} $*" >>"$CALLS"
case "$*" in *"$BROKEN"*) echo "this step is broken" >&2; exit 2 ;; esac
far=3
case "$*" in *"$OTHER"*) far=4 ;; esac
echo '{"results": [{"query": "q", "matches": [{"distance": '$far', "row": 1, "picture": "p"}]}]}'
"""


def config_of(bit: int) -> Path:
    """A shipped configuration, from the root."""
    return Path(f"test_tipc/configs/hashnet_{bit}/train_infer_python.txt")


def start(*command, cwd=ROOT, **environment) -> subprocess.CompletedProcess:
    """Runs a command in a folder, without settings of the environment that choose a Python."""
    kept = {name: value for name, value in os.environ.items() if name not in ("VENV", "PADDLE")}
    return subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env={**kept, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def chain(config, mode, **rest) -> subprocess.CompletedProcess:
    """Runs the chain of a configuration."""
    return start("bash", "test_tipc/test_train_inference_python.sh", config, mode, **rest)


@pytest.fixture
def house(tmp_path):
    """A copy of the scripts, and what to start them with: a Python and a machine that are stood in.

    Returns:
        A function of GPUs, of a word of commands that break, and of a word of commands that answer
        otherwise; it gives the arguments of `start`.
    """
    house = tmp_path / "house"
    shutil.copytree(ROOT / "test_tipc", house / "test_tipc", ignore=lambda *_: ["output"])
    (house / "scripts").mkdir()
    for name in ("tipc.sh", "environment.sh"):
        shutil.copy(ROOT / "scripts" / name, house / "scripts")
    for name in ("data", "datasets"):
        (house / name).symlink_to(ROOT / name)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "python").write_text(STAND_IN, encoding="utf-8")
    (programs / "nvidia-smi").write_text('#!/bin/sh\n[ "$GPUS" -gt 0 ]\n', encoding="utf-8")
    for path in programs.iterdir():
        path.chmod(0o755)

    def arguments(gpus=0, broken="nothing", other="nothing"):
        return {
            "cwd": house,
            "PYTHON": str(programs / "python"),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "REAL_PYTHON": sys.executable,
            "CALLS": str(house / "calls.txt"),
            "GPUS": str(gpus),
            "BROKEN": broken,
            "OTHER": other,
            "CUDA_VISIBLE_DEVICES": "",
        }

    arguments.root = house
    return arguments


def results(root: Path, bit: int = 16, mode: str = LITE) -> tuple[list[str], list[list[str]]]:
    """The lines of results_python.log, and the recorded steps with their status."""
    folder = root / f"test_tipc/output/hashnet_{bit}/{mode}"
    steps = (folder / "steps.tsv").read_text(encoding="utf-8").splitlines()
    log = (folder / "results_python.log").read_text(encoding="utf-8").splitlines()
    return log, [step.split("\t") for step in steps]


@pytest.mark.parametrize("bit", BITS)
def test_a_configuration_has_the_32_lines_of_the_format(bit):
    lines = (ROOT / config_of(bit)).read_text(encoding="utf-8").splitlines()
    assert [line.partition(":")[0] for line in lines] == KEYS and len(lines) == 32
    seed = {16: 0, 32: 2000, 48: 200, 64: 2000}[bit]  # the published ones
    assert lines[1] == f"model_name:hashnet_{bit}"
    assert lines[13] == f"norm_train:main_single_gpu.py --bit {bit} --seed {seed}"
    for number in (17, 22, 25, 27):
        assert f"--bit {bit}" in lines[number - 1]
    for number, modes in ((6, MODES[:3]), (8, MODES[:3]), (11, MODES), (31, MODES)):
        parts = lines[number - 1].partition(":")[2].split("|")
        assert tuple(part.partition("=")[0] for part in parts) == modes


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("key_at 6", "--epoch"),
        ("value_at 3", "python3"),
        ("mode_value_at 6", "2"),
        ("mode_value_at 3", "python3"),
        ('flag --epoch "$(mode_value_at 6)"', "--epoch 2"),
        ("flag --pretrained null", ""),
        ("flag --pretrained ''", ""),
        ("flag null 3", ""),
        ("alternatives 'f.py --a 1|2 --b x --c True|False'", None),
        ("data_set train; data_set infer", "coco_lite\ncoco_lite"),
        ("MODE=lite_train_whole_infer; data_set train; data_set infer", "coco_lite\ncoco"),
        ("MODE=whole_infer; data_set infer", "coco"),
    ],
)
def test_the_parser_of_configurations(call, said):
    script = f"set -eu; . test_tipc/common_func.sh; read_config {config_of(32)} {LITE}; {call}"
    done = start("bash", "-c", script)
    if said is None:
        said = "\n".join(f"f.py --a {a} --b x --c {c}" for a in (1, 2) for c in (True, False))
    assert done.returncode == 0 and done.stdout.rstrip("\n") == said, done.stderr


def test_lines_that_end_as_on_windows_are_read_alike(tmp_path):
    text = (ROOT / config_of(32)).read_text(encoding="utf-8")
    path = tmp_path / "config.txt"
    path.write_bytes(text.replace("\n", "\r\n").encode())
    script = (
        f". test_tipc/common_func.sh; read_config '{path}' {LITE}; mode_value_at 8; value_at 32"
    )
    assert start("bash", "-c", script).stdout == "16\nTrue\n"


@pytest.mark.parametrize("script", ["prepare.sh", "test_train_inference_python.sh"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: "),
        ([config_of(16), "lite"], "mode 'lite': expected one of lite_train_lite_infer"),
        (["nowhere.txt", WHOLE_INFER], "nowhere.txt: missing"),
        (["LICENSE", WHOLE_INFER], "LICENSE: expected 32 lines"),
    ],
)
def test_a_mistake_is_one_line(script, arguments, message):
    done = start("bash", f"test_tipc/{script}", *arguments)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def changed(root: Path, **lines: str) -> Path:
    """A 16-bit configuration with other lines, such as `l4='gpu_list:0'`."""
    text = (ROOT / config_of(16)).read_text(encoding="utf-8").splitlines()
    for number, line in lines.items():
        text[int(number[1:]) - 1] = line
    path = root / "config.txt"
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"l6": "--epoch:whole_train_whole_infer=150"}, "line 6: no value for lite_train_lite_"),
        ({"l4": "gpu_list:cpu"}, "line 4: 'cpu': expected -1 (CPU), a GPU, or GPUs such as 0,1"),
    ],
)
def test_a_mistake_in_a_line_is_named_before_anything_runs(house, lines, message):
    done = chain(changed(house.root, **lines), LITE, **house())
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (house.root / "calls.txt").exists()


def test_what_is_missing_is_told_by_the_preparation(tmp_path):
    if (ROOT / "datasets/COCO2014").is_dir():
        pytest.skip("COCO is here")
    done = start("bash", "test_tipc/prepare.sh", config_of(64), "whole_train_whole_infer")
    assert done.returncode == 2 and "./datasets/COCO2014: the pictures of coco" in done.stderr


def test_on_a_cpu_the_chain_runs_and_what_needs_a_gpu_is_skipped(house):
    done = chain(config_of(16), LITE, **house())
    assert done.returncode == 0, done.stderr
    log, steps = results(house.root)
    inferences = 4 * [["cpu: inference, cpu", "ok"], ["cpu: same answers, cpu", "ok"]]
    assert steps == [
        *(["cpu: train", "ok"], ["cpu: eval", "ok"], ["cpu: export", "ok"]),
        *(["cpu: predict, cpu", "ok"], *inferences, ["cpu: inference, gpu", "skipped"]),
        *(["gpu 0: train", "skipped"], ["gpu 0,1: train", "skipped"]),
    ]
    said = {"ok": "Run successfully with command - hashnet_16 - ", "skipped": "Skipped (no GPU): "}
    for line, (_, status) in zip(log, steps):
        assert line.startswith(said[status]) and line.endswith("!") == (status == "ok")
    assert done.stdout.splitlines() == log, "the console says the same"
    logs = [re.search(r" - (\S+\.log)!$", line).group(1) for line in log if line.endswith("!")]
    assert len(set(logs)) == len(logs), "each step has a log of its own"
    assert all((house.root / path).is_file() for path in logs)
    calls = (house.root / "calls.txt").read_text(encoding="utf-8").splitlines()
    assert calls[0] == (
        "all main_single_gpu.py --bit 16 --seed 0 --dataset coco_lite --data-path "
        "./datasets/coco_lite --epoch 2 --batch-size 16 --backbone-weights none --device cpu "
        "--output-dir ./test_tipc/output/hashnet_16/lite_train_lite_infer/norm_train_gpus_-1"
    )


def test_on_two_gpus_nothing_is_skipped_and_several_go_through_the_launcher(house):
    done = chain(config_of(16), LITE, **house(gpus=2))
    assert done.returncode == 0, done.stderr
    _, steps = results(house.root)
    assert {status for _, status in steps} == {"ok"}
    for label in ("cpu", "gpu 0", "gpu 0,1"):
        for step in ("train", "eval", "export", "inference, cpu", "inference, gpu"):
            assert [f"{label}: {step}", "ok"] in steps
        assert [f"{label}: same answers, gpu", "ok"] in steps
    calls = (house.root / "calls.txt").read_text(encoding="utf-8").splitlines()
    assert any(call.startswith("0 main_single_gpu.py --bit 16 --seed 0 ") for call in calls)
    (launched,) = [call for call in calls if "launch" in call]
    assert "-m paddle.distributed.launch --gpus=0,1 --log_dir " in launched
    assert " main_multi_gpu.py --bit 16 --seed 0 " in launched and "--device gpu" in launched
    assert sum("infer.py" in call and "--use-gpu True" in call for call in calls) == 3


def test_a_gpu_that_the_machine_has_not_is_skipped_where_others_answer(house):
    done = chain(changed(house.root, l4="gpu_list:0|1|0,1", l5="use-gpu:True"), LITE, **house(1))
    assert done.returncode == 0, done.stderr
    log, steps = results(house.root)
    skipped = [step for step, status in steps if status == "skipped"]
    assert skipped == ["gpu 1: train", "gpu 0,1: train"]
    assert ["gpu 0: train", "ok"] in steps and log[-1].endswith("(Paddle can use 1)")


@pytest.mark.parametrize(
    ("broken", "failed"),
    [
        ("--epoch", {"cpu: train", "cpu: eval", "cpu: export", "cpu: inference"}),
        ("--eval", {"cpu: eval"}),
        ("export_model.py", {"cpu: export", "cpu: inference"}),
        ("predict.py", {"cpu: predict, cpu", "cpu: same answers, cpu"}),
        ("--enable-mkldnn False", {"cpu: inference, cpu"}),
    ],
)
def test_a_broken_step_fails_the_chain_and_what_needs_it(house, broken, failed):
    done = chain(config_of(16), LITE, **house(broken=broken))
    assert done.returncode == 1
    log, steps = results(house.root)
    assert {step for step, status in steps if status == "failed"} == failed
    lines = [line for line, (_, status) in zip(log, steps) if status == "failed"]
    assert all(line.startswith("Run failed with command - hashnet_16 - ") for line in lines)
    assert "| this step is broken" in done.stdout and "steps failed; see " in done.stdout


def test_other_answers_than_predict_s_fail_the_chain(house):
    done = chain(config_of(16), LITE, **house(other="--enable-mkldnn False"))
    _, steps = results(house.root)
    same = [status for step, status in steps if step == "cpu: same answers, cpu"]
    assert done.returncode == 1 and same == ["ok", "ok", "failed", "failed"]
    assert "different answers for q" in done.stdout


def test_a_wrong_weights_path_fails_the_real_export(tmp_path):
    config = changed(
        tmp_path,
        l7=f"--output-dir:{tmp_path}",
        l20=f"--save-inference-dir:{tmp_path}/inference",
        l24=f"train_model:{tmp_path}/no_weights",
    )
    prepared = start("bash", "test_tipc/prepare.sh", config, WHOLE_INFER)
    assert prepared.returncode == 2
    done = chain(config, WHOLE_INFER)
    assert done.returncode == 1
    log = (tmp_path / WHOLE_INFER / "results_python.log").read_text(encoding="utf-8").splitlines()
    python = re.escape(sys.executable)
    assert re.match(
        rf"Run failed with command - hashnet_16 - {python} export_model.py --bit 16 ", log[0]
    )
    assert log[1].endswith(" - trained: inference was not run: the export failed!")
    assert "no_weights.pdparams: missing" in done.stdout, "the cause is shown"


def test_the_table_shows_each_step_of_each_length(house):
    done = start("sh", "scripts/tipc.sh", **house(), BITS="16 64")
    assert done.returncode == 0, done.stderr
    table = done.stdout.split("== lite_train_lite_infer, ")[1].splitlines()
    assert table[0].endswith("ok, failed, or skipped for want of a GPU")
    assert table[1].split() == ["step", "16", "bits", "64", "bits"]
    rows = {line[:-18].strip(): line[-18:].split() for line in table[2:]}
    assert rows["cpu: train"] == rows["cpu: same answers, cpu"] == ["ok", "ok"]
    assert rows["gpu 0,1: train"] == rows["cpu: inference, gpu"] == ["skipped", "skipped"]


def test_a_failure_of_one_length_stands_in_the_table_and_in_the_status(house):
    done = start("sh", "scripts/tipc.sh", **house(broken="export_model.py --bit 16"), BITS="16 64")
    assert done.returncode == 1
    rows = {line[:-18].strip(): line[-18:].split() for line in done.stdout.splitlines()[-11:]}
    assert rows["cpu: export"] == ["failed", "ok"]
    assert rows["cpu: inference"] == ["failed", "-"] and rows["cpu: train"] == ["ok", "ok"]


def test_a_chain_that_cannot_begin_is_a_failure(house):
    (house.root / "datasets").unlink()
    done = start("sh", "scripts/tipc.sh", **house(), BITS="16")
    assert done.returncode == 1 and "pictures of coco_lite are missing" in done.stderr
    assert done.stdout.splitlines()[-1].split() == ["prepare", "failed"]


@pytest.mark.parametrize(
    ("distance", "status", "said"), [(3, 0, "same answers for 1"), (4, 1, "different answers")]
)
def test_answers_are_compared_by_what_they_found(tmp_path, distance, status, said):
    for name, far, sheet in (("one", 3, "a.jpg"), ("other", distance, "b.jpg")):
        match = {"rank": 1, "distance": far, "row": 7, "picture": "7.jpg", "relevant": None}
        found = [{"query": "q.jpg", "sheet": sheet, "matches": [match]}]
        (tmp_path / name).write_text(json.dumps({"bit": 16, "results": found}))
    compared = (tmp_path / "one", tmp_path / "other")
    done = start(sys.executable, "test_tipc/compare_answers.py", *compared)
    assert done.returncode == status and said in done.stdout
