from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.stun.attributes import DATA, SOFTWARE
from turnd.stun.channel_data import encode_channel_data
from turnd.stun.errors import DecodeError
from turnd.stun.framing import StreamFramer
from turnd.stun.message import MessageClass, Method, encode_message

TRANSACTION_ID = bytes(range(12))
BINDING = encode_message(Method.BINDING, MessageClass.REQUEST, TRANSACTION_ID, [])
stun_messages = st.binary(max_size=40).map(
    lambda data: encode_message(
        Method.SEND, MessageClass.INDICATION, TRANSACTION_ID, [(DATA, data)]
    )
)
channel_data = st.builds(
    encode_channel_data, st.integers(0x4000, 0x4FFF), st.binary(max_size=40), st.just(True)
)


def frames_of(framer: StreamFramer) -> list[bytes]:
    return list(iter(framer.next_frame, None))


def unpadded(message: bytes) -> bytes:
    is_channel_data = message[0] >= 0x40
    return message[: 4 + int.from_bytes(message[2:4], "big")] if is_channel_data else message


@given(st.lists(st.one_of(stun_messages, channel_data), max_size=8), st.data())
def test_any_split_gives_the_same_messages(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    framer = StreamFramer()
    received = []
    for start, end in pairwise([0, *cuts, len(stream)]):
        framer.feed(stream[start:end])
        received += frames_of(framer)
    assert received == [unpadded(message) for message in messages]
    assert not framer.partial


def test_byte_by_byte() -> None:
    framer = StreamFramer()
    stream = BINDING + encode_channel_data(0x4000, b"hello", padded=True) + BINDING
    received = []
    for byte in stream:
        framer.feed(bytes((byte,)))
        received += frames_of(framer)
    assert received == [BINDING, b"\x40\x00\x00\x05hello", BINDING]


def test_pipelined_messages_come_one_by_one() -> None:
    framer = StreamFramer()
    framer.feed(BINDING * 3)
    assert [framer.next_frame() for _ in range(4)] == [BINDING, BINDING, BINDING, None]


def test_partial_tells_whether_a_frame_has_begun() -> None:
    framer = StreamFramer()
    seen = [framer.partial]
    for piece in (BINDING[:1], BINDING[1:19], BINDING[19:]):
        framer.feed(piece)
        framer.next_frame()
        seen.append(framer.partial)
    assert seen == [False, True, True, False]


def test_the_largest_frames() -> None:
    stun = encode_message(
        Method.SEND, MessageClass.INDICATION, TRANSACTION_ID, [(DATA, bytes(65528))]
    )
    channel = encode_channel_data(0x4FFF, bytes(65535), padded=True)
    framer = StreamFramer()
    framer.feed(stun + channel)
    assert frames_of(framer) == [stun, channel[:-1]]


def test_frames_that_were_taken_leave_the_memory() -> None:
    framer = StreamFramer()
    for _ in range(100):
        framer.feed(encode_channel_data(0x4000, bytes(60_000), padded=True) + BINDING[:10])
        framer.next_frame()
        framer.feed(BINDING[10:])
        framer.next_frame()
    assert len(framer._buffer) <= 60_004 + len(BINDING)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x04",
        b"\x16\x03\x01",
        b"POST / HTTP/1.1\r\n",
        b"\x3f\xff\xff",
        b"\x50\x00\x00\x00",
        b"\x80\x00\x00\x00",
        b"\xff",
        b"\x00\x01\x00\x01",
        b"\x00\x01\x00\x00\x20",
        b"\x00\x01\x00\x00\x21\x12\xa4\x43",
        b"\x00\x01\x00\x00\x21\x12\xa4\x43" + bytes(100),
    ],
)
def test_garbage_is_refused_as_soon_as_it_shows_and_for_good(garbage: bytes) -> None:
    framer = StreamFramer()
    framer.feed(BINDING + garbage)
    assert framer.next_frame() == BINDING
    for _ in range(2):
        with pytest.raises(DecodeError):
            framer.next_frame()
    framer.feed(BINDING)
    with pytest.raises(DecodeError):
        framer.next_frame()


@pytest.mark.parametrize("start", [b"\x00", b"\x03", b"\x40", b"\x4f", BINDING[:3], BINDING[:5]])
def test_a_good_start_waits_for_more(start: bytes) -> None:
    framer = StreamFramer()
    framer.feed(start)
    assert framer.next_frame() is None


@given(st.lists(st.binary(max_size=30)))
def test_any_bytes_give_frames_or_raise_decode_error(chunks: list[bytes]) -> None:
    framer = StreamFramer()
    taken = 0
    for chunk in chunks:
        framer.feed(chunk)
        try:
            taken += sum(map(len, frames_of(framer)))
        except DecodeError:
            return
    assert taken <= sum(map(len, chunks))


def test_a_message_with_attributes_is_given_out_whole() -> None:
    message = encode_message(
        Method.BINDING, MessageClass.REQUEST, TRANSACTION_ID, [(SOFTWARE, "x")], fingerprint=True
    )
    framer = StreamFramer()
    framer.feed(message)
    assert framer.next_frame() == message


@pytest.mark.parametrize("head", [b"\x40\x00\x00\x5d", b"\x00\x01\x00\x50\x21\x12\xa4\x42"])
def test_a_message_over_the_largest_is_garbage_as_soon_as_its_length_is_known(head: bytes) -> None:
    framer = StreamFramer(largest=99)
    framer.feed(head)
    with pytest.raises(DecodeError, match="a message of 100 bytes"):
        framer.next_frame()
    framer.largest = 100
    assert framer.next_frame() is None


def test_nothing_is_taken_for_a_message_behind_a_connection_bind() -> None:
    bind = encode_message(Method.CONNECTION_BIND, MessageClass.REQUEST, bytes(12), ())
    framer = StreamFramer()
    framer.feed(bind + b"\xff no message")
    assert framer.next_frame() == bind
    assert framer.is_held
    assert framer.next_frame() is None
    framer.feed(b", more")
    assert framer.next_frame() is None
    assert framer.rest() == b"\xff no message, more"
    assert not framer.partial
    framer.release()
    framer.feed(bind)
    assert framer.next_frame() == bind


def test_behind_a_refused_connection_bind_messages_go_on() -> None:
    bind = encode_message(Method.CONNECTION_BIND, MessageClass.REQUEST, bytes(12), ())
    framer = StreamFramer()
    framer.feed(bind + bind[:7])
    framer.next_frame()
    framer.release()
    assert framer.next_frame() is None
    framer.feed(bind[7:])
    assert framer.next_frame() == bind
