"""Signals that stop a run have their usual effect, however the suite was started.

A shell lets a command in the background ignore Ctrl-C, and `nohup` lets it ignore SIGHUP. Processes
inherit that, and `nas` respects it, so tests that stop a run would wait in vain.
"""

import signal

for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)
