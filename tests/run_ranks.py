"""Runs a function of multi_ranks.py on several ranks: `run_ranks.py FUNCTION JSON RANKS`.

A main of its own, as the commands have: the ranks' processes import it before anything of Paddle.
"""

from __future__ import annotations

import json
import sys

from utils.system.errors import run_command
from utils.system.runtime import start_paddle


def main() -> int:
    """Starts Paddle, hands over to all ranks."""
    function, argument, ranks = sys.argv[1:]
    start_paddle()
    import multi_ranks

    from utils.system.launcher import run_on_all_ranks

    return run_on_all_ranks(getattr(multi_ranks, function), json.loads(argument), int(ranks), "cpu")


if __name__ == "__main__":
    sys.exit(run_command(main))
