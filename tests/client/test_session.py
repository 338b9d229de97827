from __future__ import annotations

import asyncio
import socket
from itertools import count
from typing import Any

import pytest

from tests.client.scripted import FAST, INSISTENT, PATIENT, Exchange, mapped, scripted
from tests.ports import closed_port
from tests.waiting import LIMIT, eventually
from turnd.client.credentials import LongTermCredentials
from turnd.client.errors import (
    BidDownError,
    ClientError,
    IntegrityError,
    StunError,
    TransactionTimeoutError,
    UnreachableError,
)
from turnd.client.session import ANSWERS, MAX_CHALLENGES, ClientOptions, Session
from turnd.client.uri import Server, Transport
from turnd.stun import attributes as a
from turnd.stun.attributes import PasswordAlgorithmEntry
from turnd.stun.keys import PasswordAlgorithm, long_term_key
from turnd.stun.message import (
    Integrity,
    IntegrityAlgorithm,
    MessageClass,
    Method,
    encode_message,
)
from turnd.stun.nonce_cookie import SecurityFeature, add_cookie

REALM = "example.org"
KEY = Integrity(
    long_term_key("alice", REALM, "s3cret", PasswordAlgorithm.SHA256), IntegrityAlgorithm.SHA256
)
OFFER = (PasswordAlgorithmEntry(PasswordAlgorithm.SHA256, b""),)
STREAMS_TOO = pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])


def challenge(exchange: Exchange, code: int = 401, rest: str = "n") -> None:
    nonce = add_cookie(SecurityFeature.PASSWORD_ALGORITHMS, rest)
    exchange.fail(code, (a.REALM, REALM), (a.NONCE, nonce), (a.PASSWORD_ALGORITHMS, OFFER))


def guarded(exchange: Exchange) -> None:
    """A server that lets in whoever signs with the password."""
    if not exchange.message.has_integrity_sha256:
        challenge(exchange)
    elif exchange.message.verify_integrity(*KEY):
        exchange.succeed((a.LIFETIME, 600), integrity=KEY)
    else:
        challenge(exchange)


class Opened:
    """A session for the time of a test."""

    def __init__(self, server: Server, password: str | None = "s3cret", **options: Any) -> None:
        credentials = None if password is None else LongTermCredentials("alice", password)
        timed = {"timing": PATIENT} | options
        self.session = Session(server, credentials, ClientOptions(**timed))

    async def __aenter__(self) -> Session:
        await self.session.open()
        return self.session

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()


@STREAMS_TOO
async def test_a_request_gets_its_answer(transport: Transport) -> None:
    async with scripted(mapped, transport) as server, Opened(server.server) as session:
        response = await session.request(Method.BINDING)

        assert response.get(a.XOR_MAPPED_ADDRESS) == session.connection.local
        assert server.seen[0].message.has_fingerprint


async def test_without_fingerprint_when_told() -> None:
    async with scripted(mapped) as server, Opened(server.server, fingerprint=False) as session:
        await session.request(Method.BINDING)

        assert not server.seen[0].message.has_fingerprint


async def test_transaction_ids_are_those_that_were_injected() -> None:
    numbers = count(1)

    def numbered(size: int) -> bytes:
        return next(numbers).to_bytes(size, "big")

    async with scripted(mapped) as server, Opened(server.server, random_bytes=numbered) as session:
        await session.request(Method.BINDING)
        await session.request(Method.BINDING, transaction_id=b"a" * 12)

        ids = [each.message.transaction_id for each in server.seen]
        assert ids == [bytes(11) + b"\1", b"a" * 12]


@STREAMS_TOO
async def test_a_challenge_is_answered(transport: Transport) -> None:
    async with scripted(guarded, transport) as server, Opened(server.server) as session:
        for _ in range(2):
            response = await session.request(Method.REFRESH)
            assert response.get(a.LIFETIME) == 600

        assert len(server.seen) == 3, "the second request was signed at once"
        ids = {each.message.transaction_id for each in server.seen}
        assert len(ids) == 3, "what is sent after a challenge is a new transaction"


