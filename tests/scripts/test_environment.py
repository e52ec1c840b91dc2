"""The install: which packages for which GPU, its proof, and what is said where either fails.

Stand-ins answer for nvidia-smi, Python and pip; no network is used, and no GPU.
"""

from __future__ import annotations

import os
import re
import shutil

import paddle
import pytest
from helpers import REPOSITORY, fail, run_shell, succeed

from scripts import check_gpu
from utils.system.errors import UserError

# The file $0.has names the Paddle that an interpreter has; `calls` holds what was run.
PYTHON = """#!/bin/sh
case "$*" in
    -c*paddlepaddle-gpu*) exec grep -qs gpu "$0.has" ;;
    -c*) exec test -s "$0.has" ;;
    "-m venv"*) mkdir -p "$4/bin" && exec cp "$0" "$4/bin/python" ;;
    "-m pip --version") exit ;;
esac
echo "$*" >>calls
case "$*" in
    *uninstall*) rm "$0.has" ;;
    *gpu==*) [ -z "$PIP_SAYS" ] || { echo "$PIP_SAYS" >&2; exit 1; }
        echo gpu >"$0.has" ;;
    *install*) echo cpu >"$0.has" ;;
    *check_gpu*) [ -z "$PROOF_SAYS" ] || { echo "$PROOF_SAYS" >&2; exit 2; }
        echo "Paddle computes on the GPU: all" ;;
esac
"""
# Without a capability in CARDS it is one that does not know the field.
NVIDIA_SMI = """#!/bin/sh
[ -n "$CARDS" ] || exit 9
case "$*-$CARDS" in
    *compute_cap*,*) ;;
    *compute_cap*) echo 'Field "compute_cap" is not a valid field to query.'; exit 2 ;;
esac
echo "$CARDS"
"""
AMPERE, HOPPER = "550.54.15, 8.0", "535.183.01, 9.0"
INDEX = "https://www.paddlepaddle.org.cn/packages/stable/"
CPU_INSTALL = "-m pip install --quiet --disable-pip-version-check -r requirements-cpu.txt"


@pytest.fixture(params=["sh", "bash"])
def prepare(request, tmp_path):
    """Sources environment.sh and asks for a Python with packages; returns lines said and calls."""
    root, programs = tmp_path / "house", tmp_path / "programs"
    (root / "scripts").mkdir(parents=True)
    programs.mkdir()
    for name in ("scripts/environment.sh", "requirements.txt", "requirements-cpu.txt"):
        shutil.copy(REPOSITORY / name, root / name)
    for name, text in {"python3": PYTHON, "nvidia-smi": NVIDIA_SMI}.items():
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"

    def run(installed="", **settings):
        (root / "calls").write_text("")
        if installed:
            (programs / "python3.has").write_text(installed)
        settings = {"CARDS": "", "PIP_SAYS": "", "PROOF_SAYS": "", **settings}
        script = "set -eu; . scripts/environment.sh; choose_python; run_packages"
        settings |= {"cwd": root, "PATH": path, "PYTHON": "python3"}
        done = run_shell(request.param, "-c", script, **settings)
        assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
        return done.stdout.splitlines(), (root / "calls").read_text().splitlines()

    return run


@pytest.mark.parametrize(
    ("cards", "folder"),
    [
        ("470.82.01", "cu118"),
        ("450.119.03, 8.0", "cu118"),
        ("535.183.01, 8.9", "cu118"),
        ("580.65.06, 6.1", "cu118"),
        ("580.65.06, 7.0", "cu118"),
        ("576.52, 7.5", "cu126"),
        (AMPERE, "cu126"),
        (HOPPER, "cu126"),
        ("580.65.06, 8.6\n580.65.06, 12.0", "cu129"),
        ("570.124.06, 10.0", "cu129"),
    ],
)
def test_driver_and_gpu_choose_the_index(prepare, cards, folder):
    said, calls = prepare(CARDS=cards)
    version = "paddlepaddle-gpu==3.3.1"
    installed, proved = calls
    assert f"--extra-index-url {INDEX}{folder}/ {version} numpy>=" in installed
    assert proved == "scripts/check_gpu.py"
    assert said[-1] == "== Paddle computes on the GPU: all"
    assert all(len(line) <= 80 for line in said)
    assert prepare(CARDS=cards) == ([], []), "a later call says and does nothing"


def test_requirements_name_the_same_version_and_an_index_of_the_script():
    text = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8")
    (index,) = re.findall(r"^--extra-index-url (.*)cu\d+/$", text, re.M)
    assert index == INDEX
    cpu = (REPOSITORY / "requirements-cpu.txt").read_text(encoding="utf-8")
    for pattern in (r"^paddlepaddle\S*==(\S+)$", r"^((?!paddle)\w+>=\S+)$"):
        assert re.findall(pattern, text, re.M) == re.findall(pattern, cpu, re.M)


def test_a_failed_install_is_one_line_and_the_cpu_packages(prepare):
    wheel = "nvidia-cudnn-cu12==9.5.1.17"
    pip = f"WARNING: Retrying\nERROR: Could not find {wheel} (from versions: none)\n"
    pip += f"ERROR: No matching distribution found for {wheel}"
    said, calls = prepare(CARDS=AMPERE, PIP_SAYS=pip)
    (line,) = (line for line in said if wheel in line)
    assert line == f"== No Paddle for GPUs from cu126: No matching distribution found for {wheel}"
    assert calls[1:] == [CPU_INSTALL]
    said, calls = prepare(CARDS=AMPERE)
    assert said == ["== A GPU answers, but this Paddle is for CPUs; see requirements.txt"]
    assert not calls


