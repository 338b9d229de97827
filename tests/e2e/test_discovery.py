"""NAT behavior discovery (RFC 5780) by coturn's client, and RFC 3489 by the client of old."""

from __future__ import annotations

import asyncio
import re
import socket
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.bare import ask, request
from tests.e2e.namespaces import Namespace, join, new_namespace
from tests.e2e.nat_box import Dependence, Way, nat_box
from tests.e2e.server import Server, Surroundings, free_port, serve
from tests.e2e.test_turnutils import run
from turnd.stun import attributes as a
from turnd.stun.message import Method, decode_untrusted

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTS = ("127.0.0.1", "127.0.0.2")
ANNOUNCED = ("10.9.0.11", "10.9.0.12")
BOUND = ("203.0.113.1", "203.0.113.2")
OUTSIDE = "203.0.113.77"
"""The address of a NAT, which its clients must not have themselves."""
IPV4 = ("10.9.0.1", "10.9.0.2")
IPV6 = ("fd00:9::1", "fd00:9::2")
CLASSIC = b"\0\1\0\0" + bytes(16)


@dataclass(frozen=True)
class Discovery:
    """A server with two addresses and ports."""

    server: Server
    alternate: int

    @property
    def port(self) -> int:
        return self.server.port


@pytest.fixture(
    scope="module",
    params=[("127.0.0.1",), ("127.0.0.1", "127.0.0.2"), ("0.0.0.0",)],
    ids=["one", "both", "all"],
)
def direct(folders: Path, request: pytest.FixtureRequest) -> Iterator[Discovery]:
    """`listen` has one of the addresses, both, or all; the rest is bound for discovery."""
    alternate = free_port()
    stun = {"rfc5780": HOSTS, "alternate_port": alternate, "rfc3489": True}
    listen = [f"{each}://{host}:{{port}}" for host in request.param for each in ("udp", "tcp")]
    with serve(Path(tempfile.mkdtemp(dir=folders)), stun=stun, listen=listen) as server:
        yield Discovery(server, alternate)


async def natdiscovery(*options: str, prefix: tuple[str, ...] = ()) -> str:
    status, output = await run(*prefix, "turnutils_natdiscovery", *options)
    assert status == 0, output
    return output


def responses(output: str) -> int:
    return output.count("RFC 5780 response")


@pytest.mark.parametrize("padding", [(), ("-P",)], ids=["bare", "padded"])
async def test_without_nat_mapping_and_filtering_are_independent(
    direct: Discovery, padding: tuple[str, ...]
) -> None:
    where = ("-p", str(direct.port), HOSTS[0])
    output = await natdiscovery("-m", "-f", *padding, *where)
    assert "NAT with Endpoint Independent Mapping!" in output, output
    assert "NAT with Endpoint Independent Filtering!" in output, output
    assert output.count("No ALG: Mapped == XOR-Mapped") == responses(output) == 4, output
    for origin in ((HOSTS[1], direct.port), (HOSTS[1], direct.alternate)):
        assert "Response origin: : {}:{}\n".format(*origin) in output, output


async def test_hairpinning_collision_and_lifetime(direct: Discovery) -> None:
    """The last of them needs an answer to go to another port than the request came from."""
    where = ("-p", str(direct.port), HOSTS[0])
    assert "successful hairpinning" in await natdiscovery("-H", *where)
    collision = await natdiscovery("-c", "-A", "127.0.0.3", *where)
    assert re.search(r"reflexive addr: 127\.0\.0\.3:\d+", collision), collision
    lifetime = await natdiscovery("-t", "-T", "1", *where)
    assert (responses(lifetime), "timeout" in lifetime) == (2, False), lifetime


def test_by_tcp_the_other_endpoint_is_told_and_served(direct: Discovery) -> None:
    other: tuple[str, int] = (HOSTS[0], direct.port)
    for expected in ((HOSTS[1], direct.alternate), (HOSTS[0], direct.port)):
        with socket.create_connection(other, timeout=30) as stream:
            stream.sendall(request(Method.BINDING))
            answer = decode_untrusted(stream.recv(2048))
            assert answer.get(a.RESPONSE_ORIGIN) == other
            assert answer.get(a.OTHER_ADDRESS) == expected
            assert answer.get(a.MAPPED_ADDRESS) == stream.getsockname()
        other = expected


def test_response_port_leads_a_stranger_to_no_service(direct: Discovery) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        asked = request(Method.BINDING, (a.RESPONSE_PORT, 53))
        answer = ask(client, asked, (HOSTS[0], direct.port))
    error = answer.get(a.ERROR_CODE)
    assert error is not None
    assert error.code == 403


async def test_the_client_of_old_finds_no_nat(direct: Discovery) -> None:
    _, output = await run("stun", f"{HOSTS[0]}:{direct.port}")
    assert "Primary: Open" in output, output


