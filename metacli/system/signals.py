"""Signals that ask a run to stop."""

from __future__ import annotations

import signal
import threading

from metacli.system import operating_system


class StopSignal:
    """Turns SIGINT, SIGTERM and SIGHUP into a wish to stop after the step in hand; a second one stops at once.

    See `system.stop_signals` for those that there are.

    Signals are the main thread's: in another one it leaves them as they are.

    Args:
        twice: whether a second one stops at once. Not where torchrun passes on what its processes may have got already.

    Attributes:
        code: 0 while nobody asked, else the exit status, 130 (SIGINT), 143 (SIGTERM) or
            129 (SIGHUP).
    """

    def __init__(self, twice: bool = True) -> None:
        self.code, self._twice = 0, twice

    def __enter__(self) -> StopSignal:
        numbers = operating_system.stop_signals() if threading.current_thread() is threading.main_thread() else []
        self._before = {s: signal.signal(s, self._on_signal) for s in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set from Python

    def _on_signal(self, number: int, _frame: object) -> None:
        if self.code and self._twice:
            raise KeyboardInterrupt
        self.code = self.code or 128 + number
