"""How allocations and what belongs to them end: by time, by the client, or by a new policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.allocations.allocation import RelayedTransport
from turnd.allocations.table import (
    AllocationEnded,
    ChannelEnded,
    Ended,
    PermissionEnded,
    RelayEnded,
    ReservationEnded,
)
from turnd.engine.base import RelayId
from turnd.turn import events
from turnd.turn.connection_ending import end_connections_of, end_overdue, end_refused
from turnd.turn.events import EndReason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from turnd.turn.state import ServerState
    from turnd.turn.turn_allocation import TurnAllocation

_LONG_AGO = float("-inf")


def carry_out(
    state: ServerState, ended: Iterable[Ended[TurnAllocation]], reason: EndReason, now: float
) -> None:
    """Do what the table's records ask for: close sockets, free ports, tell."""
    for each in ended:
        match each:
            case RelayEnded():
                _relay_ended(state, each, now)
            case ReservationEnded():
                reserved = each.reservation
                state.relays.close(RelayId(reserved.relay_id), reserved.bound, now)
            case AllocationEnded():
                _ended(state, each.allocation, reason, now)
            case PermissionEnded():
                if each.allocation.transport is RelayedTransport.UDP:
                    state.engine.permit(RelayId(each.relay.relay_id), each.host, _LONG_AGO)
            case ChannelEnded():
                state.engine.bind_channel(
                    RelayId(each.relay.relay_id), each.number, each.peer, _LONG_AGO
                )


def end_allocation(
    state: ServerState, allocation: TurnAllocation, reason: EndReason, now: float
) -> None:
    """End an allocation with all it has."""
    carry_out(state, state.table.remove(allocation), reason, now)


def forget_expired(state: ServerState, now: float) -> None:
    """End what has reached its deadline."""
    end_overdue(state, now)
    ended = state.table.expire(now)
    if ended:
        carry_out(state, ended, EndReason.EXPIRED, now)


def revoke_refused_peers(state: ServerState, now: float) -> None:
    """Take back what the realms' policies, just changed, refuse now."""
    end_refused(state, now)
    for allocation in state.table:
        policy = state.realms[allocation.realm].policy
        is_udp = allocation.transport is RelayedTransport.UDP
        for relay in allocation.relays:
            for host in list(relay.permissions):
                if policy.verdict(host, None) is not None:
                    del relay.permissions[host]
                    if is_udp:
                        state.engine.permit(RelayId(relay.relay_id), host, _LONG_AGO)
            for number, channel in list(relay.channels.items()):
                if policy.verdict(channel.peer.host, channel.peer.port) is not None:
                    del relay.channels[number]
                    state.engine.bind_channel(
                        RelayId(relay.relay_id), number, channel.peer, _LONG_AGO
                    )


def _relay_ended(state: ServerState, ended: RelayEnded, now: float) -> None:
    allocation, relay = ended.allocation, ended.relay
    relay_id = RelayId(relay.relay_id)
    if allocation.transport is RelayedTransport.TCP:
        del state.listening[relay_id]
        end_connections_of(state, allocation, relay, now)
    state.relays.close(relay_id, relay.bound, now, allocation.transport)


def _ended(state: ServerState, allocation: TurnAllocation, reason: EndReason, now: float) -> None:
    state.tickets.forget(allocation)
    if allocation.next_leg is not None:
        state.engine.hand_over((), allocation.next_leg)
    realm, user = state.realms[allocation.realm], allocation.quota_user
    realm.quotas.release(realm.name, user, allocation.client_host)
    state.bandwidth.close(realm, user, allocation.buckets)
    state.report(
        events.AllocationEnded(
            allocation.leg, allocation.user, allocation.realm, reason, now - allocation.created_at
        )
    )
