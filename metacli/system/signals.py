"""Signals that ask a run to stop."""

from __future__ import annotations

import signal
import threading

from metacli.system import operating_system


class StopSignal:
    """Records SIGINT, SIGTERM or SIGHUP, so that a run stops after the current step. A second signal stops at once.

    The signals are those of `operating_system.stop_signals`. Outside the main thread,
    where Python cannot handle signals, nothing changes.

    Args:
        twice: whether a second signal raises KeyboardInterrupt. False under torchrun, which may forward a signal that
            its processes have already received.

    Attributes:
        code: 0 until a signal comes, then the exit status: 130 (SIGINT), 143 (SIGTERM) or 129 (SIGHUP).
    """

    def __init__(self, twice: bool = True) -> None:
        self.code, self._twice = 0, twice

    def __enter__(self) -> StopSignal:
        numbers = operating_system.stop_signals() if threading.current_thread() is threading.main_thread() else []
        self._previous = {number: signal.signal(number, self._on_signal) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set from Python

    def _on_signal(self, number: int, _frame: object) -> None:
        if self.code and self._twice:
            raise KeyboardInterrupt
        self.code = self.code or 128 + number
