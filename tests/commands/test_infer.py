"""export_model.py and infer.py as users run them: the answers of predict.py, one line a mistake."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INFER = "deploy/inference_python/infer.py"
DATA = ["--bit", "64", "--dataset", "coco_lite"]


@pytest.fixture(scope="module")
def exported(run, trained, scratch):
    """The folder of an exported model that takes bytes and gives codes."""
    folder = scratch / "exported"
    result = run(
        *("export_model.py", *DATA, "--pretrained", trained[1] / "weights_64"),
        *("--save-inference-dir", folder, "--input", "uint8", "--output", "codes"),
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("----- Save exported model: ") == 3
    assert not {path.name for path in folder.iterdir()} - {
        f"inference_64{ending}" for ending in (".json", ".pdmodel", ".pdiparams", ".yaml")
    }
    return folder


@pytest.fixture(scope="module")
def queries(tmp_path_factory):
    """A folder of three pictures."""
    folder = tmp_path_factory.mktemp("queries")
    for picture in sorted((ROOT / "datasets/coco_lite/val2014").iterdir())[:3]:
        shutil.copy(picture, folder)
    return folder


def answers(text: str) -> list:
    """What a JSON document of predict.py or infer.py says, but for the sheets' places."""
    return [(found["query"], found["matches"]) for found in json.loads(text)["results"]]


def test_infer_gives_the_answers_of_predict_from_any_folder(
    run, trained, exported, queries, tmp_path
):
    ours = run(
        *(INFER, *DATA, "--model-dir", exported, "--img-path", queries, "--json"),
        *("--save-path", tmp_path, "--benchmark", "True", "--warmup", "1", "--batch-size", "2"),
        cwd=tmp_path,
    )
    assert ours.returncode == 0, ours.stderr
    theirs = run(
        *("predict.py", *DATA, "--pretrained", trained[1] / "weights_64", "--img", queries),
        *("--json", "--save-path", tmp_path, "--output-dir", tmp_path, "--encoder", "dygraph"),
        cwd=tmp_path,
    )
    assert theirs.returncode == 0, theirs.stderr
    assert answers(ours.stdout) == answers(theirs.stdout) and len(answers(ours.stdout)) == 3
    for field in (
        r"runtime_device: cpu",
        r"ir_optim: True",
        r"enable_mkldnn: True",
        r"cpu_math_library_num_threads: \d+",
        r"precision: fp32",
        r"batch_size: 2",
        r"input_shape: 3,224,224",
        r"data_num: 40",
        r"cpu_rss\(MB\): \d+\.\d",
        r"total time spent\(s\): \d+\.\d+",
        r"preprocess_time\(ms\): \d+\.\d+",
        r"inference_time\(ms\): \d+\.\d+",
        r"postprocess_time\(ms\): \d+\.\d+",
    ):
        assert re.search(rf"^{field}$", ours.stderr, re.MULTILINE), field
    again = run(
        *(INFER, *DATA, "--model-dir", exported, "--img-path", queries / "nothing.jpg"),
    )
    assert again.returncode == 2 and "nothing.jpg: the picture is missing" in again.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--bit", "32"], "inference_32.yaml: missing; --model-dir names the folder"),
        (["--use-gpu", "maybe"], "expected True or False, found 'maybe'"),
        (["--use-tensorrt", "True"], "TensorRT needs a GPU"),
        (["--precision", "fp16"], "--precision fp16: needs a GPU"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(run, exported, queries, flags, message):
    result = run(INFER, *DATA, "--model-dir", exported, "--img-path", queries, *flags)
    assert result.returncode == 2
    assert message in result.stderr and len(result.stderr.splitlines()) == 1


def test_codes_of_another_precision_are_not_used(run, exported, queries, tmp_path):
    import paddle

    if not paddle.base.core.supports_bfloat16():
        pytest.skip("this CPU has no bfloat16")
    model = shutil.copytree(exported, tmp_path / "model")
    command = [INFER, *DATA, "--model-dir", model, "--img-path", queries, "--save-path", tmp_path]
    assert run(*command).returncode == 0
    result = run(*command, "--precision", "bf16")
    assert result.returncode == 0, result.stderr
    assert "encoding 160 pictures" in result.stdout and "precision has changed" in result.stdout


def test_a_damaged_weights_file_exports_nothing(run, tmp_path):
    (tmp_path / "weights_64.pdparams").write_bytes(b"no weights")
    result = run(
        *("export_model.py", *DATA, "--pretrained", tmp_path / "weights_64"),
        *("--save-inference-dir", tmp_path / "model"),
    )
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "model").exists()
