"""Another backbone than AlexNet, ResNet-18: every command on it, and what its weights say."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import paddle
import pytest
from helpers import assert_same_state, epochs_of, fail, log_of, shorten_lists, succeed
from small_network import SmallHashNet, values

from models import NETWORKS, build_network
from models.hashnet import load_network
from models.pretrained import load_backbone
from utils.config import Config
from utils.system.errors import UserError
from utils.system.state_files import read_training_state

SMALL = ["--dataset", "coco_lite", "--crop-size", "63", "--resize-size", "64", "--device", "cpu"]


@pytest.fixture(scope="module")
def train(scratch):
    """Flags of a training on few images."""
    lists = shorten_lists(scratch / "lists", train=32, test=4, database=16)
    start = ["--backbone", "resnet18", "--backbone-weights", "none", "--learning-rate", "0.05"]
    return ["--bit", "16", *SMALL, "--list-path", lists, "--batch-size", "16", *start]


@pytest.fixture(scope="module")
def trained(train, scratch):
    """Output folder of two epochs."""
    output = scratch / "trained"
    succeed("main_single_gpu.py", *train, "--epoch", "2", "--output-dir", output)
    return output


@pytest.fixture(scope="module")
def evaluated(train, trained):
    """The same folder, its weights evaluated; nothing says which backbone they are of."""
    flags = [*SMALL, *train[train.index("--list-path") :][:2], "--output-dir", trained]
    succeed("main_single_gpu.py", "--bit", "16", "--eval", *flags)
    return trained


def test_every_network_has_its_name_and_its_hash_layer_last():
    assert Config.options()["backbone"].choices == tuple(NETWORKS)
    for backbone in NETWORKS:
        network = build_network(backbone, 8)
        assert backbone == network.BACKBONE
        names = [network.HASH_LAYER + kind for kind in ("weight", "bias")]
        assert [name for name, _ in network.named_parameters()][-2:] == names
        assert [p.shape[-1] for p in network.hash_parameters()] == [8, 8]


def test_the_log_and_the_metrics_name_the_backbone_and_eval_finds_the_training_s_map(evaluated):
    log = log_of(evaluated, 16)
    assert "backbone resnet18 (alexnet)" in log and "Random weights, as Paddle draws them" in log
    metrics = json.loads((evaluated / "test/metrics_16.json").read_text(encoding="utf-8"))
    assert (metrics["backbone"], metrics["map"]) == (
        "resnet18",
        epochs_of(evaluated, 16)[-1]["map"],
    )


def test_one_epoch_and_one_more_are_two(train, trained, tmp_path):
    succeed("main_single_gpu.py", *train, "--epoch", "1", "--output-dir", tmp_path)
    before = read_training_state(tmp_path / "last_16.npz")[0]["network"]
    succeed("main_single_gpu.py", "--resume", tmp_path / "last_16", "--epoch", "2")
    assert_same_state(tmp_path, trained, 16)
    after = read_training_state(tmp_path / "last_16.npz")[0]["network"]
    for name in ("features.bn1._mean", "features.bn1.weight", "features.conv1.weight"):
        assert (before[name] != after[name]).any(), name


@pytest.mark.parametrize(("takes", "gives"), [("float", "z"), ("uint8", "codes")])
def test_exported_it_gives_the_codes_of_the_evaluation(train, evaluated, tmp_path, takes, gives):
    lists = train[train.index("--list-path") :][:2]
    flags = ["--pretrained", evaluated / "last_16", "--save-inference-dir", tmp_path]
    succeed(
        "export_model.py", "--bit", "16", *SMALL[2:-2], *flags, "--input", takes, "--output", gives
    )
    where = ["--bit", "16", *SMALL[:2], *lists, "--save-path", tmp_path]
    answer = succeed("deploy/inference_python/infer.py", *where, "--model-dir", tmp_path)
    found, expected = (np.load(f / "database_code_16.npy") for f in (tmp_path, evaluated))
    assert (np.unpackbits(found) != np.unpackbits(expected)).mean() < 0.01  # where z is nearly 0
    assert len(np.unique(expected, axis=0)) > 4, "codes of images differ"
    said = succeed("predict.py", *where, *SMALL[2:], "--output-dir", evaluated)
    nearest = r"^----- Found Matched Pic: (.*)$"
    assert re.findall(nearest, said, re.MULTILINE) == re.findall(nearest, answer, re.MULTILINE)


@pytest.mark.parametrize("sampling", ["shard", "replicate"])
def test_two_ranks_evaluate_and_save_one_network(train, tmp_path, sampling):
    common = [*train, "--output-dir", tmp_path]
    ranks = ["--nprocs", "2", "--sampling", sampling, "--epoch", "1"]
    succeed("main_multi_gpu.py", *common, *ranks)
    said = succeed("main_single_gpu.py", *common, "--eval")
    assert f"MAP:{epochs_of(tmp_path, 16)[0]['map']:.3f}" in said, "of the statistics of all ranks"


def test_weights_say_their_backbone_and_a_flag_must_not_contradict(trained, tmp_path):
    for name in ("weights_16", "last_16"):
        assert load_network(trained / name, 16)[0].BACKBONE == "resnet18"
        with pytest.raises(UserError, match="of resnet18, not of alexnet; --backbone resnet18"):
            load_network(trained / name, 16, "alexnet")
        with pytest.raises(UserError, match="for 16 bits, --bit 8 was asked for"):
            load_network(trained / name, 8)
    alone = shutil.copy(trained / "weights_16.pdparams", tmp_path / "alone.pdparams")
    with pytest.raises(UserError, match="not weights of alexnet; --backbone names another"):
        load_network(alone, 16)
    assert load_network(alone, 16, "resnet18")[0].BACKBONE == "resnet18"
    record = json.loads((trained / "weights_16.json").read_text(encoding="utf-8"))
    record["settings"]["backbone"] = "vgg"
    alone.with_suffix(".json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="unknown backbone 'vgg'; known: alexnet, resnet18"):
        load_network(alone, 16)
    line = fail("main_single_gpu.py", "--resume", trained / "last_16", "--backbone", "alexnet")
    assert "backbone is alexnet, the saved training had resnet18" in line


def test_paddle_s_resnet_18_sets_all_but_the_hash_layer(monkeypatch, tmp_path):
    theirs, path = paddle.vision.models.resnet18(num_classes=10), tmp_path / "theirs.pdparams"
    theirs.bn1._mean.set_value(paddle.arange(64, dtype="float32"))
    paddle.save(theirs.state_dict(), str(path))
    networks = {source: build_network("resnet18", 8) for source in ("paddle", str(path))}
    monkeypatch.setattr(paddle.vision.models, "resnet18", lambda pretrained: theirs)
    for source, network in networks.items():
        before = values(network)
        load_backbone(network, source)
        expected = {f"features.{name}": array for name, array in values(theirs).items()}
        for name, array in values(network).items():
            kept = name.startswith("hash_layer.")
            np.testing.assert_array_equal(array, before[name] if kept else expected[name])


def test_files_of_another_backbone_and_none_at_all_are_told_with_the_ways_out(tmp_path):
    of_resnet, none = tmp_path / "resnet.pdparams", tmp_path / "none.pdparams"
    resnet = build_network("resnet18", 8)
    paddle.save(resnet.features.state_dict(), str(of_resnet))
    with pytest.raises(UserError, match=r"weights of alexnet are missing; .*convert_weights"):
        load_backbone(SmallHashNet(8), str(of_resnet))
    with pytest.raises(UserError, match=r"weights of resnet18 are missing; .* paddle .* none") as e:
        load_backbone(resnet, str(none))
    assert "convert_weights" not in str(e.value)
