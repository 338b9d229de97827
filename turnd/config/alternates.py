"""An entry of `redirect.to`: another server that clients are sent to.

    entry  = server | NAME "=" server
    server = ADDRESS | ADDRESS ":" PORT | NAME | NAME ":" PORT

A name in front of `=` is the one in the other server's certificate; a server that is given by its
name is looked up, and has it in its certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from turnd.config.names import parse_name
from turnd.config.values import HostPort, parse_host_port, parse_port


@dataclass(frozen=True, slots=True)
class Alternate:
    """Another server: where, its port where it is not the one the client came to, and its name."""

    host: str
    """An IP address in canonical text, or a name that is to be looked up."""
    port: int = 0
    domain: str = ""
    """The name in its certificate (ALTERNATE-DOMAIN); empty: the same as ours."""

    @property
    def is_named(self) -> bool:
        """Whether `host` is to be looked up."""
        return ":" not in self.host and not self.host.replace(".", "").isdecimal()

    def __str__(self) -> str:
        where = str(HostPort(self.host, self.port)) if self.port else self.host
        return where if self.domain in {"", self.host} else f"{self.domain}={where}"


def parse_alternate(text: str) -> Alternate:
    """An entry, see the module's grammar.

    Raises:
        ValueError: not of this form, or an address that nobody could be sent to.
    """
    domain, separator, server = text.partition("=")
    if separator:
        found = _parse_server(server.strip())
        return Alternate(found.host, found.port, parse_name(domain.strip()))
    return _parse_server(text)


def _parse_server(text: str) -> Alternate:
    try:
        alternate = Alternate(str(ip_address(text)))
    except ValueError:
        alternate = _with_port_or_name(text)
    if not alternate.is_named and ip_address(alternate.host).is_unspecified:
        raise ValueError(f"'{text}' is every address: nobody could be sent there")
    return alternate


def _with_port_or_name(text: str) -> Alternate:
    name, separator, port = text.partition(":")
    try:
        domain = parse_name(name)
    except ValueError:
        address = parse_host_port(text)
        if not address.port:
            raise ValueError("0 is no port: 1 to 65535") from None
        return Alternate(address.host, address.port)
    return Alternate(domain, parse_port(port, lowest=1) if separator else 0, domain)
