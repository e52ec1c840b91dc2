"""The house rules: imports point down, front doors open without Paddle, the mains are thin."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = [
    ["system"],
    ["loss", "lr_scheduler", "optimizer", "models", "codes", "datasets"],
    ["engine", "metrics", "config"],
    ["inference"],
    ["training", "search"],
]
"""A room imports itself and lower layers, nothing else. The commands are above them all."""
LAYER = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
PACKAGES = {"numpy", "paddle", "PIL", "tqdm", "yaml"}
OPTIONAL = {
    "utils/metrics/plots.py": {"matplotlib"},
    "utils/training/curves.py": {"tensorboardX", "visualdl"},
    "utils/inference/onnx.py": {"onnxruntime", "paddle2onnx"},
    "utils/search/milvus.py": {"milvus_lite", "pymilvus"},
}
FILES = [
    Path(name)
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    if (ROOT / name).is_file()
]
TREES = {path: ast.parse((ROOT / path).read_text(encoding="utf-8")) for path in FILES}
ROOMS = [path for path in FILES if path.parts[0] in ("utils", "models")]


def imports(path: Path) -> list[tuple[int, str]]:
    """Line and full name of everything that a file imports, anywhere in it."""
    found = []
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def room_of(name: str) -> str:
    """`utils.codes.hamming` → `codes`; `models.alexnet` → `models`."""
    parts = name.split(".")
    return parts[1] if parts[0] == "utils" else parts[0]


def test_imports_point_down():
    for path in ROOMS:
        here = room_of(".".join(path.with_suffix("").parts))
        for line, name in imports(path):
            if name.split(".")[0] not in ("utils", "models", "scripts", "deploy"):
                continue
            there = room_of(name)
            down = there == here or LAYER.get(there, 9) < LAYER[here]
            assert down, f"{path}:{line}: {here} imports {name}"


def test_only_runs_and_commands_see_the_config():
    for path in ROOMS:
        if path.parts[1] in ("training", "search", "config"):
            continue
        assert not [name for _, name in imports(path) if name.startswith("utils.config")], path


def test_rooms_import_no_package_beyond_the_run_time_ones():
    if not hasattr(sys, "stdlib_module_names"):
        pytest.skip("this Python does not list its standard library")
    allowed = PACKAGES | {"utils", "models"} | sys.stdlib_module_names
    for path in ROOMS:
        for line, name in imports(path):
            known = allowed | OPTIONAL.get(path.as_posix(), set())
            assert name.split(".")[0] in known, f"{path}:{line}: {name}"


@pytest.mark.parametrize(
    ("modules", "strangers"),
    [
        ("utils.codes, utils.metrics", {"paddle", "PIL", "yaml", "tqdm"}),
        ("utils.config, utils.datasets", {"paddle"}),
        ("utils.inference.export, utils.search", {"paddle", "onnxruntime", "utils.search.index"}),
        ("utils.search.index", {"paddle", "onnxruntime", "pymilvus"}),
    ],
)
def test_front_doors_open_without_paddle(modules, strangers, run):
    loaded = run("-c", f"import sys, {modules}; print(*sys.modules)").stdout.split()
    assert loaded
    assert not strangers & set(loaded)


def reached(command: str) -> set[str]:
    """The project's modules that a command imports, also those that a function imports later."""
    found, left = set(), [command]
    while left:
        path = Path(left.pop())
        for _, name in imports(path):
            parts = name.split(".")
            for end in range(1, len(parts) + 1):  # importing a.b.c runs a and a.b, too
                module = "/".join(parts[:end])
                for file in (f"{module}.py", f"{module}/__init__.py"):
                    if Path(file) in TREES and file not in found:
                        found.add(file)
                        left.append(file)
    return found


@pytest.mark.parametrize(
    "command",
    [
        *("main_single_gpu.py", "main_multi_gpu.py", "predict.py", "export_model.py"),
        "deploy/inference_python/infer.py",
    ],
)
def test_commands_without_an_index_import_nothing_of_it(command):
    of_index = {f"utils/search/{name}.py" for name in ("index", "store", "filters", "milvus")}
    assert of_index <= reached("deploy/search/index.py")
    assert not of_index & reached(command)


def test_the_mains_are_thin():
    for path in ROOT.glob("main_*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 40, path.name


def test_the_tests_that_readme_names_are_there():
    readme = (ROOT / "tests/README.md").read_text(encoding="utf-8")
    for path in re.findall(r"`(\w+/test_\w+\.py|test_\w+\.py)`", readme):
        assert Path("tests", path) in FILES
    tests = {node.name for tree in TREES.values() for node in tree.body if hasattr(node, "name")}
    assert set(re.findall(r"`(test_\w+)`", readme)) <= tests
