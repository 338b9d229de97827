from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.engine.proxy_v2 import LONGEST, SIGNATURE, ProxiedAddresses, write_header
from turnd.listeners.incomplete import Incomplete
from turnd.listeners.proxy_header import LONGEST_LINE, ProxyHeader, read_proxy_header
from turnd.stun.addresses import TransportAddress
from turnd.stun.errors import DecodeError

CLIENT, LOCAL = TransportAddress("198.51.100.1", 51334), TransportAddress("192.0.2.7", 443)
LINE = b"PROXY TCP4 198.51.100.1 192.0.2.7 51334 443\r\n"
WORST = b"PROXY UNKNOWN " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n"


def test_a_line() -> None:
    found = read_proxy_header(LINE + b"hello\r\n")
    assert found == ProxyHeader(len(LINE), ProxiedAddresses(CLIENT, LOCAL))


def test_a_line_of_ipv6() -> None:
    found = read_proxy_header(b"PROXY TCP6 2001:DB8:0:0::1 ::1 0 65535\r\n")
    assert isinstance(found, ProxyHeader)
    assert found.addresses == ProxiedAddresses(
        TransportAddress("2001:db8::1", 0), TransportAddress("::1", 65535)
    )


def test_ipv4_that_is_shown_as_mapped_is_ipv4() -> None:
    found = read_proxy_header(b"PROXY TCP6 ::ffff:198.51.100.1 ::ffff:192.0.2.7 51334 443\r\n")
    assert isinstance(found, ProxyHeader)
    assert found.addresses == ProxiedAddresses(CLIENT, LOCAL)


@pytest.mark.parametrize("line", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN what ever\r\n", WORST])
def test_an_unknown_client_is_the_proxy_itself(line: bytes) -> None:
    assert read_proxy_header(line + b"\r\n") == ProxyHeader(len(line), None)


def test_the_longest_line() -> None:
    assert len(WORST) == LONGEST_LINE
    with pytest.raises(DecodeError, match="without end"):
        read_proxy_header(WORST[:-2] + b"x\r\n")


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 198.51.100.1 192.0.2.7 51334\r\n",
        b"PROXY TCP4 198.51.100.1 192.0.2.7 51334 443 1\r\n",
        b"PROXY TCP4  198.51.100.1 192.0.2.7 51334 443\r\n",
        b"PROXY UDP4 198.51.100.1 192.0.2.7 51334 443\r\n",
        b"PROXY tcp4 198.51.100.1 192.0.2.7 51334 443\r\n",
        b"PROXY TCP4 2001:db8::1 192.0.2.7 51334 443\r\n",
        b"PROXY TCP6 198.51.100.1 192.0.2.7 51334 443\r\n",
        b"PROXY TCP6 fe80::1%lo fe80::2 51334 443\r\n",
        b"PROXY TCP4 198.51.100.01 192.0.2.7 51334 443\r\n",
        b"PROXY TCP4 198.51.100.1 192.0.2.7 051334 443\r\n",
        b"PROXY TCP4 198.51.100.1 192.0.2.7 -1 443\r\n",
        b"PROXY TCP4 198.51.100.1 192.0.2.7 65536 443\r\n",
        b"PROXY TCP4 198.51.100.1 192.0.2.7 51334 443\n\r\n",
        "PROXY TCP4 198.51.100.1 192.0.2.7 51334 44\N{FULLWIDTH DIGIT THREE}\r\n".encode(),
        b"PROXY \r\n",
        b"PROXX TCP4 198.51.100.1 192.0.2.7 51334 443\r\n",
        b"\r\n\r\n\0\r\nQUIX",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01",
    ],
)
def test_what_is_no_header(line: bytes) -> None:
    with pytest.raises(DecodeError):
        read_proxy_header(line)


@pytest.mark.parametrize("whole", [LINE, write_header(CLIENT, LOCAL)])
def test_every_part_wants_more_and_no_more_than_there_is(whole: bytes) -> None:
    for length in range(len(whole)):
        found = read_proxy_header(whole[:length])
        assert isinstance(found, Incomplete)
        assert length < found.wanted <= len(whole)
    found = read_proxy_header(whole + b"the client's")
    assert found == ProxyHeader(len(whole), ProxiedAddresses(CLIENT, LOCAL))


@given(st.binary(max_size=200), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE]))
def test_nothing_but_decode_errors(rest: bytes, begin: bytes) -> None:
    data = begin + rest
    try:
        found = read_proxy_header(data)
    except DecodeError:
        return
    if isinstance(found, Incomplete):
        assert len(data) < found.wanted <= LONGEST
    else:
        assert found.length <= len(data)
