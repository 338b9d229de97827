"""What TLS and DTLS have in common for a client: whom it trusts, and what was agreed on."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from ipaddress import ip_address

ALPN = "stun.turn"
"""What is asked for (RFC 7443)."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose certificates are taken.

    Attributes:
        authorities: a PEM file to trust in place of the system's authorities; None: those.
        verify: off only to look at a server whose certificate is known to be wrong.
    """

    authorities: str | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class TlsDetails:
    """A TLS or DTLS connection.

    Attributes:
        version: its name, such as `TLSv1.3` or `DTLSv1.2`.
        cipher: the suite's name, as OpenSSL has it.
        certificate: the server's, in DER.
        alpn: the protocol agreed on, if there is one.
    """

    version: str
    cipher: str
    certificate: bytes
    alpn: str | None


def client_tls(trust: Trust) -> ssl.SSLContext:
    """A context for connections by TLS.

    Raises:
        OSError: the authorities cannot be read; with the file's name.
    """
    if trust.verify:
        context = _verifying(trust.authorities)
    else:  # and nothing is read to verify by, which takes longer than a handshake
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([ALPN])
    return context


def _verifying(authorities: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authorities)
    except OSError as error:
        error.filename = authorities
        raise


def name_of(host_untrusted: str) -> str:
    """A host's name as SNI and certificates have it (IDNA, lower case, no final dot), or address.

    Raises:
        ValueError: no host can have it.
    """
    if is_address(host_untrusted):
        return host_untrusted
    name = host_untrusted.encode("idna").decode("ascii")
    if "\0" in name:
        raise ValueError("a name without end")
    return name.lower().removesuffix(".")


def is_address(host: str) -> bool:
    """Whether it is an IP address and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
