"""Ctrl-C and SIGTERM: statements under way are cancelled, a line says so, and the process ends within seconds.

Python tells its main thread of a signal when that is next at Python code, and Dagster keeps some until a step allows
them. A statement, a lock or a library may hold that up for minutes, and a thread inside DuckDB when Python ends aborts
the process. So a thread of its own hears of signals, and ends the process when the rest has not done so by then. What a
database and its log hold at any such moment is whole: a run that is killed loses nothing that it had committed.
"""

import multiprocessing.util
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

# The process is gone in under five seconds, and the last of them is for a machine that does much else.
GRACE_SECONDS = 3.0
NAMES = {signal.SIGINT: "Interrupted", signal.SIGTERM: "Ended by SIGTERM"}


class Interrupts:
    """The first signal that asked this process to end."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._wakes, self._listens = socket.socketpair()

    @property
    def code(self) -> int:
        """What a shell calls a process that a signal ended: 130 or 143; 0 where none came."""
        return 128 + self.signal if self.signal else 0

    def line(self) -> str:
        name = NAMES[self.signal] if self.signal else ""
        return f"{name}. Published months are whole; the same command again puts right whatever was left."

    @contextmanager
    def heard(self) -> Iterator[None]:
        threading.Thread(target=self._listen, name="signals", daemon=True).start()
        self._wakes.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, self._handle) for number in NAMES}
        try:
            yield
        finally:
            if self.signal is None:
                signal.set_wakeup_fd(-1)
                for number, handler in before.items():
                    signal.signal(number, handler)
                self._wakes.close()

    def check(self) -> None:
        """Raises KeyboardInterrupt where a signal came and something between here and there took it for its own."""
        if self.signal is not None:
            raise KeyboardInterrupt

    def end(self) -> None:
        with suppress(OSError, ValueError):
            # On a terminal ^C stands in the line, and a spinner may have hidden the cursor.
            begin, end = ("\n", "\x1b[?25h") if os.isatty(2) else ("", "")
            os.write(2, f"{begin}{self.line()}\n{end}".encode())
        leave(self.code)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.signal in (None, number):
            self.signal = signal.Signals(number)
            raise KeyboardInterrupt

    def _listen(self) -> None:
        """Whatever handles the signal in the main thread, its number comes here."""
        with suppress(OSError):
            while numbers := self._listens.recv(16):
                wanted = [number for number in numbers if number in NAMES]
                if wanted:
                    self.signal = self.signal or signal.Signals(wanted[0])
                    threading.Thread(target=cancel_statements, name="cancel", daemon=True).start()
                    time.sleep(GRACE_SECONDS)
                    self.end()


def leave(code: int) -> None:
    """Ends the process without Python's own end, which waits for threads and aborts where one is inside of DuckDB."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    with suppress(Exception):
        # The semaphores of dbt's locks, of which a process that outlives this one would complain.
        multiprocessing.util._run_finalizers(0)  # pyright: ignore[reportAttributeAccessIssue]
    os._exit(code)


interrupts = Interrupts()


def cancel_statements() -> None:
    """Of dbt and of our own sessions, as far as they are loaded."""
    for name in ("segmentation_assets.dbt.runner", "segmentation_assets.warehouse.duckdb"):
        module = sys.modules.get(name)
        cancel = getattr(module, "cancel_statements", None)
        if cancel is not None:
            with suppress(Exception):  # the other one is cancelled too, and the process ends in any case
                cancel()
