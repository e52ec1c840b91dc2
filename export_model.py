"""Exports trained weights for Paddle Inference or as ONNX: `python export_model.py --help`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    import utils.system.interrupt  # noqa: F401  (first of all: Ctrl-C is told in a line)

from utils.system.errors import run_command, tell


def main() -> int:
    """Loads the weights, writes program, parameters and record, names the files."""
    # Here Ctrl-C is told in a line.
    from utils.config import EXPORT_COMMAND, INFER_COMMAND, next_command, parse_config
    from utils.system.runtime import setup_paddle

    config = parse_config(EXPORT_COMMAND)
    setup_paddle(config.cpu_threads)
    import paddle  # what imports Paddle comes after its start

    from models.hashnet import load_network
    from utils.inference.export import Record, write_exported
    from utils.system.logger import log_to_console
    from utils.system.state_files import setting_of

    log_to_console(json=False)
    network, weights, made = load_network(config.weights, config.bit, config.backbone)
    names = ("bit", "input", "output", "resize_size", "crop_size", "fast_decode")
    settings = {name: getattr(config, name) for name in names}
    settings["data_set"] = setting_of(made, "data", "data set") or ""
    record = Record(**settings, resize=config.info.resize, paddle=paddle.__version__, **weights)
    for path in write_exported(network, record, config.save_inference_dir, config.format):
        tell(f"----- Save exported model: {path}")
    rest = ("--model-dir", config.save_inference_dir, "--img-path", "my_picture.jpg")
    script = "deploy/inference_python/infer.py"
    search = next_command(config, script, INFER_COMMAND, *rest)
    tell(f"Next, search: {search}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
