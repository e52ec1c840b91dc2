"""What a training computes, as its settings tell it: what of that changes where one goes on."""

from __future__ import annotations

from typing import Any

from utils.lr_scheduler import scaled_learning_rate
from utils.system.errors import UserError

RECIPE = (
    *("model", "seed", "num_class", "crop_size", "resize_size", "fast_decode"),
    *("alpha", "step_continuation", "learning_rate", "de_step"),
    *("optimizer", "momentum", "weight_decay", "topK", "exclude_self", "amp"),
)
"""Settings that decide what a training computes, and which of its weights are the best.

`batch_size` and `sampling` count too, unless they come to the same (`differences`). Not so the
number of epochs, which may grow, nor how often is evaluated and saved, nor the machine: device,
threads, cache, folders.
"""


def differences(saved: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What a training computes otherwise than the saved one that it takes up.

    The number of processes is not among it: a training may go on with another one
    (`change_of_ranks`).

    Args:
        saved: settings of the saved training by name, `ranks` (how many trained) and `data`
            (what its data was: name → text). What an earlier version did not save is not compared.
        now: the same of this run, complete.

    Returns:
        A line for each difference.

    Raises:
        UserError: what was saved are no settings.
    """
    for name in ("batch_size", "learning_rate", "sampling", "ranks", "data"):
        if name in saved and type(saved[name]) is not type(now[name]):
            raise UserError(f"the saved state's {name} is {saved[name]!r}")
    names = [*RECIPE, *_sampling_settings(saved, now)]
    data = saved.get("data") or {}
    if not data:
        names.append("dataset")
    changed = [
        f"{name} is {now[name]}, the saved training had {saved[name]}"
        for name in names
        if name in saved and saved[name] != now[name]
    ]
    return changed + [
        f"the {name} is {value}, the saved training had {data[name]}"
        for name, value in now["data"].items()
        if name in data and data[name] != value
    ]


def _sampling_settings(saved: dict[str, Any], now: dict[str, Any]) -> list[str]:
    if "sampling" not in saved:
        return ["batch_size"]
    names = []
    if saved["ranks"] > 1 and now["ranks"] > 1:  # of one rank, both samplings are the same
        names.append("sampling")
    if pictures_of_a_walk(saved) != pictures_of_a_walk(now) or now["sampling"] == "replicate":
        names.append("batch_size")
    return names


def pictures_of_a_walk(settings: dict[str, Any]) -> int:
    """Pictures by which a step comes forward in an epoch's order; `ranks` is among the settings.

    With `replicate` each rank walks an order of its own.
    """
    shared = settings.get("sampling", "shard") == "shard"
    return settings["batch_size"] * (settings["ranks"] if shared else 1)


def change_of_ranks(saved: dict[str, Any], now: dict[str, Any]) -> str | None:
    """What another number of ranks, or another sampling, changes; None where nothing does.

    Args:
        saved: as for `differences`.
        now: as for `differences`.
    """
    if "sampling" not in saved:
        return None
    before, here = (saved["ranks"], saved["sampling"]), (now["ranks"], now["sampling"])
    if before == here or before[0] == here[0] == 1:
        return None
    pictures, rate = step_of(now)
    pictures_before, rate_before = step_of(saved)
    return (
        f"The saved state is of {before[0]} rank(s) ({before[1]}), this run has {here[0]} "
        f"({here[1]}): pictures a step {pictures_before} → {pictures}, base rate "
        f"{rate_before:g} → {rate:g}; {_order_and_banks(before, here)}"
    )


def step_of(settings: dict[str, Any]) -> tuple[int, float]:
    """Pictures that all ranks see in a step, and the rate of the first epoch."""
    pictures = settings["batch_size"] * settings["ranks"]
    return pictures, scaled_learning_rate(settings["learning_rate"], pictures)


def _order_and_banks(before: tuple[int, str], now: tuple[int, str]) -> str:
    ranks, sampling = now
    if sampling == "shard" or ranks == 1:
        return "pictures come in the order of the seed, dropout draws otherwise, one bank"
    kept = before[0] if before[1] == "replicate" else 1
    banks = "every rank has its bank" if kept >= ranks else f"ranks from {kept} begin with rank 0's"
    return f"each rank walks the whole training set in an order of its own, {banks}"


def step_after(step: int, before: int, now: int, rows: int) -> int:
    """Where in an epoch's order a training goes on that comes forward by other steps.

    Rounded down: a few pictures come twice, none is left out.

    Args:
        step: steps done.
        before: pictures by which each came forward (`pictures_of_a_walk`).
        now: pictures by which each will come forward.
        rows: length of the order.
    """
    pictures = min(step * before, rows)
    return -(-rows // now) if pictures == rows else pictures // now
