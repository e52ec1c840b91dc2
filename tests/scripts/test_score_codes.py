"""Codes of other methods: scored as their own loops do, in whatever form they come; compared."""

from __future__ import annotations

import io
import json
import sys
import zipfile

import numpy as np
import oracle_retrieval as oracle
import pytest
from fuzzing import cases, mutated, only_user_errors
from helpers import fail, succeed
from hypothesis import given
from hypothesis import strategies as st

from scripts import score_codes
from utils.codes import pack_codes
from utils.system.errors import UserError

BIT, CLASSES = 12, 4
SIDES = ("query", "database")


def draw(seed=0, queries=15, rows=60, bit=BIT):
    """Real-valued codes, and 0/1 labels, of queries and database; many ties, some of no class."""
    rng = np.random.default_rng(seed)
    codes = [rng.normal(size=(n, bit)) for n in (queries, rows)]
    return codes, [(rng.random((n, CLASSES)) < 0.2).astype(int) for n in (queries, rows)]


def textbook(codes, labels, topk):
    """The loop that deep-hashing code shares: the average precisions, as (sum, T, min(K, R))."""
    (query_signs, signs), found = (np.where(z < 0, -1, 1) for z in codes), []
    for row, of_query in zip(query_signs, labels[0]):
        relevant = (of_query @ labels[1].T > 0).astype(np.float32)
        distance = 0.5 * (signs.shape[1] - row @ signs.T)
        first = relevant[np.argsort(distance, kind="stable")][:topk]
        count = int(first.sum())
        precisions = np.linspace(1, count, count) / (np.flatnonzero(first == 1) + 1.0)
        found.append((precisions.sum(), count, min(topk, relevant.sum())))
    return found


@pytest.fixture()
def score(tmp_path, capsys, monkeypatch):
    """Scores arrays or files (text) in this process: what is written, and what is said."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # figures take their time

    def run_score(codes, labels, *flags):
        words = [*map(str, flags), "--output", str(tmp_path / "out.json")]
        for kind, both in (("codes", codes), ("labels", labels)):
            for side, given_one in zip(SIDES, both):
                if not isinstance(given_one, str):
                    path = tmp_path / f"{side}_{kind}.npy"
                    np.save(path, given_one)
                    given_one = str(path)
                words += [f"--{side}-{kind}", given_one]
        capsys.readouterr()
        score_codes.score(score_codes.parse_arguments(words))
        written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
        return written, capsys.readouterr().out

    return run_score


@pytest.mark.parametrize("topk", [1, 7, 60])
def test_every_protocol_is_the_textbook_s_number(score, topk):
    codes, labels = draw(2)
    found = textbook(codes, labels, topk)
    assert any(count == 0 for _, count, _ in found), "else two protocols would be one"
    hits = [total / count for total, count, _ in found if count]
    signs = [np.where(z < 0, -1, 1).tolist() for z in codes]
    numbers = [rows.tolist() for rows in labels]
    expected = {
        "hashnet": sum(hits) / len(found),
        "skip-empty": np.mean(hits),
        "min-k-relevant": np.mean([total / most if most else 0 for total, _, most in found]),
        "tie-averaged": oracle.evaluate(signs[0], numbers[0], signs[1], numbers[1], topk)[
            "map_tie_averaged"
        ],
    }
    for protocol, value in expected.items():
        written, said = score(codes, labels, "--topK", topk, "--protocol", protocol)
        assert written["headline"] == {protocol: pytest.approx(value, rel=0, abs=1e-15)}
        assert f"protocol:{protocol}, MAP:{value:.3f}" in said.splitlines()[-1]
        assert written["map"] == pytest.approx(expected["hashnet"], rel=0, abs=1e-15)


def forms(folder, codes, labels):
    """The same codes and labels as files of every kind, with the flags that say so."""
    signs = [np.where(z < 0, -1, 1) for z in codes]
    yield signs, labels, []
    yield [z.astype(np.float32) for z in codes], [rows.astype(bool) for rows in labels], []
    yield [s.astype(np.int8) for s in signs], labels, ["--bit", BIT]
    for kind in (bool, np.uint8, float):
        yield [(s > 0).astype(kind) for s in signs], labels, ["--bits01"]
    yield list(map(pack_codes, codes)), labels, ["--packed", "--bit", BIT]
    named = dict(zip(("q", "d", "ql", "dl"), (*signs, *labels)))
    for name, save in (("a", np.savez), ("b", np.savez_compressed)):
        path = f"{folder / name}.npz"
        save(path, **named)
        yield [f"{path}:q", f"{path}:d"], [f"{path}:ql", f"{path}:dl"], []
    for name, array in named.items():
        np.savetxt(folder / f"{name}.csv", array, "%d", ",", encoding="utf-8")
    files = [str(folder / f"{name}.csv") for name in named]
    yield files[:2], files[2:], []


def scored(written):
    """What is written, without the files' names."""
    return {key: value for key, value in written.items() if key != "protocol"}


