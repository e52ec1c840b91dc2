"""Every setting of every command, declared once: name, default, bounds, help."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import yaml

from models import DEFAULT_BACKBONE, NETWORKS
from utils.datasets import Split, open_splits
from utils.datasets.cache import cache_folder
from utils.datasets.info import MAX_CLASSES, DatasetInfo
from utils.datasets.loader import LoaderOptions
from utils.datasets.transforms import MAX_SIDE, Transform, build_transform
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
FULL_METHOD = {"no_weighting": False, "no_continuation": False}
"""The switches of the paper's ablations, as they were where a record does not name them."""
MAX_WORKERS, MAX_PROCESSES = 16, 1 << 10
"""Loading threads where nothing is said, as Python's lock leaves more of them nothing to do; and
what processes or threads are fewer than, whatever is said."""


@dataclass(frozen=True)
class Option:
    """What the command line and the YAML file need to know of one setting.

    A bool is a switch without a value, unless `valued`; `short` are further spellings; `many`
    values come as a tuple; whole numbers are less than `limit`.
    """

    group: str
    help: str
    commands: tuple[str, ...]
    kind: type
    short: tuple[str, ...] = ()
    choices: tuple[str, ...] | None = None
    minimum: float | None = None
    limit: int = 2**31
    many: bool = False
    valued: bool = False


def option(group: str, default: Any, help: str, commands=ANY_TRAIN, kind=None, **rest) -> Any:
    """Declares one field of `Config`; `kind` is the default's type, text where that is None."""
    kind = kind or (str if default is None else type(default))
    return field(default=default, metadata={"option": Option(group, help, commands, kind, **rest)})


network = partial(option, "network and weights")
data = partial(option, "data", commands=WITH_DATA)
side = partial(data, commands=WITH_WEIGHTS, minimum=63, limit=MAX_SIDE)
training = partial(option, "training recipe (defaults: the published one)")
evaluation = partial(option, "evaluation")
search = partial(option, "search")
exported = partial(option, "exported model")
running = partial(option, "machine, logs and files")


