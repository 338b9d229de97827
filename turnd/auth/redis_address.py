"""Where Redis is, as an administrator writes it.

    redis://[user:password@]host[:port][/db]            rediss:// by TLS
    unix:///path[?db=0]
    redis+sentinel://host[:port][,host…]/master[/db]    rediss+sentinel://
    redis+cluster://host[:port][,host…]                 rediss+cluster://
    ip=127.0.0.1 dbname=0 password=… port=6379          as coturn writes it

Options behind `?`: `db`, `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `ssl_cert_reqs`,
`ssl_check_hostname`, `sentinel_username`, `sentinel_password`. Texts of errors never repeat the
address, since it may hold a password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

_SCHEMES = {
    "redis": ("standalone", False),
    "rediss": ("standalone", True),
    "unix": ("unix", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_TLS_OPTIONS = frozenset(
    {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}
)
_OPTIONS = _TLS_OPTIONS | {"db", "sentinel_username", "sentinel_password"}
_NODE = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[^:]*))?")
_COTURN_NAMES = {
    "host": ("host", "ip", "addr", "ipaddr", "hostaddr"),
    "port": ("port", "p"),
    "db": ("dbname", "db", "database"),
    "username": ("user", "uname", "name", "username"),
    "password": ("password", "pwd", "passwd", "secret"),
    "timeout": ("connect_timeout", "timeout"),
    "tls": ("tls", "ssl"),
    "ssl_ca_certs": ("ca", "cacert", "tls-ca"),
    "ssl_certfile": ("cert",),
    "ssl_keyfile": ("clientkey", "tls-key"),
    "verify": ("verify",),
}


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is; made by `parse_redis_address`."""

    kind: str
    """`standalone`, `unix`, `sentinel` or `cluster`."""
    tls: bool = False
    nodes: tuple[tuple[str, int], ...] = ()
    """Host and port of every server named; of the sentinels where there are some."""
    path: str = ""
    master: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    options: dict[str, Any] = field(default_factory=dict, repr=False)


def parse_redis_address(text: str) -> RedisAddress:
    """Reads one of the forms above.

    Raises:
        ValueError: not of these forms; the message does not repeat the text.
    """
    scheme, separated, rest = text.strip().partition("://")
    if not separated:
        return _parse_coturn(text)
    if scheme not in _SCHEMES:
        known = ", ".join(f"{one}://" for one in _SCHEMES)
        raise ValueError(f"Redis is addressed by one of {known}, or as coturn does: ip=… dbname=…")
    kind, tls = _SCHEMES[scheme]
    rest, _, query = rest.partition("?")
    options = _parse_options(query)
    authority, _, path = rest.partition("/")
    userinfo, _, hosts = authority.rpartition("@")
    username, _, password = userinfo.partition(":")
    segments = [unquote(one) for one in path.split("/")] if path else []
    master = segments.pop(0) if kind == "sentinel" and segments else ""
    if kind == "sentinel" and not master:
        raise ValueError("a Sentinel address names its master: redis+sentinel://host:26379/master")
    if kind == "unix":
        if not path:
            raise ValueError("unix:// takes the path of a socket: unix:///run/redis.sock")
        segments = []
    db = _number(options.pop("db", None) or (segments[0] if segments and segments[0] else "0"))
    if kind == "cluster" and db:
        raise ValueError("a Redis Cluster has database 0 only")
    return RedisAddress(
        kind=kind,
        tls=tls,
        nodes=_parse_nodes(hosts, 26379 if kind == "sentinel" else 6379) if kind != "unix" else (),
        path="/" + unquote(path) if kind == "unix" else "",
        master=master,
        db=db,
        username=unquote(username) or None,
        password=unquote(password) or None,
        options=options,
    )


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError("the database of a Redis address is a number")
    return int(text)


def _parse_options(query: str) -> dict[str, Any]:
    options: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise ValueError(f"'{name}' is no option of a Redis address")
    if options.get("ssl_cert_reqs", "required") not in {"none", "optional", "required"}:
        raise ValueError("ssl_cert_reqs of a Redis address is none, optional or required")
    if "ssl_check_hostname" in options:
        options["ssl_check_hostname"] = options["ssl_check_hostname"].lower() in {"1", "true"}
    return options


def _parse_nodes(hosts: str, default_port: int) -> tuple[tuple[str, int], ...]:
    nodes = []
    for one in hosts.split(","):
        parts = _NODE.fullmatch(one)
        if parts is None:
            raise ValueError("a Redis address is host:port; an IPv6 address stands in brackets")
        host = unquote(parts["v6"] or parts["host"] or "127.0.0.1")
        nodes.append((host, _port(parts["port"] or str(default_port))))
    return tuple(nodes)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 65535):
        raise ValueError("the port of a Redis address is a number from 1 to 65535")
    return int(text)


def _parse_coturn(text: str) -> RedisAddress:
    names = {alias: name for name, aliases in _COTURN_NAMES.items() for alias in aliases}
    values: dict[str, str] = {}
    for word in text.split():
        alias, separated, value = word.partition("=")
        if not separated or alias not in names:
            raise ValueError("a Redis address is an URL (redis://…) or, as coturn's, ip=… dbname=…")
        values[names[alias]] = value
    options: dict[str, Any] = {name: values[name] for name in _TLS_OPTIONS if name in values}
    if values.get("verify") == "none":
        options |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    return RedisAddress(
        kind="standalone",
        tls=values.get("tls", "0").lower() in {"1", "true", "yes", "on"},
        nodes=((values.get("host", "127.0.0.1"), _port(values.get("port", "6379"))),),
        db=_number(values.get("db", "0")),
        username=values.get("username"),
        password=values.get("password"),
        options=options,
    )
