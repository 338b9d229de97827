"""DTLS by real clients: coturn's, OpenSSL's; and by a crowd that only says hello."""

from __future__ import annotations

import asyncio
import re
import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.checking import checked, steps
from tests.e2e.server import LIMIT, Server, free_port, serve
from tests.e2e.test_turnutils import BY_USER, HOSTS, echoing, side_by_side, uclient
from tests.engine.dtls_client import HELLO_VERIFY_REQUEST, a_hello
from turnd.stun.message import MessageClass, Method, decode_untrusted, encode_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.certificates import Authority

SOURCES = 3_000
ROUNDS = 4
GROWTH_KIB = 6_000
"""What a server that remembers nothing may still grow by: 2 KiB a source. A handshake's state is
thirty times as much."""


@pytest.fixture(scope="module")
def shared(authority: Authority, folders: Path, engine: str) -> Iterator[Server]:
    """Plain UDP and DTLS at one port, on both families."""
    both = [f"{by}://{host}:{{port}}" for by in ("udp", "dtls") for host in ("127.0.0.1", "[::1]")]
    folder = Path(tempfile.mkdtemp(dir=folders))
    with serve(folder, tls=authority.issue("localhost").section(), listen=both) as server:
        yield replace(server, tls_port=server.port)


async def test_plain_udp_and_dtls_at_one_port_at_the_same_time(shared: Server) -> None:
    echo = free_port()
    with echoing(echo, "127.0.0.1", "::1"):
        peer = ("-r", str(echo), *BY_USER)
        await side_by_side(
            *(
                uclient(shared, leg, host, *how, *family, "-e", host, *peer)
                for leg in ("udp", "dtls")
                for host, family in HOSTS.items()
                for how in (["-s"], ["-c"])
            ),
            uclient(shared, "dtls", "127.0.0.1", "-y", "-s", *BY_USER),
        )
    samples = [
        f'turnd_client_packets_total{{direction="{direction}",transport="{transport}"}}'
        for direction in ("rx", "tx")
        for transport in ("udp", "dtls")
    ]
    assert all(shared.metric(sample) > 0 for sample in samples)
    assert shared.metric('turnd_streams_opened_total{transport="dtls"}') >= 5
    assert shared.metric('turnd_packets_dropped_total{reason="dtls_record"}') == 0


