"""Converts torchvision's AlexNet weights (.pth) to the file a training begins with."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils.system.errors import UserError, first_line, run_command
from utils.system.runtime import start_paddle

DEFAULT_OUTPUT = Path(__file__).resolve().parent.parent / "models/AlexNet_pretrained.pdparams"


def read_torch_weights(path: Path) -> dict:
    """Reads a `.pth` state dict as NumPy arrays; nothing but weights is unpickled."""
    if not path.is_file():
        raise UserError(f"{path}: missing; expected torchvision's AlexNet, alexnet-owt-*.pth")
    try:
        import torch
    except ModuleNotFoundError as error:
        raise UserError(
            "this conversion needs PyTorch, once: pip install torch (the CPU build will do)"
        ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.float().numpy() for name, tensor in state.items()}
    except Exception as error:  # torch's unpickler raises many kinds
        raise UserError(f"{path}: not a PyTorch state dict: {first_line(error)}") from error


def main() -> int:
    """Converts one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="torchvision's alexnet-owt-*.pth")
    parser.add_argument(
        "output", type=Path, nargs="?", default=DEFAULT_OUTPUT, help="default: %(default)s"
    )
    arguments = parser.parse_args()
    start_paddle()
    from models.pretrained import from_torchvision
    from utils.system.state_files import write_state

    state = from_torchvision(read_torch_weights(arguments.source))
    write_state(arguments.output, state)
    print(f"{len(state)} arrays of {arguments.source} written to {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