@dataclass(frozen=True)
class Config:
    """The settings of one run, resolved: defaults, then dataset.yaml, YAML, command line.

    A command sees all fields; those it has no flag for keep their defaults.

    Attributes:
        info: what `dataset` is.
        paths: the output files.
    """

    model: str = network("HashNet", "the network", WITH_WEIGHTS, choices=("HashNet",))
    backbone: str | None = network(
        None,
        "what is below the hash layer (default: what the trained weights are of, else alexnet)",
        WITH_WEIGHTS,
        choices=tuple(NETWORKS),
    )
    bit: int = network(16, "length of the codes, from 1 to 512", EVERY)
    pretrained: str | None = network(
        None,
        "trained weights, with or without the ending: what --eval and the search use (default: "
        "OUTPUT_DIR/weights_BIT), or where a new training begins",
        WITH_WEIGHTS,
    )
    backbone_weights: str = network(
        "models/AlexNet_pretrained.pdparams",
        "ImageNet weights a new training begins with: a file, 'paddle' (Paddle's own of the "
        "backbone, downloaded by Paddle) or 'none' (random weights)",
    )
    resume: str | None = network(
        None, "continue a training: its state, output/last_64; or published weights"
    )
    force_resume: bool = network(
        False, "--resume goes on where settings or lists are not those of the saved training"
    )

    dataset: str = data(
        "coco",
        "a folder of data/ with a dataset.yaml, or the path of such a folder",
        commands=EVERY,
    )
    data_path: str = data("./datasets/COCO2014/", "folder of the images (default: the data set's)")
    list_path: str | None = data(None, "folder of the list files (default: the data set's)")
    allow_outside: bool = data(
        False, "lists may name images outside DATA_PATH (absolute paths, ..)"
    )
    num_class: int = data(80, "labels an image", minimum=1, limit=MAX_CLASSES)
    crop_size: int = side(224, "side of the network's square input")
    resize_size: int = side(256, "short side before the crop")
    batch_size: int = data(64, "images a step, on each device", short=("-bs",), minimum=1)
    num_workers: int | None = data(
        None,
        "threads that load images ahead; 0: none, each batch is loaded when it is needed "
        "(default: the cores, shared by processes, 16 at most)",
        kind=int,
        minimum=0,
        limit=MAX_PROCESSES,
    )
    on_bad_image: str = data(
        "error",
        "a missing or damaged image: 'error' stops; 'skip' trains on another one in its place, "
        "leaves it out of codes and metrics, and says so",
        choices=("error", "skip"),
    )
    cache_dir: str | None = data(
        None, "folder that keeps decoded and resized images, about 0.3 MB each (default: none)"
    )
    fast_decode: bool = data(
        False,
        "decode large JPEG files at 1/2, 1/4 or 1/8 of their size; faster, other codes",
        commands=WITH_WEIGHTS,
    )
    sampling: str = data(
        "replicate",
        "several devices: 'replicate', as published, gives each the whole training set in an "
        "order of its own; 'shard' gives each a part of every epoch and takes the steps of one "
        "device with their batches together",
        commands=ANY_TRAIN,
        choices=("replicate", "shard"),
    )

    epoch: int = training(150, "epochs in all", short=("-e",), minimum=1)
    learning_rate: float = training(
        1e-3,
        "rate for 64 images a step; scaled by images a step / 64, ×10 for the hash layer",
        short=("-lr",),
        minimum=0,
    )
    de_step: int = training(50, "epochs after which the rate is halved", minimum=1)
    optimizer: str = training(
        "SGD", "the optimizer", short=("-op",), choices=("SGD", "RMSProp", "AdamW")
    )
    momentum: float = training(0.9, "momentum of SGD and RMSProp", minimum=0)
    weight_decay: float = training(5e-4, "weight decay", short=("-wd",), minimum=0)
    alpha: float = training(0.1, "α, the scale of the inner product of codes", minimum=0)
    step_continuation: int = training(
        20, "epochs after which β = sqrt((epoch - 1) // STEP + 1) grows", minimum=1
    )
    no_weighting: bool = training(
        False, "the ablation HashNet-W: all pairs of images weigh the same"
    )
    no_continuation: bool = training(
        False, "the ablation HashNet-sgn: β stays 1, and codes are the sign of what that has learnt"
    )
    amp: bool = training(
        False,
        "train in mixed precision (bfloat16), on GPUs of compute capability 8 and newer; not the "
        "published recipe, and not run on a GPU by us yet",
    )
    encoder: str = evaluation(
        "auto",
        "what runs the network to make codes: 'inference' (Paddle Inference), 'dygraph' (the "
        "network as it is trained), or 'auto': the first on a CPU, the second on a GPU",
        WITH_NETWORK,
        choices=("auto", "dygraph", "inference"),
    )
    precision: str = evaluation(
        "fp32",
        "number format that codes are computed in; bf16 (CPUs with AVX-512) and fp16 (GPUs, "
        "exported models) are faster, and some bits differ",
        WITH_DATA,
        choices=("fp32", "bf16", "fp16"),
    )
    seed: int = training(
        2000, "seed of order, augmentation, dropout and initial weights", WITH_DATA, minimum=0
    )
    last_epoch: int = training(
        0, "epochs already trained, where --pretrained or an old --resume does not say", minimum=0
    )

    eval: bool = evaluation(False, "evaluate --pretrained and stop, no training")
    topK: int = evaluation(5000, "K of MAP@K, the ranks that count; -1: all", minimum=-1)
    eval_epoch: int = evaluation(
        10, "epochs from one evaluation to the next", short=("-ee",), minimum=1
    )
    exclude_self: bool = evaluation(
        False, "leave a query that stands in the database out of its own ranking"
    )
    continuous: bool = evaluation(
        False,
        "--eval also ranks by the network's real values (the paper's HashNet+C): inner products "
        "of tanh(βz), with the β that the training had come to",
    )
    eval_first: bool = evaluation(
        False, "evaluate before the first step too: the untrained network's MAP"
    )

    img: tuple[str, ...] = search(
        (),
        "the queries: an image, several, or a folder of images (default: one of coco_lite)",
        SEARCHES,
        kind=str,
        short=("--img-path",),
        many=True,
    )
    topk: int = search(10, "how many images to find", SEARCHES, minimum=1)
    save_path: str = search(
        "./output", "folder of the contact sheets and of copies of the nearest images", SEARCHES
    )
    show: bool = search(False, "show the contact sheets in the system's viewer, too", (PREDICT,))
    json: bool = search(False, "print one JSON document instead of tables and messages", SEARCHES)

    save_inference_dir: str = exported(
        "./output/inference", "folder that the model is written to", (EXPORT,)
    )
    format: str = exported(
        "paddle",
        "'paddle': for Paddle Inference; 'onnx': for ONNX Runtime, on a CPU, without Paddle "
        "(needs requirements-onnx.txt); in the same folder it replaces the other",
        (EXPORT,),
        choices=("paddle", "onnx"),
    )
    input: str = exported(
        "float",
        "'float': normalized images [n, 3, side, side]; 'uint8': RGB images "
        "[n, side, side, 3], normalized inside",
        (EXPORT,),
        choices=("float", "uint8"),
    )
    output: str = exported(
        "z",
        "'z': real numbers [n, bit], a bit is 1 where z >= 0; 'codes': packed bits [n, bit / 8]",
        (EXPORT,),
        choices=("z", "codes"),
    )
    model_dir: str = exported("./output/inference", "folder that export_model.py wrote", (INFER,))
    use_gpu: bool = exported(False, "run it on a GPU", (INFER,), valued=True)
    enable_mkldnn: bool = exported(True, "oneDNN on a CPU", (INFER,), valued=True)
    use_tensorrt: bool = exported(False, "TensorRT on a GPU", (INFER,), valued=True)
    benchmark: bool = exported(False, "time the stages, 20 batches or more", (INFER,), valued=True)
    warmup: int = exported(5, "batches before the timed ones", (INFER,), minimum=0)

    device: str = running(
        "auto",
        "where the network runs; auto: a GPU where there is one",
        WITH_NETWORK,
        choices=("auto", "gpu", "cpu"),
    )
    tf32: bool = running(
        False,
        "let GPUs round the inputs of products to TensorFloat-32: faster, other codes",
        WITH_DATA,
    )
    nprocs: int = running(
        0,
        "processes to start on this machine; 0: one for each visible GPU, or one",
        (TRAIN_MULTI,),
        minimum=0,
        limit=MAX_PROCESSES,
    )
    cpu_threads: int = running(
        0,
        "threads for CPU maths; 0: OMP_NUM_THREADS if set, else all cores, shared by processes",
        EVERY,
        minimum=0,
        limit=MAX_PROCESSES,
    )
    output_dir: str = running(
        "./output", "folder of weights, logs, metrics and database codes", WITH_WEIGHTS
    )
    log_path: str | None = running(
        None, "folder of log and metrics (default: OUTPUT_DIR/train or /test)"
    )
    curves: str | None = running(
        None,
        "also write loss, rate, β, MAP and img/s of each epoch to OUTPUT_DIR/train/curves_BIT, "
        "for TensorBoard (package tensorboardX) or VisualDL (default: not)",
        choices=("tensorboard", "visualdl"),
    )
    debug_steps: int = running(50, "steps from one log line to the next", minimum=1)
    save_minutes: float = running(
        5,
        "minutes from one saved state (last_BIT) to the next; 0: not by the clock",
        minimum=0,
        kind=float,
    )
    save_epoch: int = running(
        0,
        "epochs after which a state is saved, too; 0: only at evaluations, stops and by the clock",
        minimum=0,
    )

    info: DatasetInfo | None = None
    paths: OutputPaths | None = None

    @property
    def weights(self) -> str:
        """`--pretrained`, or the best weights of the output folder."""
        return self.pretrained or str(self.paths.weights)

    @property
    def variant(self) -> str:
        """The method's name in logs and records: 'HashNet', or which part of it is left out."""
        without = {"-W": self.no_weighting, "-sgn": self.no_continuation}
        return self.model + "".join(name for name, is_left_out in without.items() if is_left_out)

    def settings(self, command: str = TRAIN_MULTI) -> dict[str, Any]:
        """The settings of one command, name → value."""
        return {name: getattr(self, name) for name in Config.options(command)}

    def changed(self, command: str = TRAIN_MULTI) -> dict[str, Any]:
        """The settings of one command that are neither the defaults nor the data set's."""
        usual = {**self.info.settings(), "backbone": DEFAULT_BACKBONE}
        others = {}
        for name, value in self.settings(command).items():
            if value is not None and value != usual.get(name, getattr(Config, name)):
                others[name] = value
        return others

    def as_yaml(self) -> str:
        """The settings of a training as YAML text that `--config` takes."""
        return yaml.safe_dump(self.settings(TRAIN), sort_keys=False, allow_unicode=True)

    @classmethod
    def options(cls, command: str | None = None) -> dict[str, Option]:
        """The declarations of one command's settings, or of all, by name."""
        found = {f.name: f.metadata["option"] for f in fields(cls) if "option" in f.metadata}
        return {name: o for name, o in found.items() if command in (None, *o.commands)}

    def splits(self, *names: str) -> list[Split]:
        """Splits of the data set: 'train', 'test', 'database'."""
        where = (self.data_path, self.list_path)
        return open_splits(self.info, names, *where, self.num_class, self.seed, self.allow_outside)

    def searched_splits(self) -> list[Split]:
        """The queries' split, where the data set has one, and the database."""
        return self.splits(*(name for name in ("test", "database") if name in self.info.lists))

    def transform(self, train: bool = False) -> Transform:
        """What training images go through, or queries and database."""
        return build_transform(
            self.info.resize, self.resize_size, self.crop_size, self.fast_decode, train
        )

    def loader_options(self, transform: Transform) -> LoaderOptions:
        """How images are loaded for a transform."""
        usual = min(cores_for_each(), MAX_WORKERS)
        threads = usual if self.num_workers is None else self.num_workers
        cache = cache_folder(self.cache_dir, transform.resize) if self.cache_dir else None
        return LoaderOptions(threads, self.on_bad_image == "skip", cache)
