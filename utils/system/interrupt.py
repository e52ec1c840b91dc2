"""Ctrl-C while a command starts: one line and exit status 130, as later on.

A command imports this before all else, and Ctrl-C then ends it at once: nothing is under way yet.
Before, in the first tens of milliseconds, it is Python itself that starts.
"""

from _signal import SIGINT, default_int_handler, getsignal, signal  # `signal` takes 20 ms to import

from utils.system import end_interrupted

if getsignal(SIGINT) is default_int_handler:  # not ignored, as by `nohup` or a shell's `&`
    signal(SIGINT, lambda number, _frame: end_interrupted(number))
