"""What the measurements of a check amount to."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from turnd.client import advice
from turnd.client.certificate import SOON, certificate_facts
from turnd.client.report import Status, Step
from turnd.stun import attributes as a
from turnd.stun.errors import ErrorCode

if TYPE_CHECKING:
    from datetime import datetime

    from turnd.client.allocating import Allocated
    from turnd.client.echo import EchoResult
    from turnd.client.errors import StunError
    from turnd.client.redirect import Elsewhere
    from turnd.client.tls import TlsDetails
    from turnd.client.uri import Server
    from turnd.stun.addresses import RelayedAddress, TransportAddress
    from turnd.stun.keys import PasswordAlgorithm

TOLERATED_LOSS = 0.1
"""Up to this share of lost echoes the check warns; beyond, it fails."""


def connect_step(seconds: float, tls: TlsDetails | None) -> Step:
    """How long it took until the connection stood, its handshake included."""
    time = milliseconds(seconds)
    values: dict[str, Any] = {"time_ms": time}
    if tls is None:
        return Step("connect", Status.OK, f"{time} ms", values=values)
    values |= {"tls_version": tls.version, "cipher": tls.cipher}
    return Step("connect", Status.OK, f"{time} ms, {tls.version}, {tls.cipher}", values=values)


def certificate_step(tls: TlsDetails, now: datetime, distrust: str | None) -> Step:
    """The certificate's names and days, and `distrust`: why it could not be verified, if so."""
    try:
        facts = certificate_facts(tls.certificate)
    except ValueError as error:  # OpenSSL takes some that are not quite as X.509 wants them
        text = f"a certificate that cannot be read: {error}"
        return Step("certificate", Status.FAILED, text, advice.UNTRUSTED)
    days = facts.days_left(now)
    values = {
        "days_left": days,
        "not_after": facts.not_after.isoformat(),
        "names": list(facts.names),
        "issuer": facts.issuer,
    }
    text = f"{days} days left, for {', '.join(facts.names) or 'no name'}"
    if distrust is not None:
        text = f"{distrust} ({text})"
        return Step("certificate", Status.FAILED, text, advice.UNTRUSTED, values)
    if days < 0:
        return Step("certificate", Status.FAILED, text, advice.EXPIRED, values)
    if days < SOON:
        return Step("certificate", Status.WARNING, text, advice.EXPIRES_SOON, values)
    return Step("certificate", Status.OK, text, values=values)


def challenge_step(error: StunError, server: Server) -> Step:
    """What an Allocate without credentials was refused with: 401, realm and nonce are right."""
    response = error.response
    has_both = response is not None and response.has(a.REALM) and response.has(a.NONCE)
    if error.code != ErrorCode.UNAUTHENTICATED or response is None or not has_both:
        text = str(error) if has_both else f"{error} without realm and nonce"
        fix = advice.advice(error, server)
        return Step("challenge", Status.FAILED, text, fix, {"code": error.code})
    realm = response.get(a.REALM)
    return Step("challenge", Status.OK, f"401, realm {realm}", values={"realm": realm})


def redirect_step(
    there: Elsewhere | None, here: TransportAddress, former: TransportAddress | None
) -> Step:
    """Where an Allocate was sent to by 300 (Try Alternate, RFC 8489 section 10).

    Args:
        there: the server that it names; None: none of our address family.
        here: who sends us there.
        former: who has sent us here; None: nobody.
    """
    if there is None:
        text = "300, but to no server of our address family"
        return Step("redirect", Status.FAILED, text, advice.NO_ALTERNATE, {"code": 300})
    values = {"code": 300, "alternate": str(there.address), "domain": there.domain}
    text = f"300, to {there.address}" + (f" ({there.domain})" if there.domain else "")
    if there.address in {here, former}:
        return Step("redirect", Status.FAILED, f"{text}, in a circle", advice.CIRCLE, values)
    if former is not None:
        text = f"{text}, by a server that we were sent to ourselves"
        return Step("redirect", Status.FAILED, text, advice.SENT_ON, values)
    return Step("redirect", Status.OK, text, values=values)


def allocate_step(
    allocated: Allocated,
    relayed: RelayedAddress,
    server: TransportAddress,
    algorithm: PasswordAlgorithm | None,
    seconds: float,
) -> Step:
    """What was got in how long, and whether peers can reach it."""
    time = milliseconds(seconds)
    values = {
        "time_ms": time,
        "relayed": str(relayed),
        "lifetime": allocated.lifetime,
        "algorithm": algorithm.name if algorithm else None,
    }
    text = f"{relayed}, {allocated.lifetime} s, in {time} ms"
    public = ip_address(server.host).is_global
    if public and not ip_address(relayed.host).is_global:
        return Step("allocate", Status.WARNING, text, advice.PRIVATE_RELAY, values)
    if public and relayed.family is server.family and relayed.host != server.host:
        text = f"{text}; the server itself is at {server.host}"
        return Step("allocate", Status.WARNING, text, advice.ANOTHER_RELAY, values)
    return Step("allocate", Status.OK, text, values=values)


def echo_step(result: EchoResult) -> Step:
    """How many echoes came back, and how long they took."""
    values = _echo_values(result)
    back = len(result.round_trips)
    if not back:
        text = f"0 of {result.sent} came back"
        return Step("echo", Status.FAILED, text, advice.NO_ECHO, values)
    low, mean, high = (values[key] for key in ("min_ms", "avg_ms", "max_ms"))
    text = f"{back} of {result.sent} came back, in {low}/{mean}/{high} ms (min/avg/max)"
    if result.loss == 0:
        return Step("echo", Status.OK, text, values=values)
    status = Status.WARNING if result.loss <= TOLERATED_LOSS else Status.FAILED
    return Step("echo", status, text, advice.SOME_LOST, values)


def _echo_values(result: EchoResult) -> dict[str, Any]:
    times = result.round_trips
    values: dict[str, Any] = {
        "sent": result.sent,
        "received": len(times),
        "loss": round(result.loss, 4),
    }
    if times:
        values["min_ms"] = milliseconds(min(times))
        values["avg_ms"] = milliseconds(sum(times) / len(times))
        values["max_ms"] = milliseconds(max(times))
    return values


def milliseconds(seconds: float) -> float:
    """For people and JSON: two decimals."""
    return round(seconds * 1000, 2)
