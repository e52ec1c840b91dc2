"""A network as a program that Paddle Inference runs: what differs between Paddle 2.6 and 3."""

from __future__ import annotations

from pathlib import Path

import paddle

PROGRAM_ENDINGS = (".json", ".pdmodel")
"""Paddle 3 writes the first, Paddle 2.6 the second; both also run the second."""
PARAMETERS = ".pdiparams"
INPUT_NAME = "pictures"
_LEFT_BEHIND = ".pdiparams.info"
_FETCHED = {".json": "fetch_name_0", ".pdmodel": "save_infer_model/scale_0.tmp_0"}
"""What Paddle calls the first output."""


def write_program(
    network: paddle.nn.Layer, shape: list[int | None], dtype: str, output_name: str, prefix: Path
) -> Path:
    """Writes `prefix.json` (Paddle 2.6: `prefix.pdmodel`) and `prefix.pdiparams`.

    Args:
        network: one input, one output; its layers' modes (training or not) come back after.
        shape: of the input; None: free.
        dtype: of the input.
        output_name: what the output is called; the input is called 'pictures'.
        prefix: in a folder that exists.

    Returns:
        The program's path.
    """
    modes = [(layer, layer.training) for layer in network.sublayers(include_self=True)]
    network.eval()
    # The guard: variables of the program must not count among the names of a training's.
    with paddle.utils.unique_name.guard():
        # A layer around it, since Paddle replaces the `forward` of what it converts.
        around = paddle.nn.Sequential(network)
        around.eval()
        spec = paddle.static.InputSpec(shape, dtype, name=INPUT_NAME)
        paddle.jit.save(
            paddle.jit.to_static(around, input_spec=[spec], full_graph=True), str(prefix)
        )
    for layer, training in modes:
        layer.training = training
    Path(f"{prefix}{_LEFT_BEHIND}").unlink(missing_ok=True)  # a pickle that inference never reads
    program = program_of(prefix)
    _name_output(program, output_name)
    return program


def program_of(prefix: Path) -> Path:
    """The program that stands beside `prefix.pdiparams`; the newer format where both do."""
    paths = [Path(f"{prefix}{ending}") for ending in PROGRAM_ENDINGS]
    return next((path for path in paths if path.is_file()), paths[0])


def can_save_memory(program: Path) -> bool:
    """Whether the predictor may reuse buffers: Paddle 3.3 raises with programs in .json."""
    return program.suffix == ".pdmodel"


def _name_output(program: Path, name: str) -> None:
    fetched = _FETCHED[program.suffix]
    if program.suffix == ".json":
        text = program.read_text(encoding="utf-8")
        program.write_text(text.replace(f'"{fetched}"', f'"{name}"'), encoding="utf-8")
        return
    description = paddle.base.core.ProgramDesc(program.read_bytes())
    description.block(0)._rename_var(fetched.encode(), name.encode())
    program.write_bytes(description.serialize_to_string())
