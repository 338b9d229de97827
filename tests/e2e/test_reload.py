"""SIGHUP and changed certificate files: what is good takes effect, what is broken does not."""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from tests.e2e.calls import allocated, client_of, two_allocated
from tests.e2e.server import PASSWORD, USER, serve
from tests.waiting import LIMIT, eventually
from turnd.client.errors import ClientError, StunError
from turnd.client.uri import Transport

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.certificates import Authority, CertificatePair
    from tests.e2e.server import Server


async def test_a_new_user_is_let_in_and_no_call_is_lost(folder: Path) -> None:
    with serve(folder) as server:
        async with two_allocated(server) as (one, other):
            server.rewrite(auth={"users": {USER: PASSWORD, "carol": "pass"}})
            server.reload()
            await eventually(lambda: server.logged("reloaded"))
            async with allocated(server, user=("carol", "pass")):
                pass
            await one.sends_to(other, b"after the reload")
            assert await one.client.refresh(600) == 600


async def test_a_removed_user_is_kept_out(folder: Path) -> None:
    with serve(folder) as server:
        server.rewrite(auth={"users": {"carol": "pass"}})
        server.reload()
        await eventually(lambda: server.logged("reloaded"))
        async with client_of(server) as client:
            with pytest.raises(ClientError, match="401"):
                await client.allocate()


@pytest.mark.parametrize(
    "broken",
    [
        "realm: [broken\n",
        "reelm: turn.test\n",
        "relay: {ports: 70000-80000}\n",
        "listen: [sctp://[::]:1]\n",
    ],
)
async def test_a_broken_file_changes_nothing_and_says_where(folder: Path, broken: str) -> None:
    with serve(folder) as server:
        async with two_allocated(server) as (one, other):
            server.config_file.write_text(broken)
            server.reload()
            refused = await eventually(lambda: server.logged("reload_refused"))
            assert re.match(rf"{server.config_file}:\d+:\d+: ", str(refused[0]["problem"]))
            assert server.metric("turnd_config_last_reload_successful") == 0
            await one.sends_to(other, b"as before")
            async with allocated(server):
                pass
        assert not server.logged("reloaded")


async def test_what_needs_a_restart_is_named(folder: Path) -> None:
    with serve(folder) as server:
        server.rewrite(relay={"addresses": ["127.0.0.1"], "ports": "50000-60000"})
        server.reload()
        named = await eventually(lambda: server.logged("restart_needed"))
        assert "relay.ports" in named[0]["keys"]


async def served_certificate(server: Server, authority: Authority) -> int:
    """The serial number of the certificate that a new connection sees."""
    trusts = ssl.create_default_context(cafile=authority.file)
    async with asyncio.timeout(LIMIT):
        _, writer = await asyncio.open_connection("127.0.0.1", server.tls_port, ssl=trusts)
    session = writer.get_extra_info("ssl_object")
    certificate = x509.load_der_x509_certificate(session.getpeercert(binary_form=True))
    writer.close()
    await writer.wait_closed()
    return certificate.serial_number


def serial_of(pair: CertificatePair) -> int:
    return x509.load_pem_x509_certificate(pair.certificate.read_bytes()).serial_number


def replace(pair: CertificatePair, other: CertificatePair) -> None:
    """As an ACME client does it: other files under the same names."""
    other.key.replace(pair.key)
    other.certificate.replace(pair.certificate)


async def test_a_renewed_certificate_is_served_and_no_call_is_lost(
    folder: Path, authority: Authority
) -> None:
    pair = authority.issue("renewed")
    with serve(folder, tls=pair.section()) as server:
        async with allocated(server, Transport.TLS, authority=authority) as call:
            assert await served_certificate(server, authority) == serial_of(pair)
            replace(pair, authority.issue("newer"))
            server.reload()
            await eventually(lambda: server.logged("reloaded"))
            assert await served_certificate(server, authority) == serial_of(pair)
            assert await call.client.refresh(600) == 600


async def test_changed_files_are_noticed_without_a_signal(
    folder: Path, authority: Authority
) -> None:
    pair = authority.issue("watched")
    with serve(folder, tls=pair.section()) as server:
        replace(pair, authority.issue("newer"))
        await eventually(lambda: server.logged("certificates_loaded"))
        assert await served_certificate(server, authority) == serial_of(pair)


async def test_a_pair_that_does_not_match_is_refused(folder: Path, authority: Authority) -> None:
    pair = authority.issue("kept")
    serial = serial_of(pair)
    with serve(folder, tls=pair.section()) as server:
        authority.issue("other").certificate.replace(pair.certificate)
        server.reload()
        refused = await eventually(lambda: server.logged("certificate_refused"))
        assert str(pair.certificate) in str(refused[0])
        assert await served_certificate(server, authority) == serial


async def test_an_expired_pair_is_refused(folder: Path, authority: Authority) -> None:
    pair = authority.issue("lasting")
    serial = serial_of(pair)
    with serve(folder, tls=pair.section()) as server:
        replace(pair, authority.issue("expired", days=-1))
        server.reload()
        refused = await eventually(lambda: server.logged("certificate_refused"))
        assert "expired" in str(refused[0]["reason"])
        assert await served_certificate(server, authority) == serial


async def test_a_quota_takes_effect(folder: Path) -> None:
    with serve(folder) as server:
        server.rewrite(limits={"allocations_per_user": 1})
        server.reload()
        await eventually(lambda: server.logged("reloaded"))
        async with allocated(server), client_of(server) as second:
            with pytest.raises(StunError, match="486"):
                await second.allocate()
