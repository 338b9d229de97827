"""How many streams are open, and who may open one more."""

from __future__ import annotations

from enum import StrEnum

from turnd.stun.addresses import client_key


class StreamRefusal(StrEnum):
    """Why a connection was not let in; the label of `turnd_streams_refused_total`."""

    PER_CLIENT = "per_client"  # the client address has as many as it may
    TOTAL = "total"  # the server has as many as it may
    FAILED = "failed"  # it broke before it was accepted
    SILENT = "silent"  # its first bytes did not come in time
    LEFT = "left"  # it ended before its first bytes were there
    PROXY_HEADER = "proxy_header"  # a trusted proxy's, without a header or with a bad one
    UNKNOWN_PROTOCOL = "unknown_protocol"  # neither STUN nor TLS, and there is no backend
    BACKEND = "backend"  # for the backend, which does not answer


class StreamCaps:
    """How many streams may be open, in total and per client address, over all listeners.

    An IPv6 client is counted by its /64: a host has that many addresses of its own.
    """

    def __init__(self, per_client: int = 2000, total: int = 0) -> None:
        self.per_client = per_client
        """0: no limit. A company behind one NAT is one address."""
        self.total = total
        self.refused: dict[StreamRefusal, int] = dict.fromkeys(StreamRefusal, 0)
        self._open = 0
        self._by_client: dict[bytes, int] = {}

    @property
    def open(self) -> int:
        """Streams that are let in at this moment."""
        return self._open

    def of_client(self, host: str) -> int:
        """Streams of one client address (IPv6: of its /64)."""
        return self._by_client.get(client_key(host), 0)

    def admit(self, host: str | None) -> StreamRefusal | None:
        """Count one more stream of a client, or say why not (and count that).

        None: a proxy's, which has not said yet whose it is; `name` counts it for its client then.
        """
        if self.total and self._open >= self.total:
            return self.refuse(StreamRefusal.TOTAL)
        if host is not None and (refusal := self.name(host)) is not None:
            return self.refuse(refusal)
        self._open += 1
        return None

    def name(self, host: str) -> StreamRefusal | None:
        """Whose a stream is that was admitted without a name, or why it may not be."""
        key = client_key(host)
        held = self._by_client.get(key, 0)
        if self.per_client and held >= self.per_client:
            return StreamRefusal.PER_CLIENT
        self._by_client[key] = held + 1
        return None

    def refuse(self, reason: StreamRefusal) -> StreamRefusal:
        """Count a refusal."""
        self.refused[reason] += 1
        return reason

    def release(self, host: str | None) -> None:
        """A stream that was admitted has ended; None: one without a name."""
        self._open -= 1
        if host is None:
            return
        key = client_key(host)
        held = self._by_client[key] - 1
        if held:
            self._by_client[key] = held
        else:
            del self._by_client[key]
