"""A progress line on a terminal, for commands that do a job in the foreground."""

import sys
import time
from typing import TextIO

WIDTH = 30


class ProgressLine:
    """Redrawn in place on a terminal; elsewhere a line every few seconds. total: units, None while unknown."""

    def __init__(self, stream: TextIO | None = None, *, every: float = 5.0) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._every = 0.1 if self._live else every
        self._started = time.monotonic()
        self._shown = 0.0

    def show(self, done: int, total: int | None, note: str = "", *, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self._shown < self._every:
            return
        self._shown = now
        rate = done / max(now - self._started, 0.001)
        share = done / total if total else 0
        bar = "█" * int(share * WIDTH) + "░" * (WIDTH - int(share * WIDTH))
        text = f"{bar} {share:4.0%} {done:,}/{total if total is None else format(total, ',')} {rate:,.0f}/s {note}"
        self._stream.write(f"\r\x1b[K{text}" if self._live else f"{text}\n")
        if last and self._live:
            self._stream.write("\n")
        self._stream.flush()
