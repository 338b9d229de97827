"""The way to the server: the connection in use, and what takes its place.

reopen      from another port of ours, since this one is another client's to the server
redirect    to another server, that this one has sent us to (RFC 8489 section 10)
move        by another connection, with the allocation; the former one is still received from until
            `leave` (RFC 8016)
beside      nothing: a further connection, which becomes one with a peer's (RFC 6062)
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from turnd.client.answers import read
from turnd.client.credentials import LongTermCredentials
from turnd.client.session import ClientOptions, Session
from turnd.stun import attributes as a
from turnd.stun.message import Method

if TYPE_CHECKING:
    from turnd.client.connection import ConnectOptions
    from turnd.client.redirect import Elsewhere
    from turnd.client.uri import Server


class Route:
    """One for a client.

    Args:
        server: where it leads.
        user: name and password; None: a challenge is not answered.
        options: see `ClientOptions`.

    Attributes:
        server: where it leads now.
        credentials: what answers challenges there.
        session: the connection in use.
    """

    def __init__(
        self, server: Server, user: tuple[str, str] | None, options: ClientOptions
    ) -> None:
        self.server = server
        self._user = user
        self._options = options
        self.credentials = self._stranger()
        self.session = self._session()
        self._former: Session | None = None

    async def reopen(self) -> None:
        """Connect anew, from another port.

        Raises:
            UnreachableError: it cannot be done.
        """
        await self.session.close()
        self.session = self._session()
        await self.session.open()

    async def redirect(self, there: Elsewhere) -> None:
        """Connect to another server by the same transport, as the same user.

        Raises:
            UnreachableError: it cannot be done.
        """
        await self.session.close()
        connect = self._options.connect
        name = there.name(self.server, connect.server_name)
        self._options = replace(self._options, connect=replace(connect, server_name=name))
        self.server = there.by_transport_of(self.server)
        self.credentials = self._stranger()
        self.session = self._session()
        await self.session.open()

    async def move(self, ticket: bytes, to: Server, connect: ConnectOptions | None) -> bytes | None:
        """Take the allocation of a ticket along to another connection.

        Returns:
            The next ticket.

        Raises:
            ClientError: it cannot be done, and all is as it was.
        """
        options = self._options if connect is None else replace(self._options, connect=connect)
        session = Session(to, self.credentials, options)
        try:
            await session.open()
            response = await session.request(Method.REFRESH, [(a.MOBILITY_TICKET, ticket)])
            following = read(response, a.MOBILITY_TICKET)
            await self.leave()
        except BaseException:
            await session.close()
            raise
        session.succeed(self.session)
        self.server, self._options = to, options
        self._former, self.session = self.session, session
        return following

    async def leave(self) -> None:
        """Close the connection that we have moved from, if there is one."""
        former, self._former = self._former, None
        if former is not None:
            await former.close()

    def beside(self) -> Session:
        """A further connection, not open yet, that proves itself anew."""
        return Session(self.server, self._stranger(), self._options)

    async def close(self) -> None:
        """Disconnect, cancelled or not."""
        try:
            await self.leave()
        finally:
            await self.session.close()

    def _session(self) -> Session:
        return Session(self.server, self.credentials, self._options)

    def _stranger(self) -> LongTermCredentials | None:
        """With nothing known of the server yet."""
        if self._user is None:
            return None
        return LongTermCredentials(*self._user, rfc5389=self._options.rfc5389)
