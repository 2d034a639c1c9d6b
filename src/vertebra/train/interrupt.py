"""Ctrl-C and SIGTERM: stop after the present step if that comes soon, and at once if it does not.

A person at the keyboard waits 1.5 seconds; a scheduler that takes a machine away gives longer, and
what was learnt since the last checkpoint is worth 8 of the 10 seconds that spot machines promise.

Python runs signal handlers between bytecodes of the main thread, and a backward pass is a single
call that can last many seconds. So a second thread is woken through the signal's file descriptor
and ends the process when the main thread has not reacted in time; checkpoints being complete or
absent, nothing is torn by that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

from vertebra.core import STOPPED

_STOP = {signal.SIGINT, signal.SIGTERM}  # a scheduler sends the second before it kills
# Seconds to reach the end of a step after each.
GRACE = {signal.SIGINT: 1.5, signal.SIGTERM: 8.0}
SAVING_GRACE = 60.0
_SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it


class Interrupt:
    """Whether the user asked to stop; a second request is not waited for."""

    def __init__(self) -> None:
        self.requested = False
        self.saving = False


@contextlib.contextmanager
def catching(farewell: Callable[[], str]) -> Iterator[Interrupt]:
    """Catch Ctrl-C for the while; print ``farewell`` if the process has to be ended the hard way.

    Outside the main thread, where Python allows no handlers, nothing is caught.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    finished = threading.Event()

    def leave() -> None:
        # Unbuffered, for this may have interrupted a write; and whatever happens, it ends here.
        try:
            shown = _SHOW_CURSOR if os.isatty(2) else ""
            os.write(2, f"{shown}\n{farewell()}\n".encode())
        finally:
            os._exit(STOPPED)

    def watch() -> None:
        while True:
            received = reader.recv(16)
            if not received or finished.is_set():
                return
            asked = _STOP.intersection(received)
            if not asked or finished.wait(min(GRACE[signal.Signals(number)] for number in asked)):
                continue
            # The state of a large network takes longer to reach the disk; that is worth waiting.
            if not (interrupt.saving and finished.wait(SAVING_GRACE)):
                leave()

    def handle(number: int, _frame: object) -> None:
        # A scheduler may say it to the group and to each process; only a person means "at once".
        if interrupt.requested and number == signal.SIGINT:
            leave()
        interrupt.requested = True

    previous = {number: signal.signal(number, handle) for number in _STOP}
    previous_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, name="interrupt", daemon=True)
    watcher.start()
    try:
        yield interrupt
    finally:
        finished.set()
        signal.set_wakeup_fd(previous_fd)
        for number, handler in previous.items():
            signal.signal(number, handler)
        writer.close()
        watcher.join(timeout=1)
        reader.close()
