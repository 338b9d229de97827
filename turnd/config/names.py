"""Host names in the configuration: DNS names that are looked up while the server runs."""

from __future__ import annotations

import re

from turnd.config.values import HostPort, parse_host, parse_host_port, parse_port

_LONGEST = 253  # RFC 1035 section 2.3.4, without the root's dot
_NAME = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*(?P<last>[A-Za-z0-9-]+)\.?"
)
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


def parse_name(text: str) -> str:
    """A DNS name (RFC 1123 section 2.1), in small letters and without the root's dot.

    Raises:
        ValueError: none, or an IP address.
    """
    match = _NAME.fullmatch(text)
    last = "" if match is None else match["last"]
    # What ends in a number would be an address, or the slip of one.
    if not _LABEL.fullmatch(last) or last.isdecimal() or len(text.rstrip(".")) > _LONGEST:
        raise ValueError(
            f"'{text}' is no host name: letters, digits and hyphens between dots; an international "
            "one in its form with xn--"
        )
    return text.rstrip(".").lower()


def parse_name_port(text: str, default_port: int) -> HostPort:
    """A name or an address, with or without port: `stun.example.org`, `[2001:db8::1]:3478`.

    Raises:
        ValueError: not of this form, or port 0.
    """
    name, separator, port_text = text.partition(":")
    try:
        host = parse_name(name)
    except ValueError:
        if not text or not (text[0].isdecimal() or text[0] in "[:" or text.count(":") > 1):
            raise
        if text.count(":") > 1 and not text.startswith("["):
            return HostPort(str(parse_host(text)), default_port)
        found = parse_host_port(text, default_port)
        if not found.port:
            raise ValueError("0 is no port: 1 to 65535") from None
        return found
    return HostPort(host, parse_port(port_text, lowest=1) if separator else default_port)
