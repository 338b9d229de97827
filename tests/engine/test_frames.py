from __future__ import annotations

import pytest

from turnd.engine.frames import FrameReader, refuses_bind
from turnd.stun.errors import DecodeError
from turnd.stun.message import MessageClass, Method, encode_message

BINDING = bytes.fromhex("000100002112a442") + bytes(12)


def test_a_deadline_runs_from_a_frames_first_byte() -> None:
    reader = FrameReader(timeout=10)
    assert list(reader.read(BINDING[:5], now=100)) == []
    assert not reader.is_overdue(109.9)
    assert list(reader.read(BINDING[5:9], now=105)) == []
    assert reader.is_overdue(110)
    assert list(reader.read(BINDING[9:], now=109)) == [BINDING]
    assert not reader.is_overdue(1e9)


def test_a_frame_that_begins_where_another_ends_has_its_own_deadline() -> None:
    reader = FrameReader(timeout=10)
    assert list(reader.read(BINDING + BINDING[:1], now=100)) == [BINDING]
    assert list(reader.read(BINDING[1:] + BINDING[:1], now=109)) == [BINDING]
    assert not reader.is_overdue(110)
    assert reader.is_overdue(119)


def test_frames_before_garbage_are_given() -> None:
    reader = FrameReader(timeout=10)
    frames = reader.read(BINDING + b"\x80", now=0)
    assert next(frames) == BINDING
    with pytest.raises(DecodeError):
        next(frames)


def test_media_is_expected_only_of_who_has_a_relay() -> None:
    head = b"\x40\x00\x20\x00"
    with pytest.raises(DecodeError):
        list(FrameReader(timeout=10).read(head, now=0))
    reader = FrameReader(timeout=10)
    reader.expect_media()
    assert list(reader.read(head + bytes(0x2000), now=0)) == [head + bytes(0x2000)]


BIND = encode_message(Method.CONNECTION_BIND, MessageClass.REQUEST, bytes(12), ())


def test_a_connection_bind_holds_what_follows_and_has_a_frames_time() -> None:
    frames = FrameReader(10.0)
    assert list(frames.read(BIND + b"\xff", 5.0)) == [BIND]
    assert frames.is_held
    assert not frames.is_overdue(14.9)
    assert frames.is_overdue(15.0)
    assert list(frames.read(b"more", 6.0)) == []
    assert frames.rest() == b"\xffmore"


def test_a_refused_one_lets_the_rest_be_frames() -> None:
    frames = FrameReader(10.0)
    assert list(frames.read(BIND + BIND[:4], 5.0)) == [BIND]
    assert list(frames.resume(6.0)) == []
    assert not frames.is_held
    assert frames.deadline == 16.0
    assert list(frames.read(BIND[4:], 7.0)) == [BIND]


def test_a_refusal_is_known_by_its_type() -> None:
    kinds = {
        kind: refuses_bind(encode_message(method, kind, bytes(12), ()))
        for method, kind in (
            (Method.CONNECTION_BIND, MessageClass.ERROR),
            (Method.CONNECTION_BIND, MessageClass.SUCCESS),
        )
    }
    assert kinds == {MessageClass.ERROR: True, MessageClass.SUCCESS: False}
    assert not refuses_bind(encode_message(Method.REFRESH, MessageClass.ERROR, bytes(12), ()))
