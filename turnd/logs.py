"""The log: structlog over the standard library, through a bounded pipe and a writer thread.

Rules of the house
    1.  Logging never waits and never fails. Whoever reads the log may hang: lines beyond a bound
        are dropped, counted, and their number is said once the reader is back.
    2.  Events have stable names in snake_case (docs/observability.md); what varies is a field.
        Records of libraries (asyncio's exceptions among them) become `<library>_message`.
"""

from __future__ import annotations

import io
import logging
import os
import select
import sys
import threading
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING, TextIO

import structlog

from turnd.log_lines import LogAddresses, LogFormat, renderer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

QUEUED_LINES = 8192
QUEUED_BYTES = 4 << 20
LINES_PER_SECOND = 500
"""Of one event: clients who fail on purpose shall not fill the disk. Errors are not counted."""
_CHUNK = 64 << 10

_turnd = logging.getLogger("turnd")
_LEVEL_WORDS = {logging.WARNING: "warn"}


def get_logger(name: str = "turnd") -> structlog.stdlib.BoundLogger:
    """A logger of this program: `log.info("draining", seconds=5.0)`."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,  # binding anew costs more than a line that is not shown
    )
    return logger


def report(event: str, /, **fields: object) -> None:
    """For layers that know no logger: an event at `warning`, or at the field `level`."""
    level = str(fields.pop("level", "warning"))
    get_logger().log(_level_number(level), event, **fields)


def info(event: str, fields: Callable[[], Mapping[str, object]]) -> None:
    """A line at `info` about what every client does, at a fraction of a logger's price.

    It goes straight to the pipe, and `fields` is called only for a line that will be written.
    """
    if _turnd.isEnabledFor(logging.INFO):
        for handler in logging.getLogger().handlers:
            if isinstance(handler, LogPipe):
                handler.info(event, fields)


def configure(
    format: str = "console",  # noqa: A002 - the word that the configuration uses
    level: str = "info",
    addresses: str = "full",
    stream: TextIO | None = None,
) -> LogPipe:
    """Send this process's log to `stream` (default: standard output) until `LogPipe.stop`.

    Raises:
        ValueError: no such format, level or choice of addresses.
    """
    pipe = LogPipe(sys.stdout if stream is None else stream)
    pipe.set_lines(format, addresses)
    pipe.set_level(level)
    pipe.start()
    return pipe


class LogPipe(logging.Handler):
    """Takes records in any thread; one thread of its own writes them.

    `dropped` counts lines that nobody will ever read, for the metric.
    """

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self.dropped = 0
        self._render = renderer(LogFormat.CONSOLE, LogAddresses.FULL)
        self._write = _writer(stream)
        self._lines: deque[bytes] = deque()
        self._queued_bytes = 0
        self._said = 0
        self._stopping = False
        self._news = threading.Condition()
        self._limiter = _RateLimiter(LINES_PER_SECOND)
        self._thread = threading.Thread(target=self._run, name="turnd-log", daemon=True)

    def start(self) -> None:
        """Take all records from now on, in the place of an earlier pipe."""
        root = logging.getLogger()
        for handler in root.handlers[:]:
            if isinstance(handler, LogPipe):
                root.removeHandler(handler)
        root.addHandler(self)
        sys.unraisablehook = _log_unraisable
        self._thread.start()

    def stop(self, limit: float = 2.0) -> bool:
        """Write what is queued, for `limit` seconds at most; returns whether all was written."""
        logging.getLogger().removeHandler(self)
        if sys.unraisablehook is _log_unraisable:
            sys.unraisablehook = sys.__unraisablehook__
        with self._news:
            self._stopping = True
            self._news.notify()
        if self._thread.is_alive():
            self._thread.join(limit)
        return not self._thread.is_alive() and not self._lines

    def set_level(self, level: str) -> None:
        """`debug`, `info`, `warning` or `error`, from now on; of libraries from `warning` on.

        Raises:
            ValueError: no such level.
        """
        number = _level_number(level)
        _turnd.setLevel(number)
        logging.getLogger().setLevel(max(number, logging.WARNING))

    def set_lines(self, format: str, addresses: str) -> None:  # noqa: A002 - as for `configure`
        """How records are written from now on: `LogFormat` and `LogAddresses`.

        Raises:
            ValueError: no such format or choice of addresses.
        """
        self._render = renderer(LogFormat(format), LogAddresses(addresses))

    def emit(self, record: logging.LogRecord) -> None:
        """Render a record and queue its line; a full queue or a broken record is a counted drop."""
        try:
            fields = _fields_of(record)
            name = str(fields.get("event"))
            if record.levelno < logging.ERROR and not self._admits(name, record.created):
                return
            word = _LEVEL_WORDS.get(record.levelno, record.levelname.lower())
            self._put((self._render(record.created, word, fields) + "\n").encode())
        except Exception:  # noqa: BLE001 - a value that cannot be shown must not stop the server
            self._count_drop()

    def info(self, event: str, fields: Callable[[], Mapping[str, object]]) -> None:
        """As `emit`, of an event that no record was made of; any thread may call it."""
        now = time.time()
        try:
            if not self._admits(event, now):
                return
            self._put((self._render(now, "info", {"event": event, **fields()}) + "\n").encode())
        except Exception:  # noqa: BLE001 - as for `emit`
            self._count_drop()

    def write_text(self, text: str) -> None:
        """Queue text for a person beside the records, as it is; dropped like them when full."""
        self._put(text.encode())

    def _admits(self, event: str, now: float) -> bool:
        with self._news:
            admitted = self._limiter.admits(event, now)
            self.dropped += not admitted
        return admitted

    def _put(self, line: bytes) -> None:
        with self._news:
            full = len(self._lines) >= QUEUED_LINES or self._queued_bytes + len(line) > QUEUED_BYTES
            if full or self._stopping:
                self.dropped += 1
                return
            self._lines.append(line)
            self._queued_bytes += len(line)
            self._news.notify()

    def _count_drop(self) -> None:
        with self._news:
            self.dropped += 1

    def _run(self) -> None:
        while True:
            chunk, last = self._next_chunk()
            if chunk and not self._write(chunk):
                with self._news:
                    self.dropped += chunk.count(b"\n")
                    self._said = self.dropped  # who closed the pipe is told nothing
            if last:
                return

    def _next_chunk(self) -> tuple[bytes, bool]:
        """Wait for lines; those of a chunk, and whether they are the last."""
        with self._news:
            self._news.wait_for(lambda: self._lines or self._stopping, timeout=1.0)
            taken: list[bytes] = []
            size = 0
            while self._lines and size < _CHUNK:
                line = self._lines.popleft()
                size += len(line)
                taken.append(line)
            self._queued_bytes -= size
            if not self._lines and self.dropped > self._said:
                taken.append(self._drop_line(self.dropped - self._said))
                self._said = self.dropped
            return b"".join(taken), self._stopping and not self._lines

    def _drop_line(self, count: int) -> bytes:
        fields: dict[str, object] = {"event": "log_records_dropped", "count": count}
        return (self._render(time.time(), "warn", fields) + "\n").encode()


class _RateLimiter:
    """So many a second of each event name; names are bounded by starting anew each second."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._second = 0
        self._counts: dict[str, int] = {}

    def admits(self, name: str, now: float) -> bool:
        if int(now) != self._second:
            self._second = int(now)
            self._counts.clear()
        count = self._counts.get(name, 0)
        self._counts[name] = count + 1
        return count < self._per_second


