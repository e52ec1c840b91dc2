"""Every setting of every command, declared once: name, default, bounds, help."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import yaml

from utils.datasets import Split, open_splits
from utils.datasets.cache import cache_folder
from utils.datasets.info import DatasetInfo
from utils.datasets.loader import LoaderOptions
from utils.datasets.transforms import Transform, build_transform
from utils.system.files import OutputPaths
from utils.system.runtime import cores_for_each

TRAIN, TRAIN_MULTI, PREDICT = "train", "train on several devices", "predict"
EXPORT, INFER = "export", "infer"
ANY_TRAIN = (TRAIN, TRAIN_MULTI)
SEARCHES = (PREDICT, INFER)
WITH_NETWORK = (*ANY_TRAIN, PREDICT)
WITH_WEIGHTS = (*WITH_NETWORK, EXPORT)
WITH_DATA = (*WITH_NETWORK, INFER)
EVERY = (*WITH_NETWORK, EXPORT, INFER)

NETWORK = "network and weights"
DATA = "data"
TRAINING = "training recipe (defaults: the published one)"
EVALUATION = "evaluation"
SEARCH = "search"
EXPORTED = "exported model"
RUNNING = "machine, logs and files"
MAX_WORKERS = 16
"""Loading threads where nothing is said; Python's lock leaves more of them nothing to do."""


@dataclass(frozen=True)
class Option:
    """What the command line and the YAML file need to know of one setting.

    Attributes:
        group: heading under which `--help` shows it.
        help: one or two lines for `--help`.
        commands: the commands that have it.
        kind: type of its value; a bool is a switch without a value, unless `valued`.
        short: further spellings, such as `-bs`.
        choices: allowed values, where there are few.
        minimum: smallest allowed number.
        required: the command refuses to run without it.
        many: it takes one value or more; they come as a tuple.
        valued: a bool that takes True or False.
    """

    group: str
    help: str
    commands: tuple[str, ...]
    kind: type
    short: tuple[str, ...] = ()
    choices: tuple[str, ...] | None = None
    minimum: float | None = None
    required: bool = False
    many: bool = False
    valued: bool = False


def option(default: Any, group: str, help: str, commands=ANY_TRAIN, kind=None, **rest) -> Any:
    """Declares one field of `Config`; `kind` is the default's type unless given."""
    kind = type(default) if kind is None else kind
    return field(default=default, metadata={"option": Option(group, help, commands, kind, **rest)})