async def test_a_stale_nonce_is_followed() -> None:
    def stale_once(exchange: Exchange) -> None:
        if exchange.number == 2:
            challenge(exchange, 438, "newer")
        else:
            guarded(exchange)

    async with scripted(stale_once) as server, Opened(server.server) as session:
        await session.request(Method.REFRESH)
        await session.request(Method.REFRESH)

        nonces = [each.message.get(a.NONCE) for each in server.seen]
        assert [nonce and nonce.endswith("newer") for nonce in nonces] == [
            None,
            False,
            False,
            True,
        ]


async def test_a_wrong_password_is_told_after_one_try() -> None:
    async with scripted(guarded) as server, Opened(server.server, "wrong") as session:
        with pytest.raises(StunError) as caught:
            await session.request(Method.REFRESH)

        assert caught.value.code == 401
        assert caught.value.reason == "scripted"
        assert caught.value.response is not None
        assert str(caught.value) == "401 scripted"
        assert len(server.seen) == 2


async def test_without_credentials_a_challenge_is_an_error() -> None:
    async with scripted(guarded) as server, Opened(server.server, None) as session:
        with pytest.raises(StunError, match="401"):
            await session.request(Method.REFRESH)


async def test_challenges_are_left_alone_when_told() -> None:
    async with scripted(guarded) as server, Opened(server.server) as session:
        with pytest.raises(StunError, match="401"):
            await session.request(Method.REFRESH, retry=False)
        with pytest.raises(StunError, match="401"):
            await session.request(Method.REFRESH, authenticate=False)

        assert (await session.request(Method.REFRESH)).get(a.LIFETIME) == 600
        assert len(server.seen) == 3


async def test_a_server_that_never_stops_asking_is_given_up() -> None:
    async with (
        scripted(lambda e: challenge(e, 438)) as server,
        Opened(server.server) as session,
    ):
        with pytest.raises(ClientError, match="goes on asking"):
            await session.request(Method.REFRESH)

        assert len(server.seen) == MAX_CHALLENGES


async def test_a_bid_down_ends_the_request() -> None:
    nonce = add_cookie(SecurityFeature.PASSWORD_ALGORITHMS, "n")

    def strips(exchange: Exchange) -> None:
        exchange.fail(401, (a.REALM, REALM), (a.NONCE, nonce))

    async with scripted(strips) as server, Opened(server.server) as session:
        with pytest.raises(BidDownError):
            await session.request(Method.REFRESH)

        assert len(server.seen) == 1


class TestRetransmission:
    async def test_a_lost_request_is_sent_again(self) -> None:
        def loses_two(exchange: Exchange) -> None:
            if exchange.number == 2:
                mapped(exchange)

        async with (
            scripted(loses_two) as server,
            Opened(server.server, timing=INSISTENT) as session,
        ):
            await session.request(Method.BINDING)

            assert len({each.frame for each in server.seen}) == 1

    async def test_silence_is_a_timeout(self) -> None:
        async with (
            scripted(lambda _: None) as server,
            Opened(server.server, timing=FAST) as session,
        ):
            with pytest.raises(TransactionTimeoutError, match="3 requests"):
                await session.request(Method.BINDING)

            assert len(server.seen) == FAST.max_requests

    async def test_silence_on_a_stream_is_a_timeout_after_one_request(self) -> None:
        async with (
            scripted(lambda _: None, Transport.TCP) as server,
            Opened(server.server, timing=FAST) as session,
        ):
            with pytest.raises(TransactionTimeoutError):
                await session.request(Method.BINDING)

            assert len(server.seen) == 1

    async def test_a_hard_icmp_error_ends_the_transaction(self) -> None:
        with closed_port(socket.SOCK_DGRAM) as port:
            gone = Server("127.0.0.1", port, Transport.UDP)
            async with Opened(gone, timing=FAST) as session:
                with pytest.raises(UnreachableError, match="connection refused"):
                    await session.request(Method.BINDING)

    async def test_an_old_icmp_error_does_not_end_a_new_transaction(self) -> None:
        with closed_port(socket.SOCK_DGRAM) as port:
            gone = Server("127.0.0.1", port, Transport.UDP)
            async with Opened(gone, timing=FAST) as session:
                await session.indicate(Method.SEND)
                await eventually(lambda: session.connection.refusals == 1)
                with pytest.raises(UnreachableError):
                    await session.request(Method.BINDING)

                assert session.connection.refusals >= 2


