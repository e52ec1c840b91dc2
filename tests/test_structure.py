"""The house rules: data flows one way, functions fit a screen, rooms do not print."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOUNDATION = {
    *("utils.errors", "utils.files", "utils.runtime", "utils.signals"),
    *("utils.safe_pickle", "utils.state_files", "utils.state_sets"),
}
"""Rooms without imports of their own but of each other, which everyone may use."""

# Room → the rooms it may import, besides the foundation and itself. The order is the design's.
MAY_IMPORT = {
    "utils.errors": set(),
    "utils.signals": set(),
    "utils.files": set(),
    "utils.runtime": set(),
    "utils.safe_pickle": set(),
    "utils.state_files": set(),
    "utils.state_sets": set(),
    "utils.disk": set(),
    "utils.cards": set(),
    "utils.options": set(),
    "utils.command_line": set(),
    "utils.config": {"utils.cards", "utils.command_line", "utils.options"},
    "models": set(),
    "utils.distributed": set(),
    "utils.launcher": set(),
    "utils.lists": set(),
    "utils.transforms": set(),
    "utils.cifar": set(),
    "utils.pictures": set(),
    "utils.picture_cache": set(),
    "utils.prefetch": set(),
    "utils.cache_space": {
        "utils.datasets",
        "utils.distributed",
        "utils.picture_cache",
        "utils.pictures",
        "utils.transforms",
    },
    "utils.datasets": {"utils.cards", "utils.cifar", "utils.lists", "utils.pictures"},
    "utils.loader": {
        "utils.datasets",
        "utils.distributed",
        "utils.picture_cache",
        "utils.prefetch",
        "utils.transforms",
    },
    "utils.troubles": {"utils.loader"},
    "utils.loss": set(),
    "utils.lr_scheduler": set(),
    "utils.optimizers": set(),
    "utils.hamming": set(),
    "utils.codes": {"utils.hamming"},
    "utils.code_files": {"utils.codes"},
    "utils.relevance": set(),
    "utils.average_precision": set(),
    "utils.curves": set(),
    "utils.retrieval": {"utils.codes", "utils.hamming", "utils.relevance"},
    "utils.metrics": {
        "utils.average_precision",
        "utils.curves",
        "utils.hamming",
        "utils.retrieval",
    },
    "utils.contact_sheet": set(),
    "utils.figures": set(),
    "utils.search": {"utils.codes", "utils.datasets"},
    "utils.search_report": {"utils.contact_sheet", "utils.datasets", "utils.search"},
    "utils.parts": {
        "models",
        "utils.cache_space",
        "utils.cards",
        "utils.coders",
        "utils.datasets",
        "utils.distributed",
        "utils.encoder",
        "utils.loader",
        "utils.options",
        "utils.predictor",
        "utils.transforms",
    },
    "utils.evaluator": {
        "utils.cards",
        "utils.checkpoint",
        "utils.datasets",
        "utils.distributed",
        "utils.encoder",
        "utils.figures",
        "utils.metrics",
        "utils.options",
        "utils.parts",
        "utils.troubles",
    },
    "utils.recipe": {"utils.lr_scheduler"},
    "utils.interruption": {"utils.distributed"},
    "utils.beginning": {
        "models",
        "utils.checkpoint",
        "utils.distributed",
        "utils.loss",
        "utils.options",
        "utils.recipe",
    },
    "utils.training_parts": {
        "models",
        "utils.cards",
        "utils.datasets",
        "utils.distributed",
        "utils.encoder",
        "utils.loader",
        "utils.loss",
        "utils.lr_scheduler",
        "utils.optimizers",
        "utils.options",
        "utils.parts",
        "utils.recipe",
        "utils.transforms",
        "utils.troubles",
        "utils.validation",
    },
    "utils.trainer": {
        "utils.disk",
        "models",
        "utils.beginning",
        "utils.checkpoint",
        "utils.command_line",
        "utils.config",
        "utils.distributed",
        "utils.engine",
        "utils.evaluator",
        "utils.interruption",
        "utils.keeper",
        "utils.loader",
        "utils.logger",
        "utils.lr_scheduler",
        "utils.options",
        "utils.training_parts",
    },
    "utils.validation": {
        "utils.datasets",
        "utils.distributed",
        "utils.encoder",
        "utils.metrics",
        "utils.relevance",
    },
    "utils.keeper": {
        "utils.checkpoint",
        "utils.distributed",
        "utils.loss",
        "utils.options",
    },
    "utils.checkpoint": set(),
    "utils.logger": {"utils.distributed"},
    "utils.engine": {"utils.distributed"},
    "utils.programs": set(),
    "utils.predictor": {"utils.programs"},
    "utils.coders": {"models", "utils.codes", "utils.predictor", "utils.programs"},
    "utils.exported": {"models", "utils.cards", "utils.programs", "utils.transforms"},
    "utils.search_session": {
        "utils.datasets",
        "utils.encoder",
        "utils.search",
        "utils.search_report",
    },
    "utils.inference_benchmark": {
        "utils.code_files",
        "utils.coders",
        "utils.codes",
        "utils.datasets",
        "utils.predictor",
        "utils.transforms",
    },
    "utils.encoder": {
        "models",
        "utils.code_files",
        "utils.coders",
        "utils.datasets",
        "utils.disk",
        "utils.engine",
        "utils.loader",
        "utils.logger",
        "utils.transforms",
    },
}
SEE_THE_CONFIG = {
    *("utils.trainer", "utils.training_parts", "utils.beginning", "utils.keeper"),
    *("utils.evaluator", "utils.parts", "utils.config"),
}


def python_files() -> list[Path]:
    """The project's Python files, as git knows them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def room_of(module: str) -> str:
    """`models.alexnet` → `models`; `utils.loss` stays."""
    return "models" if module.split(".")[0] == "models" else ".".join(module.split(".")[:2])


