from __future__ import annotations

from ipaddress import ip_network

import pytest

from tests.engine.contract_proxies import ASKED, CLIENT, LOCAL, headed
from turnd.engine import proxied
from turnd.engine.base import Drop, Leg, ListenerId, Transport
from turnd.engine.proxied import Proxies, Source, ends_of, source_of
from turnd.engine.tally import Tally
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress

VIA = ("10.0.0.1", 40_000)
STRANGER = ("198.51.100.1", 40_000)


def proxies(tally: Tally | None = None) -> Proxies:
    networks = (ip_network("10.0.0.0/8"), ip_network("fe80::/10"))
    return Proxies(networks, tally or Tally())


def test_what_a_proxy_sends_is_its_clients() -> None:
    assert proxies().unwrap(headed(b"data"), VIA) == (b"data", Source(CLIENT, VIA))
    assert proxies().unwrap(LOCAL + b"data", VIA) == (b"data", VIA)


@pytest.mark.parametrize("source", [("fe80::1", 1, 0, 2), ("::ffff:10.0.0.1", 1, 0, 0)])
def test_zones_and_mapped_addresses(source: tuple[str, int, int, int]) -> None:
    assert proxies().unwrap(headed(b"data"), source) == (b"data", Source(CLIENT, source))


def test_what_others_send_stays_as_it_is() -> None:
    for data in (b"data", headed(b"data")):
        assert proxies().unwrap(data, STRANGER) == (data, STRANGER)


def test_a_proxy_without_header_is_counted() -> None:
    tally = Tally()
    for data in (b"", b"data", headed(b"")[:-1]):
        assert proxies(tally).unwrap(data, VIA) is None
    assert tally.drops[Drop.PROXY_HEADER] == sum(tally.drops.values()) == 3


def test_not_everybody_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxied, "MOST_KNOWN", 2)
    some = proxies()
    for number in range(5):
        assert some.unwrap(headed(b""), (f"10.0.0.{number}", 1)) is not None
        assert len(some._known) <= 2


@pytest.mark.parametrize("via", [None, ClientAddress(TransportAddress(*VIA))])
def test_a_leg_and_its_source(via: ClientAddress | None) -> None:
    leg = Leg(ListenerId(1), Transport.UDP, ServerAddress(ASKED), CLIENT, 0, via)
    assert ends_of(source_of(leg)) == (CLIENT, via)