class TestIntegrity:
    FORGED = Integrity(bytes(32), IntegrityAlgorithm.SHA256)

    def forging(self, exchange: Exchange) -> None:
        if exchange.message.has_integrity_sha256:
            exchange.succeed(integrity=self.FORGED)
        else:
            challenge(exchange)

    async def test_a_forged_answer_is_discarded_and_the_true_one_taken(self) -> None:
        def forged_first(exchange: Exchange) -> None:
            self.forging(exchange)
            if exchange.message.has_integrity_sha256:
                exchange.succeed((a.LIFETIME, 7), integrity=KEY)

        async with scripted(forged_first) as server, Opened(server.server) as session:
            assert (await session.request(Method.REFRESH)).get(a.LIFETIME) == 7

    async def test_forged_answers_alone_are_a_violation_and_no_timeout(self) -> None:
        async with scripted(self.forging) as server, Opened(server.server, timing=FAST) as session:
            with pytest.raises(IntegrityError):
                await session.request(Method.REFRESH)

            signed = [each for each in server.seen if each.message.has_integrity_sha256]
            assert len(signed) == FAST.max_requests

    async def test_on_a_stream_it_ends_the_transaction_at_once(self) -> None:
        async with (
            scripted(self.forging, Transport.TCP) as server,
            Opened(server.server) as session,
        ):
            with pytest.raises(IntegrityError, match="does not hold"):
                await session.request(Method.REFRESH)

    @STREAMS_TOO
    async def test_an_unsigned_500_is_told(self, transport: Transport) -> None:
        def store_away(exchange: Exchange) -> None:
            if exchange.message.has_integrity_sha256:
                exchange.fail(500)
            else:
                challenge(exchange)

        async with (
            scripted(store_away, transport) as server,
            Opened(server.server, timing=FAST) as session,
        ):
            with pytest.raises(IntegrityError, match=r"an unsigned answer \(error 500\)"):
                await session.request(Method.REFRESH)

    @STREAMS_TOO
    async def test_an_unsigned_400_is_as_if_it_never_came(self, transport: Transport) -> None:
        def bad_request(exchange: Exchange) -> None:
            if exchange.message.has_integrity_sha256:
                exchange.fail(400)
            else:
                challenge(exchange)

        async with (
            scripted(bad_request, transport) as server,
            Opened(server.server, timing=FAST) as session,
        ):
            with pytest.raises(IntegrityError, match="error 400"):
                await session.request(Method.REFRESH)

    async def test_a_malformed_challenge_is_discarded(self) -> None:
        def malformed(exchange: Exchange) -> None:
            exchange.fail(401, (a.REALM, REALM), (a.NONCE, "n"), (a.raw(0x8002), b"\0"))

        async with scripted(malformed) as server, Opened(server.server, timing=FAST) as session:
            with pytest.raises(IntegrityError, match="malformed"):
                await session.request(Method.REFRESH)

    async def test_an_answer_that_breaks_its_promise_is_discarded(self) -> None:
        nonce = add_cookie(SecurityFeature.PASSWORD_ALGORITHMS, "n")

        def breaks(exchange: Exchange) -> None:
            exchange.succeed((a.NONCE, nonce))

        async with scripted(breaks) as server, Opened(server.server, timing=FAST) as session:
            with pytest.raises(IntegrityError, match="success"):
                await session.request(Method.REFRESH)