def test_an_index_out_of_reach_is_told_from_a_missing_package(prepare):
    pip = "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken\n"
    pip += "ERROR: No matching distribution found for paddlepaddle-gpu==3.3.1"
    said, calls = prepare(CARDS=AMPERE, PIP_SAYS=pip)
    assert "== No Paddle for GPUs from cu126: the index does not answer" in said
    assert calls[1:] == [CPU_INSTALL]


def test_a_failed_proof_is_one_line_and_the_cpu_packages(prepare):
    proof = "warning\nerror: convolution: (error code is libcudnn.so: cannot open) " + 200 * "x"
    said, calls = prepare(CARDS=AMPERE, PROOF_SAYS=proof)
    (line,) = (line for line in said if "libcudnn.so" in line)
    assert line.startswith("== The GPU does not work with cu126: convolution: ")
    assert len(line) < 200 and not any("warning" in line for line in said)
    assert calls[1:] == [
        "scripts/check_gpu.py",
        "-m pip uninstall --quiet --yes paddlepaddle-gpu",
        CPU_INSTALL,
    ]


def test_a_driver_that_is_too_old_is_one_line_and_the_cpu_packages(prepare):
    said, calls = prepare(CARDS="440.33.01")
    assert "== No Paddle for this GPU: CUDA 11.8 needs a driver from 450 on" in said
    assert calls == [CPU_INSTALL]


def test_without_a_gpu_nothing_is_said_of_one(prepare):
    said, calls = prepare()
    assert calls == [CPU_INSTALL] and "GPU" not in "".join(said)
    assert prepare() == ([], [])


def test_a_version_that_is_asked_for_is_for_cpus(prepare):
    said, calls = prepare(CARDS=AMPERE, PADDLE="2.6.2", VENV="mine")
    assert " paddlepaddle==2.6.2 setuptools numpy>=" in calls[0] and len(calls) == 1
    assert "== Making a virtual environment in mine" in said and "GPU" not in "".join(said)
    assert prepare(CARDS=AMPERE, PADDLE="2.6.2", VENV="mine") == ([], [])


def test_a_python_that_has_paddle_is_used_as_it_is(prepare):
    said, calls = prepare(installed="gpu", CARDS=AMPERE)
    assert not calls and len(said) == 1 and said[0].endswith(", which has Paddle")
    said, calls = prepare(installed="cpu", CARDS=AMPERE)
    assert not calls and said[1:] == [
        "== A GPU answers, but this Paddle is for CPUs; see requirements.txt"
    ]


@pytest.mark.parametrize("gpus", [1, 2, 8])
def test_two_gpus_are_asked_for_nccl(gpus, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(check_gpu, "usable_gpus", lambda: gpus)
    monkeypatch.setattr(check_gpu, "choose_device", lambda device: asked.append(device))
    monkeypatch.setattr(
        "utils.system.launcher.run_on_all_ranks",
        lambda function, _, processes, device: asked.append((function, processes, device)),
    )
    check_gpu.prove()
    assert asked == ["gpu", (check_gpu.all_reduce, 2, "gpu")][: 2 if gpus > 1 else 1]
    assert capsys.readouterr().out.splitlines() == list(check_gpu.PARTS[: len(asked) + 1])


def test_the_sum_over_two_ranks_is_right_on_cpus():
    program = "from utils.system.runtime import setup_paddle; setup_paddle()\n"
    program += "from utils.system.launcher import run_on_all_ranks\n"
    program += "from scripts.check_gpu import all_reduce\n"
    succeed("-c", program + "raise SystemExit(run_on_all_ranks(all_reduce, 'cpu', 2, 'cpu'))")


def test_a_wrong_result_is_no_proof():
    with pytest.raises(UserError, match=r"the result is 1\.0, not 2"):
        check_gpu.expect(paddle.ones([1]), 2)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (
            "W0712 01:02:03.4  99 dynamic_loader.cc:314] The third-party library (libcudnn.so) is\n"
            "RuntimeError: (PreconditionNotMet) Cannot load cudnn shared library.\n  [Hint: x]",
            "The third-party library (libcudnn.so) is",
        ),
        (
            "Traceback\n  File /site-packages/paddle/base/libpaddle.so\n"
            "ImportError: libcublas.so.12: cannot open shared object file: No such file",
            "libcublas.so.12: cannot open shared object file: No such file",
        ),
        (
            "E0628 11:38:05.6 27896 gpu_resources.cc:98] Mismatched GPU Architecture: compiled for "
            "75 80 86 89 ,but your current GPU is 120\nRuntimeError: Unsupported GPU architecture",
            "Mismatched GPU Architecture: compiled for 75 80 86 89 ,but your current GPU is 120",
        ),
        (
            "Error Message Summary:\n---\nFatalError: `Segmentation fault` is detected.\n  [Hint]",
            "`Segmentation fault` is detected.",
        ),
        ("utils.system.errors.UserError: the result is 1.0, not 2", "the result is 1.0, not 2"),
        ("Aborted", "Aborted"),
        ("", "it ended without a message"),
    ],
)
def test_the_reason_is_the_line_that_names_it(said, why):
    assert check_gpu.reason(said) == why


def test_an_end_without_a_word_and_a_part_that_hangs_are_named(monkeypatch):
    for ending, why in (
        ("import os; os.abort()", "convolution: it ended without a message"),
        ("import signal; signal.raise_signal(14)", "convolution: no answer within 300 s"),
    ):
        monkeypatch.setattr(check_gpu, "PROOF", f"print('convolution', flush=True); {ending}")
        with pytest.raises(UserError, match=why):
            check_gpu.main()


def test_without_a_gpu_the_proof_says_so():
    message = fail("scripts/check_gpu.py", environment={"CUDA_VISIBLE_DEVICES": ""})
    assert message == "error: start: Paddle finds no GPU it can use"
