"""The contract on the fake engine, and what is particular to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine import contract, contract_protection, contract_streams
from tests.engine.worlds import FakeWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world() -> AsyncIterator[FakeWorld]:
    surroundings = FakeWorld()
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


class TestProtection(contract_protection.Protection):
    pass


class TestOwnAddresses(contract_protection.OwnAddresses):
    pass


class TestStreams(contract_streams.Streams):
    pass
