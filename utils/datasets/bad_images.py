"""What is wrong with pictures and their cache, said in the run's log; each trouble once."""

from __future__ import annotations

import logging

from utils.datasets.loader import Batches, Loading

AT_MOST = 20
"""Bad pictures named in the log at a time; the metrics file names all."""


class Troubles:
    """Says in a log what loading pictures has met.

    Args:
        loading: how they are loaded.
        log: the run's log.
    """

    def __init__(self, loading: Loading, log: logging.Logger):
        self._loading, self._log = loading, log
        self._said: set[str] = set()

    def left_out(self, left_out: dict[str, list[str]]) -> None:
        """Warns of pictures that have no codes, and of the cache.

        Args:
            left_out: what is wrong with each, by the split's name.
        """
        for name, problems in left_out.items():
            self._say(problems, f"pictures of {name} are left out")
        self._say_cache()

    def replaced(self, batches: Batches) -> list[str]:
        """Warns of training pictures that others stood in for; all ranks call it together.

        Returns:
            What is wrong with each of those met so far.
        """
        problems = list(batches.all_bad().values()) if self._loading.skip_bad else []
        self._say(problems, "training pictures are bad, others take their places")
        self._say_cache()
        return problems

    def _say(self, problems: list[str], what: str) -> None:
        new = [problem for problem in problems if problem not in self._said]
        if new:
            self._log.warning(f"{len(new)} {what}:")
        for problem in new[:AT_MOST]:
            self._log.warning(f"  {problem}")
        if len(new) > AT_MOST:
            self._log.warning(f"  and {len(new) - AT_MOST} more; the metrics file names all")
        self._said.update(new)

    def _say_cache(self) -> None:
        cache = self._loading.cache
        if cache and cache.damaged:
            self._warn_once(f"Picture cache: {cache.folder} is damaged; bad parts are made again")
        if cache and cache.trouble:
            self._warn_once(f"Picture cache: no more pictures are kept: {cache.trouble}")

    def _warn_once(self, line: str) -> None:
        if line not in self._said:
            self._log.warning(line)
        self._said.add(line)
