"""export_model.py and infer.py as users run them: the answers of predict.py, one line a mistake."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import yaml
from helpers import COCO_LITE, fail, run_script, shorten_lists, succeed

INFER = "deploy/inference_python/infer.py"
DATA = ["--bit", "16", "--dataset", "coco_lite"]


@pytest.fixture(scope="module")
def exported(weights_16, scratch):
    """The folder of an exported model that takes bytes and gives codes."""
    folder = scratch / "exported"
    said = succeed(
        *("export_model.py", *DATA, "--pretrained", weights_16),
        *("--save-inference-dir", folder, "--input", "uint8", "--output", "codes"),
    )
    assert said.count("----- Save exported model: ") == 3
    assert not {path.name for path in folder.iterdir()} - {
        f"inference_16{ending}" for ending in (".json", ".pdmodel", ".pdiparams", ".yaml")
    }
    return folder


@pytest.fixture(scope="module")
def queries(scratch):
    """A folder of three images, and short lists."""
    folder = scratch / "queries"
    folder.mkdir()
    for image in sorted((COCO_LITE / "val2014").iterdir())[:3]:
        shutil.copy(image, folder)
    return ["--img-path", folder, "--list-path", shorten_lists(scratch / "lists", database=40)]


def answers(result) -> list:
    """What a JSON document of predict.py or infer.py says, but for the sheets' places."""
    assert result.returncode == 0, result.stderr
    return [(found["query"], found["matches"]) for found in json.loads(result.stdout)["results"]]


def test_infer_gives_the_answers_of_predict_from_any_folder(
    weights_16, exported, queries, tmp_path
):
    ours = run_script(
        *(INFER, *DATA, "--model-dir", exported, *queries, "--json", "--save-path", tmp_path),
        *("--benchmark", "True", "--warmup", "1", "--batch-size", "2"),
        cwd=tmp_path,
    )
    theirs = run_script(
        *("predict.py", *DATA, "--pretrained", weights_16, *queries, "--json"),
        *("--save-path", tmp_path, "--output-dir", tmp_path, "--encoder", "dygraph"),
        cwd=tmp_path,
    )
    assert answers(ours) == answers(theirs) and len(answers(ours)) == 3
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


def test_weights_of_another_data_set_are_told(exported, queries, tmp_path):
    model = shutil.copytree(exported, tmp_path / "model")
    record = model / "inference_16.yaml"
    entries = yaml.safe_load(record.read_text(encoding="utf-8"))
    record.write_text(yaml.safe_dump({**entries, "data_set": "flowers"}), encoding="utf-8")
    said = succeed(INFER, *DATA, "--model-dir", model, *queries, "--save-path", tmp_path)
    assert ": weights of the data set flowers, used here on coco_lite" in said


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--img-path", __file__], "test_infer.py: not an image"),
        (["--bit", "32"], "inference_32.yaml: missing; --model-dir names the folder"),
        (["--use-gpu", "maybe"], "expected True or False, found 'maybe'"),
        (["--precision", "fp16"], "--precision fp16: needs a GPU"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(exported, queries, tmp_path, flags, message):
    command = [INFER, *DATA, "--model-dir", exported, *queries, "--save-path", tmp_path]
    assert message in fail(*command, *flags)
