"""One port for everything, with nginx behind it: the page docs/port-443.md, as it stands there."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.e2e.calls import allocated, client_of
from tests.e2e.front import BIG, PAGE, SITE
from tests.e2e.server import LIMIT, Server, free_port, serve, wait_until
from tests.e2e.test_turnutils import BY_USER, HOSTS, LEGS, echoing, run, side_by_side, uclient
from tests.listeners.hellos import openssl_hello
from tests.waiting import eventually
from turnd.client.uri import Transport

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.certificates import Authority


async def curl(server: Server, url: str, *options: str) -> str:
    """What curl gets for a URL, whose `{port}` is the server's and whose names lead there."""
    names = (
        word
        for name in (SITE, "localhost")
        for word in ("--resolve", f"{name}:{server.port}:127.0.0.1")
    )
    limit = ("--max-time", str(2 * LIMIT))
    status, output = await run(
        "curl", "-sS", *limit, *names, *options, url.format(port=server.port)
    )
    assert status == 0, output
    return output


async def test_turnutils_by_every_transport(shared: Server) -> None:
    port = free_port()
    with echoing(port, *HOSTS):
        await side_by_side(
            *(
                uclient(shared, leg, host, "-s", *family, "-e", host, "-r", str(port), *BY_USER)
                for leg in LEGS
                for host, family in HOSTS.items()
            )
        )


@pytest.mark.parametrize("name", [SITE, "localhost"])
async def test_a_page_by_http2_and_http1(shared: Server, authority: Authority, name: str) -> None:
    """At the site's name, and at the name of TURN's certificate: ALPN tells browsers."""
    for version, shown in (("--http2", "2"), ("--http1.1", "1.1")):
        options = ("--cacert", str(authority.file), version, "-w", "\n%{http_version}")
        page = await curl(shared, f"https://{name}:{{port}}/", *options)
        assert page.split("\n") == [PAGE, shown]


async def test_a_client_without_alpn_is_told_by_the_name(
    shared: Server, authority: Authority
) -> None:
    options = ("--cacert", str(authority.file), "--no-alpn", "--http1.1")
    assert await curl(shared, f"https://{SITE}:{{port}}/", *options) == PAGE


async def test_plain_http_goes_there_too(shared: Server) -> None:
    found = await curl(shared, f"http://{SITE}:{{port}}/", "-w", "%{http_code} %{redirect_url}")
    assert found.endswith(f"301 https://{SITE}/")


async def test_the_web_server_is_told_the_client(shared: Server, authority: Authority) -> None:
    options = ("--cacert", str(authority.file), "-D", "-", "-w", "\n%{local_ip}:%{local_port}")
    head, _, client = (await curl(shared, f"https://{SITE}:{{port}}/", *options)).rpartition("\n")
    assert f"x-client: {client}" in head.lower()


async def test_big_files_both_ways_while_calls_go_on(
    shared: Server, authority: Authority, website: Path
) -> None:
    trusts = ("--cacert", str(authority.file))
    big, got, put = website / "html" / "big", website / "got", website / "html" / "put"
    by_tls = allocated(shared, Transport.TLS, authority=authority)
    by_tcp = allocated(shared, Transport.TCP)
    async with by_tls as one, by_tcp as other, asyncio.TaskGroup() as group:
        download = curl(shared, f"https://{SITE}:{{port}}/big", *trusts, "-o", str(got))
        upload = curl(shared, f"https://{SITE}:{{port}}/put", *trusts, "-T", str(big))
        group.create_task(download)
        group.create_task(upload)
        for count in range(20):
            await one.sends_to(other, b"%d" % count)
    wanted = hashlib.sha256(big.read_bytes()).digest()
    for file in (got, put):
        assert hashlib.sha256(file.read_bytes()).digest() == wanted
    passed = 'turnd_passthrough_bytes_total{direction="%s"}'
    assert all(shared.metric(passed % way) > BIG for way in ("to_client", "to_backend"))
    wait_until(lambda: not shared.metric("turnd_passthrough_connections"), "all have ended")


