"""The TIPC scripts: configurations, recorded steps, failures, what needs a GPU, the table.

Most run with a stand-in for Python, which notes the commands and answers at once.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import REPOSITORY, run_shell

from utils.config import (
    EXPORT_COMMAND,
    INFER_COMMAND,
    TRAIN_COMMAND,
    TRAIN_MULTI_COMMAND,
    parse_config,
)

LITE, WHOLE_INFER = "lite_train_lite_infer", "whole_infer"
MODES = (LITE, "lite_train_whole_infer", "whole_train_whole_infer", WHOLE_INFER)
# The lines' keys in the community's order; its scripts find lines by their numbers.
KEYS = """
===========================train_params=========================== model_name python gpu_list
use-gpu --epoch --output-dir --batch-size --pretrained train_model_name --data-path ## trainer
norm_train ## ===========================eval_params=========================== eval ##
===========================infer_params=========================== --save-inference-dir
--pretrained norm_export ## train_model infer_export ## inference --use-gpu --batch-size
--model-dir --img-path --benchmark
"""
STAND_IN = """\
#!/usr/bin/env bash
case "$*" in
    -c*usable_gpus*) echo "${GPUS:-0}"; exit ;;
    -c*paddle2onnx*) [ "${LACKS:-nothing}" != paddle2onnx ]; exit ;;
    -c* | *compare_answers.py*) exec "$REAL_PYTHON" "$@" ;;
esac
echo "${CUDA_VISIBLE_DEVICES:-all} $*" >>"$CALLS"
case "$*" in *"${BROKEN:-nothing}"*) echo "this step is broken" >&2; exit 2 ;; esac
far=3
case "$*" in *"${OTHER:-nothing}"*) far=4 ;; esac
match='{"distance": '$far', "row": 1, "picture": "p"}'
case "$*" in *--eval*) echo "EVAL-HashNet, bit:16, dataset:coco_lite, MAP:0.512" ;; esac
echo '{"results": [{"query": "q", "sheet": "'$$'.jpg", "matches": ['$match']}]}'
"""


def config_of(bit: int) -> Path:
    """A shipped configuration, from the root."""
    return Path(f"test_tipc/configs/hashnet_{bit}/train_infer_python.txt")


def chain(config, mode=LITE, **rest):
    """Runs the chain of a configuration."""
    return run_shell("bash", "test_tipc/test_train_inference_python.sh", config, mode, **rest)


@pytest.fixture
def house(tmp_path):
    """What to start the scripts with: a copy of them (`cwd`), and the stand-in for Python.

    Tests add GPUS, LACKS, and a word of commands that break (BROKEN), or answer otherwise (OTHER).
    """
    root = tmp_path / "house"
    shutil.copytree(REPOSITORY / "test_tipc", root / "test_tipc", ignore=lambda *_: ["output"])
    (root / "scripts").mkdir()
    for name in ("tipc.sh", "environment.sh"):
        shutil.copy(REPOSITORY / "scripts" / name, root / "scripts")
    for name in ("data", "datasets"):
        (root / name).symlink_to(REPOSITORY / name)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "python").write_text(STAND_IN, encoding="utf-8")
    (programs / "nvidia-smi").write_text('#!/bin/sh\n[ "${GPUS:-0}" -gt 0 ]\n', encoding="utf-8")
    for path in programs.iterdir():
        path.chmod(0o755)

    return {
        "cwd": root,
        "PYTHON": str(programs / "python"),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "REAL_PYTHON": sys.executable,
        "CALLS": str(root / "calls.txt"),
        "CUDA_VISIBLE_DEVICES": "",
    }


def results(root: Path) -> tuple[list[str], list[list[str]]]:
    """The lines of results_python.log, and the recorded steps with their status."""
    folder = root / f"test_tipc/output/hashnet_16/{LITE}"
    steps = (folder / "steps.tsv").read_text(encoding="utf-8").splitlines()
    log = (folder / "results_python.log").read_text(encoding="utf-8").splitlines()
    return log, [step.split("\t") for step in steps]


def changed(root: Path, **lines: str) -> Path:
    """A 16-bit configuration with other lines, such as `l4='gpu_list:0'`, ended as on Windows."""
    text = (REPOSITORY / config_of(16)).read_text(encoding="utf-8").splitlines()
    for number, line in lines.items():
        text[int(number[1:]) - 1] = line
    path = root / "config.txt"
    path.write_bytes("".join(f"{line}\r\n" for line in text).encode())
    return path


@pytest.mark.parametrize(("bit", "seed"), [(16, 0), (32, 2000), (48, 200), (64, 2000)])
def test_a_configuration_has_the_32_lines_of_the_format_and_the_published_seed(bit, seed):
    lines = (REPOSITORY / config_of(bit)).read_text(encoding="utf-8").splitlines()
    assert [line.partition(":")[0] for line in lines] == KEYS.split() and len(lines) == 32
    assert lines[1] == f"model_name:hashnet_{bit}"
    assert lines[13] == f"norm_train:main_single_gpu.py --bit {bit} --seed {seed}"
    for number in (17, 22, 25, 27):
        assert f"--bit {bit}" in lines[number - 1]
    for number, modes in ((6, MODES[:3]), (8, MODES[:3]), (11, MODES), (31, MODES)):
        parts = lines[number - 1].partition(":")[2].split("|")
        assert tuple(part.partition("=")[0] for part in parts) == modes


OFFICIAL_KEYS = """
===========================train_params=========================== model_name python gpu_list
--device null --epoch --output-dir --batch-size --pretrained train_model_name train_infer_img_dir
null ## trainer norm_train pact_train fpgm_train distill_train null null ##
===========================eval_params=========================== eval null ##
===========================infer_params=========================== --save-inference-dir
--pretrained norm_export quant_export fpgm_export distill_export export1 export2 inference_dir
train_model infer_export infer_quant inference --use-gpu --enable-mkldnn --cpu-threads --batch-size
--use-tensorrt --precision --model-dir --img-path null --benchmark null
"""


def official_flags(*lines: tuple[int, str]) -> list[str]:
    """`key=value` of lines as Paddle's `func_set_params` has it: nothing where one is null."""
    keys = [(OFFICIAL_KEYS.split()[line - 1], value) for line, value in lines]
    return [f"{k}={v}" for k, v in keys if "null" not in (k, v) and v.strip()]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bit", [16, 64])
