from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import os
import ssl
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import LIMIT
from turnd import logs
from turnd.logs import LogPipe, configure, get_logger, report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Sink(io.StringIO):
    """A stream without descriptor whose reader can be held up."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.open.set()
        self.reached = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        assert self.open.wait(LIMIT)
        return super().write(text)

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    @property
    def events(self) -> list[str]:
        return [record["event"] for record in self.records]


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def start() -> Iterator[Callable[..., LogPipe]]:
    """`configure` whose pipes are stopped, and the levels put back, at the end."""
    pipes: list[LogPipe] = []
    levels = [
        (logger, logger.level) for logger in (logging.getLogger(), logging.getLogger("turnd"))
    ]

    def begin(**options: Any) -> LogPipe:
        pipe = configure(**{"format": "json", **options})
        pipes.append(pipe)
        return pipe

    yield begin
    for pipe in pipes:
        pipe.stop(LIMIT)
    for logger, level in levels:
        logger.setLevel(level)


def test_an_event_with_its_fields(start: Callable[..., LogPipe], sink: Sink) -> None:
    pipe = start(stream=sink)
    get_logger().info("allocation_created", user="alice", transport="udp")
    assert pipe.stop(LIMIT)
    (record,) = sink.records
    assert record.pop("time").endswith("Z")
    assert record == {
        "level": "info",
        "event": "allocation_created",
        "user": "alice",
        "transport": "udp",
    }
    assert pipe.dropped == 0


def test_console_is_the_default(start: Callable[..., LogPipe], sink: Sink) -> None:
    pipe = start(format="console", stream=sink)
    get_logger().warning("auth_failed", reason="bad_integrity")
    pipe.stop(LIMIT)
    assert sink.getvalue().endswith("Z WARN event=auth_failed reason=bad_integrity\n")


def test_addresses_can_be_masked(start: Callable[..., LogPipe], sink: Sink) -> None:
    pipe = start(addresses="masked", stream=sink)
    get_logger().warning("auth_failed", client="203.0.113.9:5")
    pipe.stop(LIMIT)
    assert sink.records[0]["client"] == "203.0.113.0:5"


def test_levels_change_live(start: Callable[..., LogPipe], sink: Sink) -> None:
    pipe = start(level="warning", stream=sink)
    get_logger().info("one")
    pipe.set_level("debug")
    get_logger().debug("two")
    pipe.set_level("error")
    get_logger().warning("three")
    get_logger().error("four")
    pipe.stop(LIMIT)
    assert sink.events == ["two", "four"]


def test_lines_change_live(start: Callable[..., LogPipe], sink: Sink) -> None:
    pipe = start(stream=sink)
    get_logger().info("one", client="203.0.113.9")
    pipe.set_lines("console", "masked")
    get_logger().info("two", client="203.0.113.9")
    pipe.stop(LIMIT)
    first, second = sink.getvalue().splitlines()
    assert json.loads(first)["client"] == "203.0.113.9"
    assert second.endswith("INFO event=two client=203.0.113.0")


def test_text_for_a_person_stands_between_the_records_as_it_is(
    start: Callable[..., LogPipe], sink: Sink
) -> None:
    pipe = start(stream=sink)
    get_logger().info("one")
    pipe.write_text("[\n  1\n]\n")
    get_logger().info("two")
    pipe.stop(LIMIT)
    lines = sink.getvalue().splitlines()
    assert lines[1:-1] == ["[", "  1", "]"]
    assert [json.loads(lines[index])["event"] for index in (0, -1)] == ["one", "two"]


def test_libraries_speak_from_warning_on(start: Callable[..., LogPipe], sink: Sink) -> None:
    pipe = start(level="debug", stream=sink)
    logging.getLogger("redis.client").info("chatter")
    logging.getLogger("redis.client").warning("lost %s\nagain", "it")
    pipe.stop(LIMIT)
    (record,) = sink.records
    assert record["event"] == "redis_message"
    assert record["logger"] == "redis.client"
    assert record["message"] == "lost it\nagain"


@pytest.mark.parametrize("option", ["format", "level", "addresses"])
def test_unknown_options_are_errors(option: str, sink: Sink) -> None:
    with pytest.raises(ValueError, match="loud"):
        configure(**{option: "loud"}, stream=sink)
    assert not any(isinstance(handler, LogPipe) for handler in logging.getLogger().handlers)


def test_layers_without_a_logger_report(start: Callable[..., LogPipe], sink: Sink) -> None:
    pipe = start(stream=sink)
    report("accept_paused", endpoint="0.0.0.0:3478")
    report("accept_resumed", level="info", endpoint="0.0.0.0:3478")
    pipe.stop(LIMIT)
    assert [(record["event"], record["level"]) for record in sink.records] == [
        ("accept_paused", "warn"),
        ("accept_resumed", "info"),
    ]


def test_a_short_way_for_what_every_client_does(
    start: Callable[..., LogPipe], sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turnd.logs.time.time", lambda: 100.0)
    asked: list[int] = []

    def fields() -> dict[str, object]:
        asked.append(len(asked))
        return {"number": asked[-1]}

    pipe = start(stream=sink, level="warning")
    logs.info("often", fields)
    assert asked == []
    pipe.set_level("info")
    for _ in range(logs.LINES_PER_SECOND + 7):
        logs.info("often", fields)
    logs.info("odd", lambda: {"value": 1 // 0})
    assert pipe.dropped == 7 + 1
    pipe.stop(LIMIT)
    logs.info("often", fields)
    written = [record for record in sink.records if record["event"] == "often"]
    assert [record["number"] for record in written] == asked == [*range(logs.LINES_PER_SECOND)]
    assert written[0] == {
        "time": "1970-01-01T00:01:40.000Z", "level": "info", "event": "often", "number": 0
    }  # fmt: skip
    assert sum(r["count"] for r in sink.records if r["event"] == "log_records_dropped") == 8


@pytest.mark.parametrize("how", ["flag", "error", "tuple"])
def test_an_exception_is_part_of_its_line(
    start: Callable[..., LogPipe], sink: Sink, how: str
) -> None:
    pipe = start(stream=sink)
    try:
        int("first\nsecond")
    except ValueError as error:
        exc_info = {"flag": True, "error": error, "tuple": sys.exc_info()}[how]
        get_logger().error("failed", exc_info=exc_info)
    pipe.stop(LIMIT)
    (record,) = sink.records
    assert record["exception"].startswith("Traceback")
    assert record["exception"].endswith("with base 10: 'first\\nsecond'")


def test_no_exception_no_field(start: Callable[..., LogPipe], sink: Sink) -> None:
    pipe = start(stream=sink)
    get_logger().error("failed", exc_info=True)
    pipe.stop(LIMIT)
    assert sink.records[0]["exception"] == ""


async def test_what_asyncio_has_to_say_is_one_line(
    start: Callable[..., LogPipe], sink: Sink
) -> None:
    pipe = start(format="console", stream=sink)

    async def fail() -> None:
        raise RuntimeError("nobody\nwaits")

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    del task
    gc.collect()
    asyncio.get_running_loop().call_exception_handler({"message": "two\nlines"})
    pipe.stop(LIMIT)
    never, direct = sink.getvalue().splitlines()
    assert "event=asyncio_message" in never
    assert "RuntimeError: nobody\\nwaits" in never
    assert 'message="two\\nlines"' in direct


def test_while_nobody_reads_lines_are_dropped_counted_and_said_later(
    start: Callable[..., LogPipe], sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "QUEUED_LINES", 10)
    pipe = start(stream=sink)
    sink.open.clear()
    get_logger().error("taken")
    assert sink.reached.wait(LIMIT)
    for _ in range(25):
        get_logger().error("waiting")
    assert pipe.dropped == 15
    sink.open.set()
    assert pipe.stop(LIMIT)
    assert sink.events == ["taken", *["waiting"] * 10, "log_records_dropped"]
    assert sink.records[-1]["count"] == 15


def test_waiting_lines_are_bounded_in_bytes(
    start: Callable[..., LogPipe], sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "QUEUED_BYTES", 5000)
    pipe = start(stream=sink)
    sink.open.clear()
    get_logger().error("taken")
    assert sink.reached.wait(LIMIT)
    for _ in range(100):
        get_logger().error("waiting", text="x" * 900)
    assert pipe._queued_bytes <= 5000
    assert 90 < pipe.dropped < 100
    sink.open.set()
    assert pipe.stop(LIMIT)
    assert pipe._queued_bytes == 0


def test_stopping_waits_for_a_reader_that_hangs_only_so_long(
    start: Callable[..., LogPipe], sink: Sink
) -> None:
    pipe = start(stream=sink)
    sink.open.clear()
    get_logger().error("stuck")
    assert sink.reached.wait(LIMIT)
    assert not pipe.stop(0.01)
    sink.open.set()
    assert pipe.stop(LIMIT)


def test_one_event_cannot_fill_the_disk(
    start: Callable[..., LogPipe], sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = start(stream=sink)
    for created in [*[100.0] * (logs.LINES_PER_SECOND + 7), 101.0]:
        record = logging.makeLogRecord(
            {"msg": {"event": "auth_failed"}, "levelno": logging.WARNING, "created": created}
        )
        pipe.emit(record)
    assert pipe.dropped == 7
    pipe.stop(LIMIT)
    assert sink.events.count("auth_failed") == logs.LINES_PER_SECOND + 1
    assert sum(r["count"] for r in sink.records if r["event"] == "log_records_dropped") == 7


def test_errors_are_never_too_many(start: Callable[..., LogPipe], sink: Sink) -> None:
    pipe = start(stream=sink)
    for _ in range(logs.LINES_PER_SECOND + 50):
        get_logger().error("broken")
    pipe.stop(LIMIT)
    assert len(sink.records) == logs.LINES_PER_SECOND + 50


def test_a_value_that_cannot_be_shown_stops_nobody(
    start: Callable[..., LogPipe], sink: Sink
) -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    pipe = start(stream=sink)
    get_logger().info("odd", value=Odd())
    get_logger().info("next")
    pipe.stop(LIMIT)
    assert sink.events[0] == "next"
    assert pipe.dropped == 1


def test_a_new_configuration_replaces_the_old(start: Callable[..., LogPipe], sink: Sink) -> None:
    old, new = Sink(), sink
    start(stream=old)
    pipe = start(stream=new)
    get_logger().info("once")
    pipe.stop(LIMIT)
    assert new.events == ["once"]
    assert old.getvalue() == ""


def test_without_a_stream_all_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    pipe = configure()
    get_logger().warning("unheard")
    assert pipe.stop(LIMIT)
    assert pipe.dropped == 1


def pipe_stream() -> tuple[int, io.TextIOWrapper]:
    reader, writer = os.pipe()
    return reader, io.TextIOWrapper(io.FileIO(writer, "w"), encoding="utf-8")


def test_lines_go_by_the_descriptor(start: Callable[..., LogPipe]) -> None:
    reader, stream = pipe_stream()
    with stream:
        pipe = start(stream=stream)
        get_logger().info("by_pipe", user="\udc80ü")
        pipe.stop(LIMIT)
    with os.fdopen(reader) as read:
        assert json.loads(read.read())["user"] == "\\udc80ü"


def test_a_reader_that_closed_costs_lines_and_no_more(start: Callable[..., LogPipe]) -> None:
    reader, stream = pipe_stream()
    os.close(reader)
    with stream:
        pipe = start(stream=stream)
        for _ in range(3):
            get_logger().info("unheard")
        assert pipe.stop(LIMIT)
    assert pipe.dropped == 3


def test_a_pipe_that_does_not_block_is_waited_for(start: Callable[..., LogPipe]) -> None:
    reader, stream = pipe_stream()
    with stream, os.fdopen(reader, "rb") as read:
        os.set_blocking(stream.fileno(), False)
        pipe = start(stream=stream)
        for number in range(400):
            get_logger().error("much", number=number, text="x" * 900)
        got = b"".join(read.readline() for _ in range(400))
        assert pipe.stop(LIMIT)
    assert [json.loads(line)["number"] for line in got.splitlines()] == list(range(400))


class Faulty:
    def __del__(self) -> None:
        raise ZeroDivisionError("a fault of ours")


def test_what_nobody_can_catch_is_a_record_and_not_written_at_once(
    start: Callable[..., LogPipe], sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    pipe = start(stream=sink)
    Faulty()
    assert pipe.stop(LIMIT)
    assert sys.unraisablehook is sys.__unraisablehook__
    (record,) = sink.records
    assert record["event"] == "internal_error"
    assert "a fault of ours" in record["exception"]


def test_a_server_name_beyond_ascii_is_no_record(
    start: Callable[..., LogPipe], sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    pipe = start(stream=sink)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="XXXX")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda *_: None
    hello, answer = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(hello, answer, server_side=True)
    hello.write(outgoing.read().replace(b"XXXX", b"X\xff\n\xfe"))
    with pytest.raises(ssl.SSLError, match="CALLBACK_FAILED"):
        server.do_handshake()
    assert pipe.stop(LIMIT)
    assert not sink.records


FULL_PIPE = """
import asyncio, sys
from turnd.logs import configure, get_logger

async def main():
    pipe = configure(level="info")
    log = get_logger()
    for number in range(20000):
        log.error("flood", number=number, text="x" * 500)
        if number % 1000 == 0:
            await asyncio.sleep(0)
    stopped = pipe.stop(0.05)
    print(f"alive dropped={pipe.dropped > 0} stopped={stopped}", file=sys.stderr, flush=True)

asyncio.run(main())
"""


def test_a_server_whose_log_nobody_reads_goes_on_and_ends() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FULL_PIPE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "alive dropped=True stopped=False\n"
        assert process.wait(LIMIT) == 0
