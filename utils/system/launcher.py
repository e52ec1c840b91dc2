"""Runs a function on every rank: those a launcher has started, or processes started here.

Paddle's own `dist.spawn` starts them. Watching over them is done here, since Paddle waits for ever
for a rank that does not end when asked to, and reports the errors that a failure causes in the
other ranks as readily as the failure.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import multiprocessing
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

import paddle.distributed as dist

from utils.system.errors import EXIT_USER_ERROR, UserError
from utils.system.runtime import has_launcher, keep_sigterm, usable_gpus
from utils.system.signals import EXIT_SIGNAL, Terminated, take_signals

SETTLE_SECONDS = 1.0
"""From the first failure seen to the search for its cause: one rank's end fails the others."""
_STOPPED = (EXIT_SIGNAL + signal.SIGINT, EXIT_SIGNAL + signal.SIGTERM)
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


def run_on_all_ranks(
    function: Callable[[Any], int], argument: Any, processes: int, device: str
) -> int:
    """Runs `function(argument)` on all ranks; returns the exit status when all have ended.

    Under `python -m paddle.distributed.launch` this process is one of the ranks. Otherwise the
    ranks are started on this machine; one rank is this very process.

    Args:
        function: importable by name; returns the exit status.
        argument: can be pickled.
        processes: how many ranks to start; 0: one for each visible GPU, or one.
        device: 'auto', 'gpu' or 'cpu', what the ranks will choose.

    Raises:
        UserError: `processes` contradicts the launcher or the GPUs, a rank raised one, or a rank
            was killed.
        RuntimeError: a rank failed otherwise; its traceback is the message.
        KeyboardInterrupt, Terminated: a signal has ended the ranks in the middle of something.
    """
    if has_launcher():
        if processes not in (0, dist.get_world_size()):
            raise UserError(
                f"--nprocs {processes}: the launcher has started {dist.get_world_size()} processes"
            )
        if dist.get_world_size() > 1:
            _join_world()
        return function(argument)
    gpus = 0 if device == "cpu" else usable_gpus()
    if gpus and processes > gpus:
        raise UserError(f"--nprocs {processes}: {gpus} GPUs are visible; --device cpu needs none")
    ranks = processes or gpus or 1
    if ranks == 1:
        return function(argument)
    failures = multiprocessing.get_context("spawn").SimpleQueue()
    with warnings.catch_warnings(), _SignalsToRanks() as signals:
        warnings.simplefilter("ignore")  # Paddle's: that it will compute on the CPU
        context = dist.spawn(
            _run_rank,
            args=(function, argument, failures),
            nprocs=ranks,
            join=False,
            backend="nccl" if gpus else "gloo",
        )
        signals.pass_on_to(context.processes)
        try:
            failed = _first_failure(context.processes)
        finally:
            _end(context.processes)
    return _status(failed, context.processes, failures, signals.first)


def _join_world() -> None:
    # Paddle shows settings that it has changed itself, and warns that it computes on the CPU.
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        dist.init_parallel_env()


def _run_rank(function: Callable[[Any], int], argument: Any, failures: Any) -> None:
    if sys.platform == "linux":  # nothing else would end it if the parent were killed
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    keep_sigterm()
    try:
        _join_world()
        status = function(argument)
    except UserError as error:
        _leave(failures, EXIT_USER_ERROR, str(error))
    except Exception:
        _leave(failures, 1, f"rank {dist.get_rank()} failed:\n{traceback.format_exc()}")
    if status:
        sys.exit(status)


def _leave(failures: Any, status: int, message: str) -> None:
    failures.put((status, message))
    for loader in multiprocessing.active_children():
        loader.terminate()
    sys.stdout.flush()
    os._exit(status)  # an orderly end was seen to wait until gloo gave up on the other ranks


class _SignalsToRanks:
    """Inside the block Ctrl-C and SIGTERM go to the ranks, as SIGTERM; a second one kills them.

    Ranks that are started inside it know no Ctrl-C, which a terminal sends to all of its
    processes: it is for their parent.

    Attributes:
        first: the number of the first signal; 0 as long as there was none.
    """

    def __init__(self) -> None:
        self.first = 0
        self._processes: list = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _SignalsToRanks:
        self._before = take_signals(self._pass_on)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the ranks inherit it
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def pass_on_to(self, processes: list) -> None:
        """From now on signals go to these; also one that has come already."""
        self._processes = processes
        if signal.SIGINT in self._before:
            signal.signal(signal.SIGINT, self._pass_on)
        if self.first:
            self._send(signal.SIGTERM)

    def _pass_on(self, number: int, _frame: Any) -> None:
        self._send(signal.SIGKILL if self.first else signal.SIGTERM)
        self.first = self.first or number

    def _send(self, number: int) -> None:
        for process in self._processes:
            if process.exitcode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)


def _first_failure(processes: list) -> int | None:
    """Waits until all have ended well (None), or returns the rank whose failure came first."""
    while any(process.exitcode is None for process in processes):
        running = [process.sentinel for process in processes if process.exitcode is None]
        connection.wait(running, timeout=0.5)  # a loading process can keep a sentinel open
        if any(process.exitcode for process in processes):
            time.sleep(SETTLE_SECONDS)
            break
    failed = [rank for rank, process in enumerate(processes) if process.exitcode]
    # A killed rank (its status is below 0) is a cause; one with an error may be a consequence.
    return min(failed, key=lambda rank: processes[rank].exitcode, default=None)


def _end(processes: list) -> None:
    for process in processes:  # what they leave on disk is whole, and asked politely some hang
        process.kill()
    for process in processes:
        process.join()


def _status(failed: int | None, processes: list, failures: Any, signalled: int) -> int:
    """The exit status of the job; raises what it failed of, or what has stopped it."""
    reported, message = (0, "") if failures.empty() else failures.get()  # the first one
    if reported == EXIT_USER_ERROR:
        raise UserError(message)
    statuses = [process.exitcode for process in processes]
    stopped = [status for status in statuses if status in _STOPPED]  # in order, with a word
    if stopped:
        return EXIT_SIGNAL + signalled if signalled else max(stopped)
    if signalled:
        raise Terminated if signalled == signal.SIGTERM else KeyboardInterrupt
    if failed is None:
        return 0
    if statuses[failed] < 0:
        name = signal.Signals(-statuses[failed]).name
        raise UserError(
            f"rank {failed} was killed by {name} (the system kills with SIGKILL where memory runs "
            "out); the other ranks were ended; --resume goes on from the last saved state"
        )
    raise RuntimeError(message or f"rank {failed} ended with status {statuses[failed]}")