async def s_client(
    server: Server, *options: str, data: bytes = b"", name: str = "localhost"
) -> tuple[str, bytes]:
    """What `openssl s_client` says, and what the server sends while it is open."""
    connect = ("-connect", f"127.0.0.1:{server.tls_port}", "-servername", name)
    process = await asyncio.create_subprocess_exec(
        "openssl", "s_client", *connect, *options,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    seen = b""
    try:
        async with asyncio.timeout(LIMIT):
            while process.returncode is None and b"Extended master secret" not in seen:
                more = await process.stdout.read(65_536)
                if not more:
                    break
                seen += more
            answer = b""
            if data:
                process.stdin.write(data)
                while len(answer) < 32:
                    answer += await process.stdout.read(65_536)
            process.stdin.close()
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return seen.decode(errors="replace"), answer


async def test_openssl_gets_the_certificate_and_an_answer(
    shared: Server, authority: Authority
) -> None:
    binding = encode_message(Method.BINDING, MessageClass.REQUEST, bytes(12), [])
    verify = ("-CAfile", str(authority.file), "-verify_return_error", "-alpn", "stun.turn")
    said, answer = await s_client(shared, "-dtls1_2", *verify, data=binding)
    assert "Verify return code: 0 (ok)" in said, said
    assert "ALPN protocol: stun.turn" in said
    assert re.search(r"Protocol *: DTLSv1\.2", said)
    assert re.search(r"Cipher *: ECDHE-ECDSA-(AES\d+-GCM|CHACHA20)", said)
    assert answer[:2] == b"\x01\x01", answer
    success = decode_untrusted(answer[: 20 + int.from_bytes(answer[2:4], "big")])
    assert success.message_class is MessageClass.SUCCESS


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_our_own_check(shared: Server, authority: Authority, host: str) -> None:
    uri = f"turns:{host}:{shared.port}?transport=udp"
    status, (report,) = await checked(shared, uri, authority)
    assert status == 0, report
    assert (report["transport"], report["server"]) == ("dtls", uri)
    found = steps(report)
    assert found["connect"]["tls_version"] == "DTLSv1.2"
    assert found["connect"]["cipher"].startswith("ECDHE-ECDSA-")
    assert found["certificate"]["days_left"] in {29, 30}
    assert found["binding"]["mapped"] == found["binding"]["local"]
    assert found["permission"]["peer_is"] == "relayed"
    assert (found["echo"]["received"], found["echo"]["loss"]) == (20, 0)


async def test_our_own_check_of_a_certificate_for_another(
    shared: Server, authority: Authority
) -> None:
    uri = f"turns:127.0.0.1:{shared.port}?transport=udp"
    status, (report,) = await checked(shared, uri, authority, "--server-name", "turn.example")
    found = steps(report)
    assert status == 1
    assert found["certificate"]["status"] == "failed"
    assert "turn.example" in found["certificate"]["text"]
    assert found["echo"]["status"] == "ok"


async def test_our_own_check_where_there_is_none(folder: Path, authority: Authority) -> None:
    with serve(folder) as server:
        uri = f"turns:127.0.0.1:{free_port()}?transport=udp"
        status, (report,) = await checked(server, uri, authority)
    assert status == 1
    assert [step["name"] for step in report["steps"]] == ["connect"]
    assert "connection refused" in report["steps"][0]["text"]
    assert "dtls://" in report["steps"][0]["fix"]


async def test_openssl_may_send_its_hello_in_fragments(
    shared: Server, authority: Authority
) -> None:
    """As it does on a path that takes less than the hello has."""
    binding = encode_message(Method.BINDING, MessageClass.REQUEST, bytes(12), [])
    many = ",".join(f"protocol-{number}" for number in range(60))
    said, answer = await s_client(
        shared,
        "-dtls1_2",
        "-mtu",
        "300",
        "-alpn",
        many,
        "-CAfile",
        str(authority.file),
        data=binding,
    )
    assert "Verify return code: 0 (ok)" in said, said
    assert answer[:2] == b"\x01\x01", answer


@pytest.mark.parametrize(
    "weak",
    [
        ("-dtls1", "-cipher", "ALL@SECLEVEL=0"),
        ("-dtls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"),
    ],
    ids=["DTLS 1.0", "no AEAD"],
)
async def test_what_is_weak_is_refused(shared: Server, weak: tuple[str, ...]) -> None:
    said, _ = await s_client(shared, *weak)
    assert re.search(r"alert (handshake failure|protocol version)|Cipher is \(NONE\)", said), said


async def test_a_crowd_that_only_says_hello_costs_no_memory(shared: Server) -> None:
    """Hellos from 3,000 sources, again and again; an honest client is served meanwhile."""
    crowd = [f"127.{64 + number // 250}.{number % 250}.7" for number in range(SOURCES)]
    await asyncio.to_thread(say_hello, shared, crowd)  # what the first of them makes room for
    before, open_before = shared.memory_kib(), shared.metric("turnd_streams")
    async with asyncio.TaskGroup() as group:
        flood = group.create_task(asyncio.to_thread(say_hello, shared, crowd * ROUNDS))
        await uclient(shared, "dtls", "127.0.0.1", "-y", "-s", *BY_USER)
    assert flood.result() >= SOURCES * ROUNDS // 2, "most were asked for the cookie"
    assert shared.memory_kib() - before < GROWTH_KIB
    assert shared.metric("turnd_streams") - open_before <= 8, "those of the honest client"


def say_hello(server: Server, hosts: list[str]) -> int:
    """One hello from each; returns how many were asked for the cookie."""
    hello = a_hello()
    asked = 0
    for host in hosts:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
            source.bind((host, 0))
            source.settimeout(2)
            source.sendto(hello, ("127.0.0.1", server.tls_port))
            try:
                asked += source.recv(2048)[13] == HELLO_VERIFY_REQUEST
            except TimeoutError:
                continue
    return asked