class TestAnswers:
    async def test_an_error_without_code(self) -> None:
        async with scripted(lambda e: e.fail(0)) as server, Opened(server.server) as session:
            with pytest.raises(StunError, match="0 an error without ERROR-CODE"):
                await session.request(Method.REFRESH)

    async def test_a_malformed_error_code(self) -> None:
        async with (
            scripted(lambda e: e.fail(0, (a.raw(0x0009), b"\0"))) as server,
            Opened(server.server, None) as session,
        ):
            with pytest.raises(ClientError, match="ERROR-CODE is malformed"):
                await session.request(Method.REFRESH)

    async def test_unknown_required_attributes_fail_the_transaction(self) -> None:
        async with (
            scripted(lambda e: e.succeed((a.raw(0x7ABC), b""), (a.raw(0xFABC), b""))) as server,
            Opened(server.server) as session,
        ):
            with pytest.raises(ClientError, match=r"nobody knows: 0x7abc$"):
                await session.request(Method.REFRESH)

    async def test_answers_to_others_are_dropped(self) -> None:
        def noisy(exchange: Exchange) -> None:
            other = encode_message(Method.BINDING, MessageClass.SUCCESS, b"x" * 12, ())
            exchange.send(other)
            exchange.send(exchange.frame)  # a request, with the right transaction id
            exchange.send(b"garbage")
            mapped(exchange)

        async with scripted(noisy) as server, Opened(server.server) as session:
            response = await session.request(Method.BINDING)

            assert response.message_class == MessageClass.SUCCESS
            assert session.undecodable == 1

    async def test_more_answers_than_anybody_reads_are_bounded(self) -> None:
        def flood(exchange: Exchange) -> None:
            for _ in range(10 * ANSWERS):
                exchange.fail(400)
            exchange.succeed()

        async with scripted(flood) as server, Opened(server.server, None) as session:
            with pytest.raises(StunError, match="400"):
                await session.request(Method.BINDING)

    async def test_encoded_requests_are_sent_as_they_are(self) -> None:
        data = encode_message(0xABC, MessageClass.REQUEST, b"t" * 12, [(a.raw(0x7777), b"abc")])

        async with scripted(lambda e: e.fail(400)) as server, Opened(server.server) as session:
            response = await session.exchange(data)

            assert response.message_class == MessageClass.ERROR
            assert server.seen[0].frame == data


class TestTheEnd:
    async def test_who_waits_is_told_when_the_server_closes(self) -> None:
        async with (
            scripted(lambda _: server.close_streams(), Transport.TCP) as server,
            Opened(server.server) as session,
        ):
            with pytest.raises(UnreachableError, match="closed the connection"):
                await session.request(Method.BINDING)
            with pytest.raises(UnreachableError, match="closed the connection"):
                await session.received.get()
            async with asyncio.timeout(LIMIT):
                with pytest.raises(UnreachableError, match="closed the connection"):
                    await session.request(Method.BINDING)

    async def test_who_waits_is_told_when_the_session_closes(self) -> None:
        async with scripted(lambda _: None) as server, Opened(server.server) as session:
            waiting = asyncio.create_task(session.request(Method.BINDING))
            await eventually(lambda: server.seen)

            await session.close()

            with pytest.raises(UnreachableError, match="the client is closed"):
                await waiting
            with pytest.raises(UnreachableError, match="not connected"):
                await session.request(Method.BINDING)

    async def test_closing_before_opening_is_fine(self) -> None:
        session = Session(Server("127.0.0.1", 1, Transport.UDP), None, ClientOptions())

        await session.close()


async def test_round_trips_are_learnt() -> None:
    async with scripted(mapped) as server, Opened(server.server, timing=FAST) as session:
        now = asyncio.get_running_loop().time()
        session._estimate.update(5.0, now)
        before = session._estimate.rto(now)

        await session.request(Method.BINDING)

        assert session._estimate.rto(now) != before
