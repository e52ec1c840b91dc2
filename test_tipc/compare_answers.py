"""Compares two JSON documents of predict.py and infer.py: `compare_answers.py ONE OTHER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def answers(path: str) -> list[tuple]:
    """For each query: its path, and each match's distance, row and picture."""
    document = json.loads(Path(path).read_text(encoding="utf-8"))
    return [
        (found["query"], [(m["distance"], m["row"], m["picture"]) for m in found["matches"]])
        for found in document["results"]
    ]


def main() -> int:
    """Exit status 0 where the answers are the same, 1 where not."""
    one, other = answers(sys.argv[1]), answers(sys.argv[2])
    if one == other and one:
        print(f"same answers for {len(one)} queries: {sys.argv[1]}, {sys.argv[2]}")
        return 0
    for ours, theirs in zip(one, other):
        if ours != theirs:
            print(f"different answers for {ours[0]}:\n  {ours[1]}\n  {theirs[1]}")
    print(f"different answers: {len(one)} and {len(other)} queries")
    return 1


if __name__ == "__main__":
    sys.exit(main())