def _fields_of(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object]
    if isinstance(record.msg, dict):  # ours, by structlog
        fields = dict(record.msg)
        exc_info = fields.pop("exc_info", None)
    else:
        library = record.name.partition(".")[0]
        fields = {"event": f"{library}_message", "logger": record.name}
        fields["message"] = record.getMessage()
        exc_info = record.exc_info
    if exc_info:
        fields["exception"] = _exception_text(exc_info)
    return {"event": fields.pop("event", "none"), **fields}


def _log_unraisable(unraisable: sys.UnraisableHookArgs, /) -> None:
    """Exceptions that nobody could catch: the interpreter would write them, and wait, itself."""
    error = unraisable.exc_value
    if isinstance(error, UnicodeDecodeError) and isinstance(unraisable.object, bytes):
        return  # by the ssl module: a server name (SNI) beyond ASCII; its handshake has failed
    get_logger().error("internal_error", exc_info=error)


def _exception_text(exc_info: object) -> str:
    error = exc_info if isinstance(exc_info, BaseException) else sys.exc_info()[1]
    if isinstance(exc_info, tuple):
        error = exc_info[1]
    return "".join(traceback.format_exception(error)).rstrip() if error is not None else ""


def _level_number(level: str) -> int:
    names = logging.getLevelNamesMapping()
    if level.upper() not in names:
        raise ValueError(f"'{level}' is no log level: debug, info, warning, error")
    return names[level.upper()]


def _writer(stream: TextIO | None) -> Callable[[bytes], bool]:
    """A function that writes all it is given, or says False when nobody reads any more."""
    if stream is None:
        return lambda _: False
    try:
        fd = stream.fileno()
    except io.UnsupportedOperation:
        return lambda chunk: bool(stream.write(chunk.decode()))
    return lambda chunk: _write_all(fd, chunk)


def _write_all(fd: int, chunk: bytes) -> bool:
    """By the descriptor: a stream's lock would hang the interpreter's end with its reader."""
    while chunk:
        try:
            chunk = chunk[os.write(fd, chunk) :]
        except BlockingIOError:
            select.select([], [fd], [])
        except OSError:
            return False
    return True