async def test_openssl_with_the_alpn_of_turn(shared: Server, authority: Authority) -> None:
    """RFC 7443: whoever offers it gets it, whatever else it offers."""
    client = ("openssl", "s_client", "-connect", f"127.0.0.1:{shared.port}", "-servername", SITE)
    _, output = await run(*client, "-alpn", "http/1.1,stun.turn", "-CAfile", str(authority.file))
    assert "ALPN protocol: stun.turn" in output


async def test_a_backend_that_is_away_does_not_hurt_turn(
    folder: Path, authority: Authority
) -> None:
    pair = authority.issue("localhost")
    listen = ["auto://127.0.0.1:{port}"]
    nobody = f"127.0.0.1:{free_port()}"
    with serve(folder, tls=pair.section(), listen=listen, passthrough=nobody) as running:
        server = replace(running, tls_port=running.port)
        url = f"https://localhost:{server.port}/"
        status, output = await run("curl", "-sS", "--max-time", str(LIMIT), url)
        assert status == 35, output  # the handshake was cut off
        async with client_of(server, Transport.TLS, authority=authority) as client:
            await client.binding()
        await eventually(lambda: [e["backend"] for e in server.logged("backend_away")] == [nobody])
        assert server.metric('turnd_streams_refused_total{reason="backend"}') == 1


async def test_who_trickles_costs_little_and_not_for_long(
    folder: Path, authority: Authority
) -> None:
    """300 clients that say nothing, and 300 that begin a ClientHello byte by byte."""
    pair, patience = authority.issue("localhost"), 10.0
    hello = openssl_hello("localhost")
    with serve(
        folder,
        tls=pair.section(),
        listen=["auto://127.0.0.1:{port}"],
        passthrough=f"127.0.0.1:{free_port()}",
        streams={"handshake_timeout": patience},
    ) as running:
        server = replace(running, tls_port=running.port)
        async with client_of(server, Transport.TLS, authority=authority) as client:
            await client.binding()  # what the first client costs is no client's
        before, memory = server.cpu_seconds(), server.memory_kib()
        async with asyncio.timeout(LIMIT):
            streams = await asyncio.gather(
                *(asyncio.open_connection("127.0.0.1", server.port) for _ in range(600))
            )
        for at in range(150):
            for _, writer in streams[:300]:
                writer.write(hello[at : at + 1])
            await asyncio.sleep(0)
        async with client_of(server, Transport.TLS, authority=authority) as client:
            await client.binding()
        assert server.cpu_seconds() - before < 5.0
        assert server.memory_kib() - memory < 20_000
        silent = 'turnd_streams_refused_total{reason="silent"}'
        await eventually(lambda: server.metric(silent) == 600, 4 * patience)
        for _, writer in streams:
            writer.transport.abort()


async def test_it_ends_with_connections_open(folder: Path, authority: Authority) -> None:
    """One that has said nothing, one that is carried: the first SIGTERM lets both be."""
    pair, came = authority.issue("localhost"), asyncio.Event()

    async def stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read()
        writer.close()

    web = await asyncio.start_server(stay, "127.0.0.1", 0)
    behind = "{}:{}".format(*web.sockets[0].getsockname())
    listen = ["auto://127.0.0.1:{port}"]
    async with web:
        with serve(folder, tls=pair.section(), listen=listen, passthrough=behind) as server:
            silent = await asyncio.open_connection("127.0.0.1", server.port)
            carried = await asyncio.open_connection("127.0.0.1", server.port)
            carried[1].write(b"GET / HTTP/1.1\r\n")
            await asyncio.wait_for(came.wait(), LIMIT)
        for reader, writer in (silent, carried):
            try:
                assert await asyncio.wait_for(reader.read(), LIMIT) == b""
            except ConnectionResetError:
                continue
            finally:
                writer.close()
        assert server.process.returncode == 0
