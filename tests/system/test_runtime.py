"""Paddle's start: what is set before its libraries read it, and what is recorded of it."""

from __future__ import annotations

from types import SimpleNamespace

import paddle
import pytest
from helpers import run_script

from utils.inference import predictor, program
from utils.inference.backends import build_backend
from utils.system import launcher, runtime
from utils.system.errors import UserError
from utils.system.runtime import cores_for_each, describe_device, precision_on, setup_paddle

SHOW = (
    "import os\nfrom utils.system.runtime import setup_paddle\n"
    "setup_paddle(tf32={tf32})\nprint(os.environ.get('NVIDIA_TF32_OVERRIDE'))"
)


@pytest.mark.parametrize(("tf32", "before", "after"), [(False, "1", "0"), (True, "0", "None")])
def test_float32_is_float32_unless_asked_otherwise(tf32, before, after):
    environment = {"NVIDIA_TF32_OVERRIDE": before, "PYTHONPATH": "."}
    done = run_script("-c", SHOW.format(tf32=tf32), environment=environment)
    assert done.stdout.strip() == after, done.stderr


def test_a_rank_that_paddle_starts_has_zlib_before_paddle():
    """It imports the main before anything else; Paddle 2.6.2 crashed where an image was opened."""
    code = "import sys, main_multi_gpu; print('zlib' in sys.modules, 'paddle' in sys.modules)"
    done = run_script("-c", code, environment={"PYTHONPATH": "."})
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_codes_rounded_to_tf32_are_recorded_as_such(monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert [precision_on(gpu, "fp32") for gpu in (True, False)] == ["fp32", "fp32"]
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    assert [precision_on(gpu, "fp32") for gpu in (True, False)] == ["tf32", "fp32"]
    assert [precision_on(True, precision) for precision in ("fp16", "bf16")] == ["fp16", "bf16"]
    setup_paddle()  # as it was


@pytest.mark.parametrize(
    ("given", "wheel", "device", "hidden"),
    [
        ({}, "paddlepaddle", "auto", "2"),
        ({}, "paddlepaddle-gpu", "auto", "None"),
        ({}, "paddlepaddle-gpu", "cpu", "2"),
        ({"GLOG_minloglevel": "0"}, "paddlepaddle", "cpu", "0"),
    ],
)
def test_paddle_s_warnings_are_hidden_on_a_cpu_alone(given, wheel, device, hidden, monkeypatch):
    monkeypatch.delenv("GLOG_minloglevel", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    installed = lambda name: [wheel] if name == wheel else []  # noqa: E731
    monkeypatch.setattr(runtime.metadata, "distributions", installed)
    setup_paddle(device=device)
    assert str(runtime.os.environ.get("GLOG_minloglevel")) == hidden


def test_cores_are_shared_among_the_processes_of_this_machine(monkeypatch):
    monkeypatch.setattr(runtime, "usable_cores", lambda: 16)
    monkeypatch.delenv("PADDLE_LOCAL_SIZE", raising=False)
    monkeypatch.delenv("PADDLE_TRAINERS_NUM", raising=False)
    assert (cores_for_each(), cores_for_each(4)) == (16, 4)
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "8")  # as Paddle's spawn, on one machine
    assert cores_for_each() == 2
    monkeypatch.setenv("PADDLE_LOCAL_SIZE", "4")  # as the launcher, on each of two machines
    assert cores_for_each() == 4


@pytest.mark.parametrize(("given", "expected"), [({}, "4"), ({"OMP_NUM_THREADS": "3"}, "3")])
def test_ranks_share_the_cores_unless_threads_are_given(given, expected, monkeypatch):
    monkeypatch.setattr(runtime, "usable_cores", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    setup_paddle()
    runtime.share_cores(4)
    assert runtime.os.environ["OMP_NUM_THREADS"] == expected
    setup_paddle(cpu_threads=5)
    runtime.share_cores(4)
    assert runtime.os.environ["OMP_NUM_THREADS"] == "5"


def test_the_log_names_a_gpu_its_capability_and_its_libraries(monkeypatch):
    assert describe_device() == "cpu"
    monkeypatch.setattr(paddle.device, "get_device", lambda: "gpu:1")
    monkeypatch.setattr(paddle.device.cuda, "get_device_name", {"gpu:1": "NVIDIA A100"}.get)
    monkeypatch.setattr(paddle.device.cuda, "get_device_capability", {"gpu:1": (8, 0)}.get)
    monkeypatch.setattr(paddle.version, "cuda", lambda: "12.6")
    monkeypatch.setattr(paddle.version, "cudnn", lambda: "9.5.1")
    expected = "gpu:1 (NVIDIA A100, compute capability 8.0, CUDA 12.6, cuDNN 9.5.1)"
    assert describe_device() == expected


class Config:
    """Stands in for Paddle Inference's settings; notes the GPU."""

    gpu = None

    def __init__(self, *files): ...

    def enable_use_gpu(self, _mebibytes, number, _precision):
        self.gpu = number

    def disable_glog_info(self): ...


def test_each_rank_s_inference_runs_on_its_own_gpu(monkeypatch, hashnet, tmp_path):
    monkeypatch.setattr(program, "usable_gpus", lambda: 4)
    monkeypatch.setattr(paddle.device, "get_device", lambda: "gpu:3")
    options = build_backend(hashnet, 224, "inference", "fp32")._options
    assert (options.use_gpu, options.gpu) == (True, 3)
    monkeypatch.setattr(predictor.inference, "Config", Config)
    file = tmp_path / "inference.json"
    assert predictor._config(file, options).gpu == 3


@pytest.mark.parametrize(
    ("device", "gpus", "backend"), [("cpu", 2, "gloo"), ("auto", 0, "gloo"), ("auto", 2, None)]
)
def test_under_a_launcher_the_cpu_takes_gloo_whatever_paddle_is_installed(
    device, gpus, backend, monkeypatch
):
    monkeypatch.delenv("PADDLE_DISTRI_BACKEND", raising=False)
    monkeypatch.setattr(launcher, "has_launcher", lambda: True)
    monkeypatch.setattr(launcher, "usable_gpus", lambda: gpus)
    monkeypatch.setattr(launcher, "dist", SimpleNamespace(get_world_size=lambda: 2))
    joined = []
    join = lambda: joined.append(runtime.os.environ.get("PADDLE_DISTRI_BACKEND"))  # noqa: E731
    monkeypatch.setattr(launcher, "_join_world", join)
    assert launcher.run_on_all_ranks(len, "four", 0, device) == 4
    assert joined == [backend]
    runtime.os.environ.pop("PADDLE_DISTRI_BACKEND", None)


def test_what_a_launcher_has_left_counts_for_several_processes_alone(monkeypatch):
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    monkeypatch.setenv("PADDLE_TRAINER_ID", "x")
    with pytest.raises(UserError, match="PADDLE_TRAINER_ID='x': left over from a launcher"):
        setup_paddle(alone=False)
    setup_paddle()
    assert "PADDLE_TRAINERS_NUM" not in runtime.os.environ
    assert not runtime.has_launcher()


def test_tensorrt_takes_the_older_format_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(program, "usable_gpus", lambda: 1)
    options = program.PredictorOptions(use_gpu=True, use_tensorrt=True)
    with pytest.raises(UserError, match=r"inference\.json: TensorRT takes \.pdmodel alone"):
        predictor.Predictor(tmp_path / "inference.json", options)


def test_what_would_mislead_paddle_s_spawn_is_taken_out(monkeypatch):
    monkeypatch.setenv("PADDLE_DISTRI_BACKEND", "gloo")
    monkeypatch.setenv("MASTER_ADDR", "elsewhere")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 3")
    monkeypatch.setattr(launcher, "usable_gpus", lambda: 2)
    seen = []

    def spawn(*arguments):
        names = ("PADDLE_DISTRI_BACKEND", "MASTER_ADDR", "CUDA_VISIBLE_DEVICES")
        seen.extend([*arguments[2:], *map(runtime.os.environ.get, names)])
        return 0

    monkeypatch.setattr(launcher, "_spawn", spawn)
    assert launcher.run_on_all_ranks(len, "", 0, "auto") == 0
    assert seen == [2, "nccl", None, None, "2,3"]
