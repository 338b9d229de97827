"""Which names fit a host that a client asks for by TLS or DTLS (SNI, RFC 6066 section 3)."""

from __future__ import annotations


def fitting_names(server_name: str) -> tuple[str, str]:
    """What may be said of a host's name: itself, and before all else; then the pattern.

    A pattern stands for one label (RFC 6125 section 6.4.3): `*.example.org` fits
    `turn.example.org`.

    Args:
        server_name: lower case, without a final dot.
    """
    return server_name, "*." + server_name.partition(".")[2]
