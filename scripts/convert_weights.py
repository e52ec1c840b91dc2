"""Converts torchvision's AlexNet weights (.pth) to the file a training begins with."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from utils.config.parser import Parser  # noqa: E402
from utils.system.errors import UserError, run_command  # noqa: E402
from utils.system.files import atomic_write, open_untrusted  # noqa: E402
from utils.system.runtime import setup_paddle  # noqa: E402

MAX_WEIGHTS = 1 << 32
"""Bytes of a weights file, at most; torchvision's has 244 MB."""


def read_torch_weights(path: Path) -> dict:
    """Reads a `.pth` state dict as NumPy arrays; nothing but weights is unpickled."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise UserError(
            "this conversion needs PyTorch, once: pip install torch (the CPU build will do)"
        ) from error
    hint = "expected torchvision's AlexNet, alexnet-owt-*.pth"
    with open_untrusted(path, "a PyTorch state dict", MAX_WEIGHTS, hint) as file:
        state = torch.load(file, map_location="cpu", weights_only=True)
        return {name: tensor.float().numpy() for name, tensor in state.items()}


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description=__doc__)
    output = ROOT / "models/AlexNet_pretrained.pdparams"
    parser.add_argument("source", type=Path, help="torchvision's alexnet-owt-*.pth")
    parser.add_argument("output", type=Path, nargs="?", default=output, help="default: %(default)s")
    return parser.parse_args()


def main() -> None:
    """Converts one file."""
    arguments = parse_arguments()
    setup_paddle()
    import paddle

    from models.pretrained import from_torchvision

    state = from_torchvision(read_torch_weights(arguments.source))
    with atomic_write(arguments.output) as temporary:
        paddle.save(state, str(temporary))
    print(f"{len(state)} arrays of {arguments.source} written to {arguments.output}")


if __name__ == "__main__":
    sys.exit(run_command(main))