@dataclass(frozen=True)
class Config:
    """The settings of one run, resolved: defaults, then dataset.yaml, YAML, command line.

    A command sees all fields; those it has no flag for keep their defaults.

    Attributes:
        info: what `dataset` is.
        paths: the output files.
    """

    model: str = option("HashNet", NETWORK, "the network", WITH_WEIGHTS, choices=("HashNet",))
    bit: int = option(16, NETWORK, "length of the codes, a multiple of 8 from 8 to 512", EVERY)
    pretrained: str | None = option(
        None,
        NETWORK,
        "trained weights, with or without the ending .pdparams: what --eval and the search use "
        "(default: OUTPUT_DIR/weights_BIT), or where a new training begins",
        WITH_WEIGHTS,
        kind=str,
    )
    backbone_weights: str = option(
        "models/AlexNet_pretrained.pdparams",
        NETWORK,
        "ImageNet weights a new training begins with: a file, 'paddle' (Paddle's own AlexNet, "
        "downloaded by Paddle) or 'none' (random weights)",
    )
    resume: str | None = option(
        None,
        NETWORK,
        "continue a training from its saved state, such as output/last_64",
        kind=str,
    )
    force_resume: bool = option(
        False,
        NETWORK,
        "--resume goes on where settings or lists are not those of the saved training",
    )

    dataset: str = option(
        "coco", DATA, "a folder of data/ with a dataset.yaml, or the path of such a folder", EVERY
    )
    data_path: str = option(
        "./datasets/COCO2014/", DATA, "folder of the images (default: the data set's)", WITH_DATA
    )
    list_path: str | None = option(
        None, DATA, "folder of the list files (default: the data set's)", WITH_DATA, kind=str
    )
    allow_outside: bool = option(
        False, DATA, "lists may name images outside DATA_PATH (absolute paths, ..)", WITH_DATA
    )
    num_class: int = option(80, DATA, "labels an image", WITH_DATA, minimum=1)
    crop_size: int = option(
        224, DATA, "side of the network's square input", WITH_WEIGHTS, minimum=63
    )
    resize_size: int = option(256, DATA, "short side before the crop", WITH_WEIGHTS, minimum=63)
    batch_size: int = option(
        64, DATA, "images a step, on each device", WITH_DATA, short=("-bs",), minimum=1
    )
    num_workers: int | None = option(
        None,
        DATA,
        "threads that load images ahead; 0: none, each batch is loaded when it is needed "
        "(default: the cores, shared by processes, 16 at most)",
        WITH_DATA,
        kind=int,
        minimum=0,
    )
    on_bad_image: str = option(
        "error",
        DATA,
        "a missing or damaged image: 'error' stops; 'skip' trains on another one in its place, "
        "leaves it out of codes and metrics, and says so",
        WITH_DATA,
        choices=("error", "skip"),
    )
    cache_dir: str | None = option(
        None,
        DATA,
        "folder that keeps decoded and resized images, about 0.3 MB each (default: none)",
        WITH_DATA,
        kind=str,
    )
    fast_decode: bool = option(
        False,
        DATA,
        "decode large JPEG files at 1/2, 1/4 or 1/8 of their size; faster, other codes",
        WITH_WEIGHTS,
    )
    sampling: str = option(
        "shard",
        DATA,
        "several devices: 'shard' gives each a part of every epoch and takes the steps of one "
        "device with their batches together; 'replicate', as published, gives each the whole "
        "training set in an order of its own",
        choices=("shard", "replicate"),
    )

    epoch: int = option(150, TRAINING, "epochs in all", short=("-e",), minimum=1)
    learning_rate: float = option(
        1e-3,
        TRAINING,
        "rate for 64 images a step; scaled by images a step / 64, ×10 for the hash layer",
        short=("-lr",),
        minimum=0,
    )
    de_step: int = option(50, TRAINING, "epochs after which the rate is halved", minimum=1)
    optimizer: str = option(
        "SGD", TRAINING, "the optimizer", short=("-op",), choices=("SGD", "RMSProp", "AdamW")
    )
    momentum: float = option(0.9, TRAINING, "momentum of SGD and RMSProp", minimum=0)
    weight_decay: float = option(5e-4, TRAINING, "weight decay", short=("-wd",), minimum=0)
    alpha: float = option(0.1, TRAINING, "α, the scale of the inner product of codes", minimum=0)
    step_continuation: int = option(
        20, TRAINING, "epochs after which β = sqrt(epoch // STEP + 1) grows", minimum=1
    )
    amp: bool = option(
        False,
        TRAINING,
        "train in mixed precision (bfloat16), on GPUs of compute capability 8 and newer; not the "
        "published recipe, and not run on a GPU by us yet",
    )
    encoder: str = option(
        "auto",
        EVALUATION,
        "what runs the network to make codes: 'inference' (Paddle Inference), 'dygraph' (the "
        "network as it is trained), or 'auto': the first on a CPU, the second on a GPU",
        WITH_NETWORK,
        choices=("auto", "dygraph", "inference"),
    )
    precision: str = option(
        "fp32",
        EVALUATION,
        "of the network when it makes codes; bf16 (CPUs with AVX-512) and fp16 (GPUs, exported "
        "models) are faster, and some bits differ",
        WITH_DATA,
        choices=("fp32", "bf16", "fp16"),
    )
    seed: int = option(
        2000,
        TRAINING,
        "seed of order, augmentation, dropout and initial weights",
        WITH_DATA,
        minimum=0,
    )
    last_epoch: int = option(
        0,
        TRAINING,
        "epochs already trained, where --pretrained or an old --resume does not say",
        minimum=0,
    )

    eval: bool = option(False, EVALUATION, "evaluate --pretrained and stop, no training")
    topK: int = option(5000, EVALUATION, "K of MAP@K, the ranks that count; -1: all", minimum=-1)
    eval_epoch: int = option(
        10, EVALUATION, "epochs from one evaluation to the next", short=("-ee",), minimum=1
    )
    exclude_self: bool = option(
        False, EVALUATION, "leave a query that stands in the database out of its own ranking"
    )
    eval_first: bool = option(
        False, EVALUATION, "evaluate before the first step too: the untrained network's MAP"
    )

    img: tuple[str, ...] = option(
        (),
        SEARCH,
        "the queries: an image, several, or a folder of images",
        SEARCHES,
        kind=str,
        short=("--img-path",),
        required=True,
        many=True,
    )
    topk: int = option(10, SEARCH, "how many images to find", SEARCHES, minimum=1)
    save_path: str = option(
        "./output",
        SEARCH,
        "folder of the contact sheets and of copies of the nearest images",
        SEARCHES,
    )
    json: bool = option(
        False, SEARCH, "print one JSON document instead of tables and messages", SEARCHES
    )

    save_inference_dir: str = option(
        "./output/inference", EXPORTED, "folder that the model is written to", (EXPORT,)
    )
    input: str = option(
        "float",
        EXPORTED,
        "'float': normalized images [n, 3, side, side]; 'uint8': RGB images "
        "[n, side, side, 3], normalized inside",
        (EXPORT,),
        choices=("float", "uint8"),
    )
    output: str = option(
        "z",
        EXPORTED,
        "'z': real numbers [n, bit], a bit is 1 where z >= 0; 'codes': packed bits [n, bit / 8]",
        (EXPORT,),
        choices=("z", "codes"),
    )
    model_dir: str = option(
        "./output/inference", EXPORTED, "folder that export_model.py wrote", (INFER,)
    )
    use_gpu: bool = option(False, EXPORTED, "run it on a GPU", (INFER,), valued=True)
    enable_mkldnn: bool = option(True, EXPORTED, "oneDNN on a CPU", (INFER,), valued=True)
    use_tensorrt: bool = option(False, EXPORTED, "TensorRT on a GPU", (INFER,), valued=True)
    benchmark: bool = option(
        False, EXPORTED, "time the stages, 20 batches or more", (INFER,), valued=True
    )
    warmup: int = option(5, EXPORTED, "batches before the timed ones", (INFER,), minimum=0)

    device: str = option(
        "auto",
        RUNNING,
        "where the network runs; auto: a GPU where there is one",
        WITH_NETWORK,
        choices=("auto", "gpu", "cpu"),
    )
    nprocs: int = option(
        0,
        RUNNING,
        "processes to start on this machine; 0: one for each visible GPU, or one",
        (TRAIN_MULTI,),
        minimum=0,
    )
    cpu_threads: int = option(
        0,
        RUNNING,
        "threads for CPU maths; 0: OMP_NUM_THREADS if set, else all cores, shared by processes",
        EVERY,
        minimum=0,
    )
    output_dir: str = option(
        "./output", RUNNING, "folder of weights, logs, metrics and database codes", WITH_WEIGHTS
    )
    log_path: str | None = option(
        None, RUNNING, "folder of log and metrics (default: OUTPUT_DIR/train or /test)", kind=str
    )
    debug_steps: int = option(50, RUNNING, "steps from one log line to the next", minimum=1)
    save_epoch: int = option(
        1, RUNNING, "epochs from one saved state (last_BIT) to the next", minimum=1
    )

    info: DatasetInfo | None = None
    paths: OutputPaths | None = None

    @property
    def weights(self) -> str:
        """`--pretrained`, or the best weights of the output folder."""
        return self.pretrained or str(self.paths.weights)

    def settings(self, command: str = TRAIN_MULTI) -> dict[str, Any]:
        """The settings of one command, name → value."""
        options = Config.options().items()
        return {name: getattr(self, name) for name, o in options if command in o.commands}

    def as_yaml(self, command: str = TRAIN) -> str:
        """The settings of one command as YAML text that `--config` takes."""
        return yaml.safe_dump(self.settings(command), sort_keys=False, allow_unicode=True)

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Every setting's declaration, by name."""
        return {f.name: f.metadata["option"] for f in fields(cls) if "option" in f.metadata}

    def splits(self, *names: str) -> list[Split]:
        """Splits of the data set: 'train', 'test', 'database'."""
        return open_splits(
            self.info,
            names,
            self.data_path,
            self.list_path,
            self.num_class,
            self.seed,
            self.allow_outside,
        )

    def transform(self, train: bool = False) -> Transform:
        """What training images go through, or queries and database."""
        return build_transform(
            self.info.resize, self.resize_size, self.crop_size, self.fast_decode, train
        )

    def loader_options(self, transform: Transform) -> LoaderOptions:
        """How images are loaded for a transform."""
        threads = self.num_workers
        if threads is None:
            threads = min(cores_for_each(), MAX_WORKERS)
        cache = cache_folder(self.cache_dir, transform.resize) if self.cache_dir else None
        return LoaderOptions(threads, self.on_bad_image == "skip", cache)