def imported_rooms(path: Path) -> set[str]:
    """Rooms of utils/ and models/ that a file imports, anywhere in it."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "utils":
            modules |= {f"utils.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
    return {room_of(m) for m in modules if m.split(".")[0] in ("utils", "models", "scripts")}


def rooms() -> dict[str, set[str]]:
    """Room → the rooms it imports."""
    found: dict[str, set[str]] = {}
    for path in python_files():
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] in ("utils", "models") and parts[-1] != "__init__":
            room = room_of(".".join(parts))
            found[room] = found.get(room, set()) | imported_rooms(path)
    return found


def test_no_room_imports_upward():
    assert rooms().keys() == MAY_IMPORT.keys()
    for room, imports in rooms().items():
        upward = imports - MAY_IMPORT[room] - FOUNDATION - {room}
        assert not upward, f"{room} imports {sorted(upward)}"
        assert not MAY_IMPORT[room] - imports, f"{room} no longer imports all it may"


def test_only_commands_trainer_and_evaluator_see_the_config():
    for room, imports in rooms().items():
        if imports & {"utils.config", "utils.options"}:
            assert room in SEE_THE_CONFIG, room


def test_utils_and_models_import_no_package_beyond_the_run_time_ones():
    allowed = {"numpy", "paddle", "PIL", "tqdm", "yaml", "utils", "models"}
    allowed |= set(sys.stdlib_module_names) if hasattr(sys, "stdlib_module_names") else set()
    if len(allowed) < 20:
        pytest.skip("this Python does not list its standard library")
    optional = {"utils/figures.py": {"matplotlib"}}
    for path in python_files():
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(("utils/", "models/")):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for module in names:
                package = module.split(".")[0]
                assert package in allowed | optional.get(name, set()), f"{name} imports {package}"


def test_functions_fit_a_screen():
    for path in python_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = node.end_lineno - node.lineno + 1
                assert lines <= 60, f"{path.name}:{node.lineno}: {node.name} has {lines} lines"


def test_nothing_below_the_commands_prints():
    for path in python_files():
        if path.relative_to(ROOT).parts[0] not in ("utils", "models"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                is_error_line = path.name == "errors.py"
                assert node.func.id != "print" or is_error_line, f"{path.name}:{node.lineno}"


def test_the_mains_are_thin():
    for path in ROOT.glob("main_*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 40, path.name


def test_public_functions_and_classes_say_what_they_do():
    for path in python_files():
        if path.relative_to(ROOT).parts[0] not in ("utils", "models", "scripts"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert path.name == "__init__.py" or ast.get_docstring(tree), f"{path.name}: no docstring"
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_":
                assert ast.get_docstring(node), f"{path.name}:{node.lineno}: {node.name}"