def test_paddle_s_own_scripts_find_51_lines_by_number_and_their_commands_are_ours(bit, mode):
    written = run_shell("bash", "test_tipc/official_config.sh", config_of(bit), mode)
    lines = written.stdout.splitlines()
    # func_parser_key and func_parser_value split at every colon and take the first two parts.
    parts = [line.split(":") for line in lines]
    assert [part[0] for part in parts] == OFFICIAL_KEYS.split() and len(lines) == 51
    assert max(map(len, parts)) == 2, "the rest of a value with a colon would be lost"
    value = {number: part[1] for number, part in enumerate(parts, 1) if len(part) == 2}
    assert value[2] == f"hashnet_{bit}" and value[15] == "norm_train"
    assert value[12] == value[48] or mode == WHOLE_INFER
    trained = "output/norm_train_gpus_-1_autocast_null"

    def parsed(command, line, *flags):
        script, *words = value[line].split()
        assert (REPOSITORY / script).is_file()
        return parse_config(command, [*words, *official_flags(*flags)])

    infer_on, export = "coco_lite" if mode == LITE else "coco", 38
    if mode != WHOLE_INFER:
        by_mode = {line: dict([value[line].split("=")])[mode] for line in (7, 9)}
        flags = [(5, "cpu"), (7, by_mode[7]), (8, trained), (9, by_mode[9]), (10, value[10])]
        config = parsed(TRAIN_MULTI_COMMAND, 16, *flags)
        lite = mode.startswith("lite")
        assert (config.epoch, config.batch_size) == ((2, 16) if lite else (150, 64))
        assert config.info.name == ("coco_lite" if lite else "coco") and config.bit == bit
        assert (config.backbone_weights == "none") == lite and config.device == "cpu"
        weights = f"{trained}/{value[11]}"
        config = parsed(TRAIN_COMMAND, 24, (10, weights), (5, "gpu"))
        assert config.eval and config.info.name == infer_on and config.pretrained == weights
        export = 30
    config = parsed(EXPORT_COMMAND, export, (28, trained), (29, value[37]))
    assert config.info.name == infer_on and config.save_inference_dir == trained
    flags = [(line, value[line].split("|")[-1]) for line in (41, 42, 43, 44, 45, 46, 48, 50)]
    config = parsed(INFER_COMMAND, 40, *flags, (47, trained))
    assert (config.batch_size, config.benchmark, config.use_gpu) == (4, True, True)
    assert (config.enable_mkldnn, config.cpu_threads, config.bit) == (bit != 16, 2, bit)