def test_the_same_codes_in_any_form_are_one_result(score, tmp_path):
    codes, labels = draw()
    results = [scored(score(*form, *flags)[0]) for *form, flags in forms(tmp_path, codes, labels)]
    assert len(results) == 10 and all(result == results[0] for result in results)
    assert results[0]["bit"] == BIT


def test_matlab_s_files_are_read(score, tmp_path):
    io_of = pytest.importorskip("scipy.io", reason="scipy is not installed")
    sparse = pytest.importorskip("scipy.sparse")
    codes, labels = draw()
    named = {"q": codes[0], "d": codes[1], "ql": labels[0], "dl": sparse.csc_matrix(labels[1])}
    path = tmp_path / "all.mat"
    io_of.savemat(path, {**named, "cell": np.array([1, "a"], object)}, do_compression=True)
    found, _ = score([f"{path}:q", f"{path}:d"], [f"{path}:ql", f"{path}:dl"])
    assert scored(found) == scored(score(codes, labels)[0])
    for name, message in (("cell", "object array"), ("", "holds q, d, ql, dl, cell; name one")):
        with pytest.raises(UserError, match=message):
            score_codes.read_array(f"{path}:{name}" if name else str(path))


def test_matlab_s_format_7_3_is_told(tmp_path):
    pytest.importorskip("scipy.io", reason="scipy is not installed")
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM"
    (tmp_path / "a.mat").write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(UserError, match=r"a\.mat: MATLAB's format 7\.3, .*: save with -v7"):
        score_codes.read_array(f"{tmp_path}/a.mat:q")


def test_class_numbers_are_labels_of_one_class_each(score):
    codes, _ = draw()
    numbers = [np.arange(len(z)) % 3 + 1 for z in codes]
    one_hot = [np.eye(4, dtype=int)[each][:, 1:] for each in numbers]
    expected = scored(score(codes, one_hot)[0])
    for both in (numbers, [each[:, None].astype(float) for each in numbers]):
        assert scored(score(codes, both, "--classes")[0]) == expected


def test_each_image_of_a_database_looks_for_the_others(score):
    (_, codes), (_, labels) = draw()
    itself, _ = score([codes, codes], [labels, labels], "--topK", 1)
    others, _ = score([codes, codes], [labels, labels], "--topK", 1, "--exclude-self")
    assert others["queries_leaving_out_a_row"] == 60 and others["map"] < itself["map"]
    with pytest.raises(UserError, match="--exclude-self: query i is not image i of the database"):
        score([codes, codes[::-1]], [labels, labels[::-1]], "--exclude-self")


def wrong_mixes():
    """Changes of sound arrays, flags, and what the line says."""
    codes, labels = draw()
    signs, bits = ([np.where(z < 0, low, 1) for z in codes] for low in (-1, 0))
    packed, nan = list(map(pack_codes, codes)), codes[0].copy()
    nan[3, 5] = np.nan
    numbers = [rows.argmax(axis=1) for rows in labels]
    wide = [np.ones((len(z), 513)) for z in codes]
    yield bits, labels, [], r"query_codes\.npy: nothing but 0 and 1: .* --bits01"
    yield signs, labels, ["--bits01"], r"row 0, column \d+ holds -1; expected 0 or 1, as --bits01"
    yield packed, labels, [], "uint8 has no signs: packed codes need --packed"
    yield signs, labels, ["--packed"], "expected packed codes"
    yield packed, labels, ["--packed", "--bit", 11], "no packed codes of 11 bits, but of up to 16"
    yield packed, labels, ["--packed", "--bit", 0], "no packed codes of 0 bits, but of up to 16"
    yield [np.ones((15, 65), np.uint8)] * 2, labels, ["--packed"], r"query_codes\.npy: 520-bit"
    yield packed, labels, ["--packed", "--bit", 17], "no packed codes of 17 bits, but of up to 16"
    yield signs, labels, ["--bit", 16], r"shape \(15, 12\); expected codes \[n, 16\]"
    yield wide, labels, [], "513-bit codes: the code length must be from 1 to 512"
    yield [signs[0][:, :9], signs[1]], labels, [], "query codes have 9 bits, database codes 12"
    yield [signs[0][:9], signs[1]], labels, [], "9 query codes, but 15 rows of query labels"
    yield signs, [labels[0][:, :3], labels[1]], [], "3 classes, database labels 4"
    yield signs, numbers, [], r"query_labels\.npy: no 0/1 labels .*: class numbers need --classes"
    yield signs, [n[:, None] for n in numbers], [], "class numbers need --classes"
    yield signs, labels, ["--classes"], "4 columns; with --classes expected one"
    yield signs, [numbers[0] - 0.5, numbers[1]], ["--classes"], r"row 0 holds .*; expected class n"
    yield (
        signs,
        [numbers[0] + np.inf, numbers[1]],
        ["--classes"],
        "row 0 holds inf; expected class",
    )
    yield signs, [2 * labels[0] - 1, labels[1]], [], "query labels: row .* holds -1; expected 0 or"
    yield [nan, codes[1]], labels, [], "row 3, column 5 holds nan; expected numbers"
    yield [codes[0].astype(object), codes[1]], labels, [], "Object arrays cannot be loaded"
    yield [codes[0] + 1j, codes[1]], labels, [], "complex128 array .* expected numbers"
    yield [codes[0][None], codes[1]], labels, [], r"shape \(1, 15, 12\); expected numbers"
    yield [codes[0][:0], codes[1]], [labels[0][:0], labels[1]], [], "there are no query codes"
    yield codes, labels, ["--topK", 0], "top K = 0"


