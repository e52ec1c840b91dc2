"""Fuzzing of what people write: lists, cards, settings, command lines."""

from __future__ import annotations

import pytest
import yaml
from fuzzing import cases, mutated, only_user_errors
from hypothesis import example, given
from hypothesis import strategies as st

from utils.config import PREDICT_COMMAND, TRAIN_COMMAND, parse_config
from utils.config.options import Config
from utils.datasets import open_splits
from utils.datasets.info import CARD_NAME, read_card

pytestmark = pytest.mark.timeout(600)
seeds = st.integers(0, 2**32)

LIST = b"a b.png 0 1 0\n\nfolder/c.png 1 1 0\r\n./d.png  0 0 1\n../e.png 0 1 1\n"
words = st.sampled_from(
    [
        "0",
        "1",
        "2",
        "a.png",
        "../a.png",
        "/a.png",
        "..",
        " ",
        "\t",
        "\n",
        "\r\n",
        "\0",
        "é",
        "\ufeff",
    ]
)
list_texts = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(words, max_size=40).map(lambda parts: " ".join(parts).encode()),
    seeds.map(lambda seed: mutated(LIST, seed)),
)


def write_card(scratch, **entries):
    """A card for lists of three labels."""
    card = {"name": "n", "num_class": 3, "topK": -1, "data_path": str(scratch), **entries}
    (scratch / CARD_NAME).write_text(yaml.safe_dump(card), encoding="utf-8")
    return read_card(str(scratch))


@cases(700)
@given(list_texts, st.booleans())
@example(LIST, False)
@example(LIST, True)
def test_lists(scratch, content, allow_outside):
    card = write_card(scratch)
    path = scratch / "train.txt"
    path.write_bytes(content)
    only_user_errors(
        lambda: open_splits(card, ["train"], str(scratch), allow_outside=allow_outside), path
    )


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-10, 10**30),
        st.floats(),
        st.text(max_size=8),
        st.binary(max_size=4),
        st.dates(),
        st.sampled_from(["coco_lite", "list", "cifar10", "square", "1e-3", "rest", "train", 0, 16]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
CARD_KEYS = [
    *("name", "num_class", "topK", "data_path", "kind", "lists", "resize", "protocol", "classes"),
    *("provenance", "unknown"),
]
YAML_WORDS = [
    *"[]{}|>#%~'\"a",
    *(
        "- ",
        ": ",
        "? ",
        "\n",
        "  ",
        "---",
        "&a ",
        "*a",
        "<<: ",
        "2001-99-99",
        "1:60",
        "0o8",
        ".nan",
    ),
    *("!!int ", "!!bool ", "!!float ", "!!binary ", "!!timestamp ", "!!set ", "!!omap "),
    "!!python/name:os ",
]
yaml_texts = st.one_of(
    st.binary(max_size=120),
    st.text(max_size=120).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(
        st.sampled_from(YAML_WORDS),
        max_size=25,
    ).map(lambda parts: "".join(parts).encode()),
)


def yaml_of(keys):
    """YAML bytes of a mapping with known keys, its values of any kind; some of them mutated."""
    mappings = st.dictionaries(st.sampled_from(keys), values, max_size=6)
    texts = mappings.map(lambda entries: yaml.safe_dump(entries, allow_unicode=True).encode())
    return st.one_of(yaml_texts, texts, st.builds(mutated, texts, seeds))


GOOD_CARD = yaml.safe_dump(
    {"name": "n", "num_class": 3, "topK": -1, "data_path": ".", "classes": ["a", "b", "c"]}
).encode()


@cases(700)
@given(st.one_of(yaml_of(CARD_KEYS), seeds.map(lambda seed: mutated(GOOD_CARD, seed))))
@example(GOOD_CARD)
@example(b"a: &a [x]\nb: [*a, *a]\n")
@example(b"[" * 100_000)
@example(b"a: " + b"9" * 10_000)
def test_cards(scratch, content):
    path = scratch / CARD_NAME
    path.write_bytes(content)
    only_user_errors(lambda: read_card(str(scratch)), path)


@cases(700)
@given(yaml_of(sorted(Config.__dataclass_fields__)))
def test_settings_files(scratch, content):
    path = scratch / "settings.yaml"
    path.write_bytes(content)
    for command in (TRAIN_COMMAND, PREDICT_COMMAND):
        only_user_errors(lambda c=command: parse_config(c, ["--config", str(path)]), "")


flags = st.sampled_from([f"--{name}" for name in Config.__dataclass_fields__] + ["--", "-bs", "-e"])
arguments = st.one_of(flags, st.text(st.characters(exclude_characters="\0"), max_size=300))


@cases(400)
@given(st.lists(arguments.filter(lambda word: word not in ("-h", "--help")), max_size=5))
@example(["--dataset", "x" * 300])
@example(["--config", "x" * 300])
@example(["--dataset", "/root/" + "y/" * 3000])
def test_command_lines(words):
    only_user_errors(lambda: parse_config(TRAIN_COMMAND, words), "")
