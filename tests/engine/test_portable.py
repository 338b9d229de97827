"""The contract on the portable engine."""

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
from tests.engine.socket_worlds import PortableWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world() -> AsyncIterator[PortableWorld]:
    surroundings = PortableWorld()
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
    """See the contract."""


class TestBudget(contract_bounds.Budget):
    """See the contract."""


class TestBandwidth(contract_bounds.Bandwidth):
    """See the contract."""


class TestProtection(contract_protection.Protection):
    pass


class TestOwnAddresses(contract_protection.OwnAddresses):
    pass


class TestDiscovery(contract_discovery.Discovery):
    """See the contract."""


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


class TestSplicedSockets(contract_splicing.SplicedSockets):
    """See the contract."""