@pytest.mark.parametrize(("codes", "labels", "flags", "message"), list(wrong_mixes()))
def test_wrong_mixes_are_one_line_each(score, codes, labels, flags, message):
    with pytest.raises(UserError, match=message) as caught:
        score(codes, labels, *flags)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "codes and labels, four files, are needed"),
        (["--query-codes", "q.npy"], "four files"),
        (["--compare", "a.json", "b.json", "--packed"], "--compare takes two metrics files"),
        (["--packed", "--bits01"], "not allowed with argument"),
        (
            [f"--{s}-{k}=a.npy" for s in SIDES for k in ("codes", "labels")] + ["--output=a.txt"],
            "--output a.txt: expected a name that ends with .json",
        ),
    ],
)
def test_flags_that_do_not_go_together(words, message):
    with pytest.raises(UserError, match=message):
        score_codes.parse_arguments(words)


def test_files_that_are_not_what_their_names_say(tmp_path, monkeypatch):
    np.savez(tmp_path / "two.npz", a=np.ones(3), b=np.ones(3))
    (tmp_path / "header.csv").write_text("bit1,bit2\n1,0\n", encoding="utf-8")
    (tmp_path / "ragged.csv").write_text("1,0\n1\n", encoding="utf-8")
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    (tmp_path / "text.npy").write_text("1,0\n", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(1000))
    monkeypatch.setattr(score_codes, "MAX_ARRAY", 900)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    (tmp_path / "a.mat").write_bytes(b"")
    for name, message in (
        ("two.npz", r"two\.npz: holds a, b; name one, as .*two\.npz:NAME"),
        ("two.npz:c", "holds a, b; name one"),
        ("bomb.npz", "a has 1,000 bytes, more than 900"),
        ("header.csv", r"header\.csv: not a \.csv file of numbers: could not convert"),
        ("ragged.csv", "number of columns changed"),
        ("empty.csv", "no data"),
        ("text.npy", "not a .npy file of numbers: EOF: reading magic"),
        ("a.mat", "pip install scipy"),
        ("gone.npy", "missing; expected a .npy file of numbers"),
        ("codes.pt", r"expected a file \.npy, \.csv, \.npz:NAME or \.mat:NAME"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            score_codes.read_array(str(tmp_path / name))
        assert "\n" not in str(caught.value) and name.split(":")[0] in str(caught.value)


def test_codes_that_are_all_ones_are_told(score):
    codes, labels = draw()
    assert "no number is below 0" in score([abs(z) for z in codes], labels)[1]
    assert "no number is below 0" not in score(codes, labels)[1]


@cases(300)
@given(st.sampled_from(["npy", "npz", "csv"]), st.integers(0, 2**32))
def test_fuzzed_arrays(scratch, kind, seed):
    codes, content = draw()[0][0].round(1), io.BytesIO()
    save = {"npy": np.save, "npz": np.savez_compressed}.get(kind)
    save(content, codes) if save else np.savetxt(content, codes, "%.1f", ",")
    path = scratch / f"changed.{kind}"
    path.write_bytes(mutated(content.getvalue(), seed))
    only_user_errors(lambda: score_codes.read_array(str(path)), path)


@pytest.fixture()
def results(score, tmp_path):
    """Metrics files: of codes, of better ones, and of these with other K, labels and queries."""
    codes, labels = draw(3, queries=40)
    codes[1][:40], labels[1][:40] = codes[0], labels[0]
    better = [z + 0.7 * rows @ np.ones((CLASSES, 1)) for z, rows in zip(codes, labels)]
    better = [np.concatenate([z, 3 * rows - 1.5], axis=1) for z, rows in zip(better, labels)]
    other = [labels[0], labels[1][::-1]]
    for name, *arguments in (
        ("plain", codes, labels, "--name", "plain"),
        ("better", better, labels, "--name", "better"),
        ("k", codes, labels, "--topK", 5),
        ("labels", codes, other),
        ("queries", [codes[0][:9], codes[1]], [labels[0][:9], labels[1]]),
        ("self", codes, labels, "--exclude-self", "--dataset", "elsewhere"),
    ):
        score(*arguments)
        (tmp_path / "out.json").rename(tmp_path / f"{name}.json")
    return tmp_path


def compare(results, capsys, *words):
    """What --compare says of files in the folder."""
    paths = [str(results / f"{name}.json") for name in words[:2]]
    capsys.readouterr()
    score_codes.compare(score_codes.parse_arguments(["--compare", *paths, *words[2:]]))
    return capsys.readouterr().out


def test_two_results_stand_side_by_side_with_the_interval_of_their_difference(results, capsys):
    a, b = (json.loads((results / f"{name}.json").read_text()) for name in ("plain", "better"))
    said = compare(results, capsys, "plain", "better")
    assert f"| map                       | {a['map']:.4f} | {b['map']:.4f} |" in said
    assert f"B - A {b['map'] - a['map']:+.4f}" in said and said.endswith(": B is better\n")
    assert compare(results, capsys, "plain", "better") == said, "another draw, another interval"
    assert ": A is better\n" in compare(results, capsys, "better", "plain")
    assert "+0.0000 to +0.0000: neither is told" in compare(results, capsys, "plain", "plain")
    for protocol, key in (("tie-averaged", "map_tie_averaged"), ("skip-empty", "map")):
        said = compare(results, capsys, "plain", "better", "--protocol", protocol)
        means = [np.array(each["average_precision"][key]) for each in (a, b)]
        means = [v[v > 0].mean() if protocol == "skip-empty" else v.mean() for v in means]
        assert f"MAP ({protocol}): A {means[0]:.4f}, B {means[1]:.4f}, " in said


def test_what_differs_is_refused_or_told(results, capsys):
    for name, what in (("k", "topk"), ("labels", "labels_sha256"), ("queries", "queries, labels")):
        with pytest.raises(UserError, match=rf"cannot be compared: {what}.* differ"):
            compare(results, capsys, "plain", name)
    said = compare(results, capsys, "plain", "self")
    assert "Another protocol: dataset: data and elsewhere" in said
    assert "Another protocol: queries_leaving_out_a_row: 0 and 40" in said
    sound = json.loads((results / "plain.json").read_text(encoding="utf-8"))
    for changes in (
        {"average_precision": None},
        {"queries": 41},
        {"map": "high"},
        {"protocol": 3},
        {"average_precision": dict.fromkeys(sound["average_precision"], [2.0] * 40)},
        {"average_precision": dict.fromkeys(sound["average_precision"], [np.nan] * 40)},
        {"average_precision": {key: [] for key in sound["average_precision"]}, "queries": 0},
    ):
        (results / "wrong.json").write_text(json.dumps({**sound, **changes}), encoding="utf-8")
        with pytest.raises(UserError, match=r"wrong\.json: not metrics of --eval"):
            compare(results, capsys, "plain", "wrong")


def test_the_command_needs_no_paddle_and_says_what_is_wrong_in_a_line(tmp_path, run):
    codes, labels = draw()
    words = ["--name", "theirs"]
    for side, z, rows in zip(SIDES, codes, labels):
        np.save(tmp_path / f"{side}.npy", z)
        np.savetxt(tmp_path / f"{side}.csv", rows, "%d", ",")
        words += [f"--{side}_codes", tmp_path / f"{side}.npy"]
        words += [f"--{side}-labels", tmp_path / f"{side}.csv"]
    said = succeed("scripts/score_codes.py", *words, "--output", tmp_path / "out/theirs_12.json")
    assert said.splitlines()[-1].startswith("EVAL-theirs, bit:12, dataset:data, protocol:hashnet, ")
    assert (tmp_path / "out/theirs_12.json").is_file() and "Hit rate @1: " in said
    assert (tmp_path / "out/theirs_12.png").is_file() or "pip install matplotlib" in said
    line = fail("scripts/score_codes.py", *words, "--bits01")
    assert "query.npy: row 0, column 0 holds" in line
    loaded = run("-c", "import sys, scripts.score_codes; print('paddle' in sys.modules)")
    assert loaded.stdout == "False\n"
