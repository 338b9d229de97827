"""What `turnd check --local` says of the addresses that clients are given."""

from __future__ import annotations

import asyncio
import http.client
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from turnd.cli.admin_socket import UnixConnection, socket_of
from turnd.client.report import Status, Step
from turnd.runtime.finding import find
from turnd.runtime.names import Names
from turnd.turn.address_book import AddressBook, TroubleKind
from turnd.turn.relay_addresses import AddressPair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turnd.config.model import Config
    from turnd.turn.address_book import Settled

PATIENCE = 5.0
"""Seconds that the running server has for its answer."""
FIX = (
    "See relay.addresses: an address that this host has, a name that says the public address, or a "
    "STUN server elsewhere."
)
FIX_STALE = "The server looks again every relay.refresh_addresses; turnd reload brings a new file."


def check_addresses(config: Config) -> Step:
    """One look at `relay.addresses`, as a server would take it; compared with the running one."""
    settled = asyncio.run(_look(config))
    found = [str(pair) for pair in settled.pairs]
    values: dict[str, object] = {"relay": found}
    if settled.troubles:
        text = "; ".join(f"{each.entry}: {each.why}" for each in settled.troubles)
        unknown = any(each.kind is TroubleKind.UNKNOWN for each in settled.troubles)
        status = Status.FAILED if unknown or not found else Status.WARNING
        return Step("addresses", status, text, FIX, values)
    running = running_addresses(config)
    if running is not None:
        values["running"] = [str(pair) for pair in running]
        if set(running) != set(settled.pairs):
            text = f"{_shown(found)} now, but the running server gives {_shown(values['running'])}"
            return Step("addresses", Status.WARNING, text, FIX_STALE, values)
    return Step("addresses", Status.OK, _shown(found), values=values)


async def _look(config: Config) -> Settled:
    findings = await find(config.relay.addresses, Names())
    return AddressBook().settle(findings, 0.0, config.relay.refresh_addresses)


def _shown(pairs: object) -> str:
    return ", ".join(map(str, pairs)) if isinstance(pairs, list) and pairs else "none"


def running_addresses(config: Config) -> Sequence[AddressPair] | None:
    """What the running server gives to new allocations; None: none runs, or it is not ours to ask.

    That a server gives nothing at all is an empty list.
    """
    connection = UnixConnection(socket_of(config), PATIENCE)
    try:
        connection.request("GET", "/metrics", headers={"Host": "localhost"})
        text = connection.getresponse().read().decode()
        return [
            AddressPair(sample.labels["bound"], sample.labels["announced"])
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "turnd_relay_address_info"
        ]
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return None
    finally:
        connection.close()
