"""The contract on the native engine, by every way to talk to the kernel that works here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine import (
    contract,
    contract_bounds,
    contract_discovery,
    contract_dtls,
    contract_dtls_hostile,
    contract_fields,
    contract_icmp,
    contract_mobility,
    contract_protection,
    contract_proxies,
    contract_sockets,
    contract_splicing,
    contract_streams,
    contract_streams_hostile,
)
from tests.engine.native_world import IOS, NativeWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KINDS = [(io, workers) for io in IOS for workers in (1, 2)]


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
async def world(request: pytest.FixtureRequest) -> AsyncIterator[NativeWorld]:
    surroundings = NativeWorld(*request.param)
    yield surroundings
    await surroundings.close()


class TestHandingUp(contract.HandingUp):
    pass


class TestRelays(contract.Relays):
    pass


class TestChannels(contract.Channels):
    pass


class TestIndications(contract.Indications):
    pass


class TestFailures(contract.Failures):
    pass


class TestFields(contract_fields.HeaderFields):
    """See the contract."""


class TestIcmp(contract_icmp.Icmp):
    """See the contract."""


class TestProxies(contract_proxies.Proxies):
    """See the contract."""


class TestWaiting(contract_bounds.Waiting):
    pass


class TestBudget(contract_bounds.Budget):
    pass


class TestBandwidth(contract_bounds.Bandwidth):
    pass


class TestProtection(contract_protection.Protection):
    pass


class TestOwnAddresses(contract_protection.OwnAddresses):
    pass


class TestDiscovery(contract_discovery.Discovery):
    pass


class TestMobility(contract_mobility.Mobility):
    pass


class TestStreams(contract_streams.Streams):
    pass


class TestStreamsHostile(contract_streams_hostile.Hostile):
    pass


class TestSplicing(contract_splicing.Splicing):
    """See the contract."""


class TestSockets(contract_sockets.Sockets):
    pass


class TestSplicedSockets(contract_splicing.SplicedSockets):
    """See the contract."""


class TestDtls(contract_dtls.Dtls):
    pass


class TestDtlsCookies(contract_dtls.Cookies):
    pass


class TestDtlsFlights(contract_dtls.Flights):
    pass


class TestDtlsFragments(contract_dtls.Fragments):
    pass


class TestDtlsHandshakes(contract_dtls.Handshakes):
    pass


class TestDtlsEnds(contract_dtls.Ends):
    pass


class TestDtlsGarbage(contract_dtls.Garbage):
    pass


class TestDtlsHostile(contract_dtls_hostile.Hostile):
    pass
