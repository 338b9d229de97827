"""What the measurements of a check amount to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turnd.client import advice
from turnd.client.certificate import SOON, certificate_facts
from turnd.client.report import Status, Step

if TYPE_CHECKING:
    from datetime import datetime

    from turnd.client.echo import EchoResult
    from turnd.client.stream_connection import TlsDetails

TOLERATED_LOSS = 0.1
"""Up to this share of lost echoes the check warns; beyond, it fails."""


def certificate_step(tls: TlsDetails, now: datetime, distrust: str | None) -> Step:
    """The certificate's names and days, and `distrust`: why it could not be verified, if so."""
    try:
        facts = certificate_facts(tls.certificate)
    except ValueError as error:  # OpenSSL takes some that are not quite as X.509 wants them
        text = f"{tls.version}, a certificate that cannot be read: {error}"
        return Step("certificate", Status.FAILED, text, advice.UNTRUSTED)
    days = facts.days_left(now)
    values = {
        "tls_version": tls.version,
        "days_left": days,
        "not_after": facts.not_after.isoformat(),
        "names": list(facts.names),
        "issuer": facts.issuer,
    }
    text = f"{tls.version}, {days} days left, for {', '.join(facts.names) or 'no name'}"
    if distrust is not None:
        text = f"{distrust} ({text})"
        return Step("certificate", Status.FAILED, text, advice.UNTRUSTED, values)
    if days < 0:
        return Step("certificate", Status.FAILED, text, advice.EXPIRED, values)
    if days < SOON:
        return Step("certificate", Status.WARNING, text, advice.EXPIRES_SOON, values)
    return Step("certificate", Status.OK, text, values=values)


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
