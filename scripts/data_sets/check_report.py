"""What a check says: in lines for people, in JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from scripts.data_sets.check import Checked
from scripts.data_sets.findings import NOTES, PROBLEMS, Report
from scripts.data_sets.report import tell_overlaps, tell_rows

SHOWN, KEPT = 5, 10_000
"""Places of a kind of finding on the console and in the report file."""


def tell_check(checked: Checked, classes: Sequence[str], accepted: Sequence[str]) -> list[str]:
    """What a check has found, for people: numbers first, then what is wrong, then notes."""
    report = checked.report
    pairs = report.facts["pairs"]
    lines = tell_rows(checked.lists, classes) + tell_overlaps(checked.overlaps, checked.lists)
    lines.append(f"similar pairs among training pictures: {pairs['similar_training_pairs']:.4f}")
    chance = f"MAP of a random ranking: {pairs['chance_map']:.4f}"
    if checked.overlaps.shared("test", "database"):
        chance += f", with --exclude-self {pairs['chance_map_without_self']:.4f}"
    lines.append(chance)
    if pairs["queries_without_relevant"]:
        lines.append(
            f"{pairs['queries_without_relevant']:,} queries share a label with no other picture "
            "of the database"
        )
    wrong = report.wrong(accepted)
    lines += _tell_findings("WRONG", {kind: PROBLEMS[kind] for kind in wrong}, report)
    rest = {**PROBLEMS, **NOTES}
    notes = {kind: rest[kind] for kind in rest if kind in report.findings and kind not in wrong}
    return lines + _tell_findings("note", notes, report)


def _tell_findings(title: str, kinds: Mapping[str, str], report: Report) -> list[str]:
    lines = []
    for kind, meaning in kinds.items():
        places = report.findings[kind]
        lines.append(f"{title}: {kind} ({meaning}): {len(places):,}")
        lines += [f"  {where}" for where in places[:SHOWN]]
        if len(places) > SHOWN:
            lines.append(f"  … {len(places) - SHOWN:,} more in the report")
    return lines


def as_json(report: Report, accepted: Sequence[str]) -> str:
    """The report file: the facts, and of each kind of finding the number and the places."""
    wrong = report.wrong(accepted)
    findings = {
        kind: {"count": len(places), "wrong": kind in wrong, "places": places[:KEPT]}
        for kind, places in report.findings.items()
    }
    content = {**report.facts, "accepted": list(accepted), "findings": findings, "ok": not wrong}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