ONNX = "test_paddle2onnx.sh"
ONNX_KEYS = """
===========================paddle2onnx_params=========================== model_name python 2onnx
--pretrained --save-inference-dir ## inference --batch-size --dataset --img-path --benchmark
"""


def onnx_config(bit: int) -> Path:
    return config_of(bit).with_name("paddle2onnx_infer_python.txt")


def run_onnx(house, **rest) -> tuple[subprocess.CompletedProcess, list[list[str]]]:
    """Runs the ONNX chain of 16 bits; what it has said, and its steps."""
    script = ("bash", f"test_tipc/{ONNX}", onnx_config(16), "paddle2onnx_infer")
    done = run_shell(*script, **house, **rest)
    steps = house["cwd"] / "test_tipc/output/hashnet_16/paddle2onnx_infer/steps.tsv"
    lines = steps.read_text(encoding="utf-8").splitlines()
    return done, [line.split("\t") for line in lines]


@pytest.mark.parametrize("bit", [16, 32, 48, 64])
def test_onnx_begins_with_the_weights_that_the_training_leaves(bit):
    lines = (REPOSITORY / onnx_config(bit)).read_text(encoding="utf-8").splitlines()
    assert [line.partition(":")[0] for line in lines] == ONNX_KEYS.split()
    assert lines[1] == f"model_name:hashnet_{bit}"
    left = f"hashnet_{bit}/{LITE}/norm_train_gpus_-1/weights_{bit}.pdparams"
    assert lines[4] == f"--pretrained:./test_tipc/output/{left}"
    assert f"--bit {bit} --format onnx" in lines[3] and f"infer.py --bit {bit}" in lines[7]


def test_onnx_is_exported_inferred_compared_and_without_its_packages_skipped(house):
    done, steps = run_onnx(house)
    assert done.returncode == 0, done.stderr
    inferences = 2 * [["onnx: inference", "ok"], ["onnx: same answers", "ok"]]
    assert steps == [["onnx: export", "ok"], ["onnx: predict", "ok"], *inferences]
    done, steps = run_onnx(house, OTHER="--batch-size 4")
    assert done.returncode == 1 and steps[-1] == ["onnx: same answers", "failed"]
    done, steps = run_onnx(house, BROKEN="export_model.py")
    assert done.returncode == 1 and steps[1] == ["onnx: inference", "failed"]
    done, steps = run_onnx(house, LACKS="paddle2onnx")
    assert done.returncode == 0 and steps == [["onnx: export", "skipped"]]
    assert done.stdout == "onnx: export: skipped (no package of requirements-onnx.txt)\n"


CHAIN, PREPARE = "test_train_inference_python.sh", "prepare.sh"