def test_switched_off_it_is_offered_to_nobody(server: Server) -> None:
    """Neither are attributes of it understood nor is a request without cookie answered."""
    where = ("127.0.0.1", server.port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(30)
        client.sendto(CLASSIC, where)  # the next answer is that to what comes after it
        plain = ask(client, request(Method.BINDING), where)
        assert [number for number, _ in plain.attributes] == [a.XOR_MAPPED_ADDRESS.number]
        padded = ask(client, request(Method.BINDING, (a.PADDING, bytes(4))), where)
    assert padded.get(a.UNKNOWN_ATTRIBUTES) == (a.PADDING.number,)
    assert server.metric('turnd_packets_dropped_total{reason="not_stun"}') >= 1


@dataclass(frozen=True)
class Hosts:
    """On one cable, whose packets have 1,500 bytes at most."""

    server: Namespace
    client: Namespace


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with new_namespace() as server, new_namespace(beside=server) as client:
        ours = [f"{host}/24" for host in (*IPV4, *ANNOUNCED)] + [f"{host}/64" for host in IPV6]
        join(server, ours, client, ["10.9.0.9/24", "fd00:9::9/64"])
        for address in (*BOUND, OUTSIDE):
            server.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        yield Hosts(server, client)


@contextmanager
def serving(hosts: Hosts, folders: Path, **changes: Any) -> Iterator[None]:
    around = Surroundings(prefix=hosts.server.server_prefix, is_remote=True)
    with serve(Path(tempfile.mkdtemp(dir=folders)), surroundings=around, **changes):
        yield


@pytest.fixture(scope="module")
def both_families(hosts: Hosts, folders: Path) -> Iterator[None]:
    listen = ["udp://0.0.0.0:3478", "udp://[::]:3478"]
    with serving(hosts, folders, stun={"rfc5780": [*IPV4, *IPV6]}, listen=listen):
        yield


@pytest.mark.usefixtures("both_families")
@pytest.mark.parametrize("padding", [(), ("-P",)], ids=["bare", "in-fragments"])
@pytest.mark.parametrize("host", [IPV4[0], IPV6[0]])
async def test_each_family_has_its_pair_and_padding_comes_in_fragments(
    hosts: Hosts, host: str, padding: tuple[str, ...]
) -> None:
    output = await natdiscovery("-m", "-f", *padding, host, prefix=hosts.client.prefix)
    assert "NAT with Endpoint Independent Mapping!" in output, output
    assert "NAT with Endpoint Independent Filtering!" in output, output
    assert responses(output) == 4, output


@pytest.fixture(scope="module")
def announced(hosts: Hosts, folders: Path) -> Iterator[None]:
    """A server that clients know by two other addresses."""
    pairs = [f"{bound}={told}" for bound, told in zip(BOUND, ANNOUNCED, strict=True)]
    stun = {"rfc5780": pairs, "alternate_port": 4479, "rfc3489": True}
    with serving(hosts, folders, stun=stun, listen=[f"udp://{BOUND[0]}:4478"]):
        yield


SEEN = {
    (Dependence.NOTHING, Dependence.NOTHING): "Independent Mapping, Independent Filter",
    (Dependence.NOTHING, Dependence.ADDRESS): "Independent Mapping, Address Dependent Filter",
    (Dependence.NOTHING, Dependence.ADDRESS_AND_PORT): "Independent Mapping, Port Dependent Filter",
    (Dependence.ADDRESS_AND_PORT, Dependence.ADDRESS_AND_PORT): "Dependent Mapping",
}
"""What the client of old calls a NAT.

No mapping that depends on addresses alone is among them: coturn's client asks its third question at
the OTHER-ADDRESS of the second answer, which is the first host's.
"""


@pytest.mark.usefixtures("announced")
@pytest.mark.parametrize("kind", SEEN, ids=lambda kind: f"{kind[0].name}-{kind[1].name}")
async def test_the_kind_of_nat_is_found(hosts: Hosts, kind: tuple[Dependence, Dependence]) -> None:
    way = Way(dict(zip(ANNOUNCED, BOUND, strict=True)), (4478, 4479), OUTSIDE)
    prefix, where = hosts.client.prefix, ("-p", "4478", ANNOUNCED[0])
    with nat_box(hosts.server, way, *kind):
        mapping, filtering, (_, old) = await asyncio.gather(
            natdiscovery("-m", *where, prefix=prefix),
            natdiscovery("-f", *where, prefix=prefix),
            run(*prefix, "stun", f"{ANNOUNCED[0]}:4478"),
        )
    assert f"NAT with {kind[0].value} Mapping!" in mapping, mapping
    assert f"NAT with {kind[1].value} Filtering!" in filtering, filtering
    assert f"Primary: {SEEN[kind]}" in old, old
