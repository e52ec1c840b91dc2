"""Runs a function on every rank: those a launcher has started, or processes started here.

Paddle's own `dist.spawn` starts them. Watching over them is done here, since Paddle waits for ever
for a rank that does not end when asked to, and reports the errors that a failure causes in the
other ranks as readily as the failure.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import multiprocessing
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from multiprocessing import connection
from typing import Any

import paddle.distributed as dist

from utils.system.errors import (
    EXIT_SIGNAL,
    EXIT_USER_ERROR,
    UserError,
    first_line,
    raise_signal,
    signals_handled_by,
)
from utils.system.logger import log_to_console
from utils.system.runtime import has_launcher, keep_sigterm, share_cores, usable_gpus

SETTLE_SECONDS = 1.0
"""From the first failure seen to the search for its cause: one rank's end fails the others."""
_LEFT_OVER = (
    "PADDLE_DISTRI_BACKEND",
    "PADDLE_MASTER",
    "MASTER_ADDR",
    "MASTER_PORT",
    "PADDLE_LOCAL_SIZE",  # what cores are shared among
)
"""What Paddle and we would obey, whoever has set it, where ranks are started here."""
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
_log = logging.getLogger(__name__)


def run_on_all_ranks(
    function: Callable[[Any], int], argument: Any, processes: int, device: str
) -> int:
    """Runs `function(argument)` on all ranks; returns the exit status when all have ended.

    Under `python -m paddle.distributed.launch` this process is one of them. Otherwise as many
    `processes` are started on this machine (0: one for each visible GPU, or one), to which
    function and argument must be importable and picklable; one rank is this very process.

    Raises:
        UserError: `processes` contradicts the launcher or the GPUs, a rank raised one, or was
            killed. `RuntimeError` with the traceback of a rank that failed otherwise.
    """
    if has_launcher():
        if processes not in (0, dist.get_world_size()):
            raise UserError(
                f"--nprocs {processes}: the launcher has started {dist.get_world_size()} processes"
            )
        if dist.get_world_size() > 1:
            if device == "cpu" or not usable_gpus():  # Paddle for GPUs would ask for NCCL
                os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
            _join_world()
        return _run_launched(function, argument)
    gpus = 0 if device == "cpu" else usable_gpus()
    if gpus and processes > gpus:
        raise UserError(f"--nprocs {processes}: {gpus} GPUs are visible; --device cpu needs none")
    ranks = processes or gpus or 1
    if ranks == 1:
        return function(argument)
    for name in _LEFT_OVER:
        os.environ.pop(name, None)
    if "CUDA_VISIBLE_DEVICES" in os.environ:  # Paddle takes no blanks in it
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ["CUDA_VISIBLE_DEVICES"].replace(" ", "")
    return _spawn(function, argument, ranks, "nccl" if gpus else "gloo")


def _run_launched(function: Callable[[Any], int], argument: Any) -> int:
    try:
        return function(argument)
    except RuntimeError as error:
        source, _, what = first_line(error).partition("] ")
        if "/gloo/" not in source:
            raise
        raise UserError(
            f"rank {dist.get_rank()} has lost another rank ({what}); --resume goes on from the "
            "last saved state"
        ) from error


def _spawn(function: Callable[[Any], int], argument: Any, ranks: int, backend: str) -> int:
    failures = multiprocessing.get_context("spawn").SimpleQueue()
    signals: list[int] = []
    processes: list = []

    def pass_on(number: int, _frame: Any = None) -> None:
        signals.append(number)  # the first one asks the ranks to stop, the second kills
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                if process.exitcode is None:
                    os.kill(process.pid, signal.SIGTERM if len(signals) == 1 else signal.SIGKILL)

    with warnings.catch_warnings(), signals_handled_by(pass_on):
        warnings.simplefilter("ignore")  # Paddle's: that it will compute on the CPU
        log_to_console(json=False)
        _log.info(f"Starting {ranks} processes...")
        arguments = (function, argument, failures)
        share_cores(ranks)
        with _ctrl_c_blocked_in_children():
            context = dist.spawn(_run_rank, arguments, nprocs=ranks, join=False, backend=backend)
        processes += context.processes
        if signals:  # it came while they were started
            pass_on(signals.pop())
        try:
            statuses = _wait(processes)
        finally:
            for process in processes:  # what they leave on disk is whole, and some hang if asked
                process.kill()
                process.join()
    return _status(statuses, failures, signals)


@contextlib.contextmanager
def _ctrl_c_blocked_in_children() -> Iterator[None]:
    """A terminal sends it to all processes; it is for this one, which gets it after the block."""
    mask = getattr(signal, "pthread_sigmask", None)  # Windows has none
    before = mask and mask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        if mask:
            mask(signal.SIG_SETMASK, before)


def _join_world() -> None:
    # Paddle shows settings that it has changed itself, and warns that it computes on the CPU.
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        dist.init_parallel_env()


def _run_rank(function: Callable[[Any], int], argument: Any, failures: Any) -> None:
    if sys.platform == "linux":  # nothing else would end it if the parent were killed
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != multiprocessing.parent_process().pid:  # it was, while this one started
            os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_sigterm()
    try:
        _join_world()
        status = function(argument)
    except UserError as error:
        failures.put((EXIT_USER_ERROR, str(error)))
    except Exception:
        failures.put((1, f"rank {dist.get_rank()} failed:\n{traceback.format_exc()}"))
    else:
        sys.exit(status)
    sys.stdout.flush()
    os._exit(1)  # an orderly end was seen to wait until gloo gave up on the other ranks


def _wait(processes: list) -> list[int]:
    """Waits for all ranks or the first failure; returns exit statuses, 0 of one that goes on."""
    while any(p.exitcode is None for p in processes) and not any(p.exitcode for p in processes):
        running = [process.sentinel for process in processes if process.exitcode is None]
        connection.wait(running, timeout=0.5)  # a rank's own child can keep a sentinel open
    if any(process.exitcode for process in processes):
        time.sleep(SETTLE_SECONDS)
    return [process.exitcode or 0 for process in processes]


def _status(statuses: list[int], failures: Any, signals: list[int]) -> int:
    """The exit status of the job; raises what it failed of, or what has stopped it."""
    reported, message = (0, "") if failures.empty() else failures.get()  # the first one
    if reported == EXIT_USER_ERROR:
        raise UserError(message)
    if max(statuses) > EXIT_SIGNAL:  # stopped in order, with a word
        return EXIT_SIGNAL + signals[0] if signals else max(statuses)
    if signals:
        raise_signal(signals[0])
    if min(statuses) < 0:  # a killed rank is the cause; the errors of others follow from it
        rank, name = statuses.index(min(statuses)), signal.Signals(-min(statuses)).name
        raise UserError(
            f"rank {rank} was killed by {name} (the system kills with SIGKILL where memory runs "
            "out); the other ranks were ended; --resume goes on from the last saved state"
        )
    if any(statuses):
        raise RuntimeError(message or f"the ranks ended with the statuses {statuses}")
    return 0