@pytest.mark.parametrize(
    ("script", "config", "mode", "message"),
    [
        (PREPARE, config_of(16), "lite", "mode 'lite': expected one of lite_train_lite_infer"),
        (PREPARE, "scripts/tipc.sh", WHOLE_INFER, "expected 32 lines"),
        (PREPARE, {"l11": "--data-path:nowhere"}, WHOLE_INFER, "nowhere: the images of coco"),
        (CHAIN, "nowhere.txt", WHOLE_INFER, "nowhere.txt: missing"),
        (ONNX, config_of(16), "paddle2onnx_infer", "expected 12 lines, found 32"),
        (CHAIN, {"l6": "--epoch:whole_infer=150"}, LITE, "line 6: no value for lite_train_lite_"),
        (CHAIN, {"l4": "gpu_list:cpu"}, LITE, "line 4: 'cpu': expected -1 (CPU), a GPU, or GPUs"),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(house, script, config, mode, message):
    config = changed(house["cwd"], **config) if isinstance(config, dict) else config
    done = run_shell("bash", f"test_tipc/{script}", config, mode, **house)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not Path(house["CALLS"]).exists()


def test_on_a_cpu_the_chain_runs_and_what_needs_a_gpu_is_skipped(house):
    done = chain(config_of(16), **house)
    assert done.returncode == 0, done.stderr
    log, steps = results(house["cwd"])
    inferences = 4 * [["cpu: inference, cpu", "ok"], ["cpu: same answers, cpu", "ok"]]
    assert steps == [
        *(["cpu: train", "ok"], ["cpu: eval", "ok"], ["cpu: MAP", "0.512"]),
        *(["cpu: export", "ok"], ["cpu: predict, cpu", "ok"], *inferences),
        ["cpu: inference, gpu", "skipped"],
        *(["gpu 0: train", "skipped"], ["gpu 0,1: train", "skipped"]),
    ]
    said = {"ok": "Run successfully with command - hashnet_16 - ", "skipped": "Skipped (no GPU): "}
    runs = [status for _, status in steps if status in said]
    assert [line.partition(said[status])[0] for line, status in zip(log, runs)] == [""] * len(log)
    console = done.stdout.splitlines()
    assert re.fullmatch(r"cpu: train \(about 30 s\) \.\.\. ok, \d+ s", console[1])
    assert console[-1] == "gpu 0,1: train: skipped (no GPU)" and len(console) == 1 + len(log)
    assert max(map(len, console)) <= 80
    logs = [re.search(r" - (\S+\.log)!$", line).group(1) for line in log if line.endswith("!")]
    assert len(set(logs)) == len(logs), "each step has a log of its own"
    assert all((house["cwd"] / path).is_file() for path in logs)
    calls = Path(house["CALLS"]).read_text(encoding="utf-8").splitlines()
    assert calls[0] == (
        "all main_single_gpu.py --bit 16 --seed 0 --dataset coco_lite --data-path "
        "./datasets/coco_lite --epoch 2 --batch-size 16 --backbone-weights none --device cpu "
        "--output-dir ./test_tipc/output/hashnet_16/lite_train_lite_infer/norm_train_gpus_-1"
    )


def test_on_two_gpus_several_go_through_the_launcher_and_only_a_third_is_skipped(house):
    config = changed(house["cwd"], l4="gpu_list:-1|0|0,1|2", l5="use-gpu:True")
    done = chain(config, **house, GPUS="2")
    assert done.returncode == 0, done.stderr
    log, steps = results(house["cwd"])
    assert [step for step, status in steps if status == "skipped"] == ["gpu 2: train"]
    assert log[-1].endswith("(Paddle can use 2)")
    for label in ("cpu", "gpu 0", "gpu 0,1"):
        for step in ("train", "eval", "export", "inference, cpu", "inference, gpu"):
            assert [f"{label}: {step}", "ok"] in steps
        assert [f"{label}: same answers, gpu", "ok"] in steps
    calls = Path(house["CALLS"]).read_text(encoding="utf-8").splitlines()
    assert any(call.startswith("0 main_single_gpu.py --bit 16 --seed 0 ") for call in calls)
    (launched,) = [call for call in calls if "launch" in call]
    assert "-m paddle.distributed.launch --gpus=0,1 --log_dir " in launched
    assert " main_multi_gpu.py --bit 16 --seed 0 " in launched and "--device gpu" in launched
    assert sum("infer.py" in call and "--use-gpu True" in call for call in calls) == 3


@pytest.mark.parametrize(
    ("broken", "failed", "shown"),
    [
        ("--epoch", {"train", "eval", "export", "inference"}, "| this step is broken"),
        ("--eval", {"eval"}, "| this step is broken"),
        ("predict.py", {"predict, cpu", "same answers, cpu"}, "| this step is broken"),
        ("--enable-mkldnn False", {"inference, cpu"}, "| this step is broken"),
        (None, {"same answers, cpu"}, "different answers for q"),
    ],
)
def test_a_broken_step_fails_the_chain_and_what_needs_it(house, broken, failed, shown):
    wrong = {"BROKEN": broken} if broken else {"OTHER": "--enable-mkldnn False"}
    done = chain(config_of(16), **house, **wrong)
    assert done.returncode == 1 and shown in done.stdout and "steps failed; see\n" in done.stdout
    log, steps = results(house["cwd"])
    assert {step for step, status in steps if status == "failed"} == {f"cpu: {f}" for f in failed}
    statuses = [status for step, status in steps if not step.endswith("MAP")]
    for line, status in zip(log, statuses):
        if status == "failed":
            assert line.startswith("Run failed with command - hashnet_16 - ")


def test_wrong_weights_fail_the_real_export(tmp_path):
    config = changed(
        tmp_path,
        l7=f"--output-dir:{tmp_path}",
        l20=f"--save-inference-dir:{tmp_path}/inference",
        l24=f"train_model:{tmp_path}/no_weights",
    )
    done = chain(config, WHOLE_INFER)
    assert done.returncode == 1
    log = (tmp_path / WHOLE_INFER / "results_python.log").read_text(encoding="utf-8").splitlines()
    command = rf"{re.escape(sys.executable)} export_model.py --bit 16 "
    assert re.match(rf"Run failed with command - hashnet_16 - {command}", log[0])
    assert log[1].endswith(" - trained: inference was not run: the export failed!")
    assert "no_weights.pdparams: missing" in done.stdout, "the cause is shown"
    assert not (tmp_path / "inference").exists()


def test_the_table_shows_each_step_of_each_length_and_a_failure_is_the_status(house):
    settings = {"BROKEN": "export_model.py --bit 16", "BITS": "16 64"}
    done = run_shell("sh", "scripts/tipc.sh", **house, **settings)
    assert done.returncode == 1
    table = done.stdout.split("== lite_train_lite_infer, ")[1].splitlines()
    assert table[0].endswith(" s (skipped: no GPU or no package)")
    assert table[1].split() == ["step", "16", "bits", "64", "bits"]
    rows = {line[:-18].strip(): line[-18:].split() for line in table[2:]}
    assert rows["cpu: train"] == ["ok", "ok"] and rows["cpu: export"] == ["failed", "ok"]
    assert rows["cpu: inference"] == ["failed", "-"]
    assert rows["cpu: MAP"] == ["0.512", "0.512"]
    said = [line for line in done.stdout.splitlines() if not line.startswith("== Using ")]
    assert max(map(len, said)) <= 80 and said[0] == "== Looking for Python and its packages"
    assert rows["gpu 0,1: train"] == ["skipped", "skipped"]
    assert rows["onnx: same answers"] == ["-", "ok"]


def test_a_chain_that_cannot_begin_is_a_failure(house):
    (house["cwd"] / "datasets").unlink()
    done = run_shell("sh", "scripts/tipc.sh", **house, BITS="16")
    assert done.returncode == 1 and "images of coco_lite are missing" in done.stderr
    assert done.stdout.splitlines()[-1].split() == ["prepare", "failed"]
