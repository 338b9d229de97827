"""Plain words for what pydantic finds, and guesses at what was meant."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from turnd.config.keys import bare_type, fixed_keys, is_secret, section_at
from turnd.config.problems import Path, format_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pydantic_core import ErrorDetails

_WANTED = {
    "bool_type": "true or false is wanted",
    "int_type": "a whole number is wanted",
    "int_from_float": "a whole number is wanted",
    "float_type": "a number is wanted",
    "string_type": "text is wanted",
    "tuple_type": "a list is wanted, such as [one, two]",
    "dict_type": "a map is wanted, such as {name: value}",
    "mapping_type": "a map is wanted, such as {name: value}",
    "model_type": "a map is wanted, such as {key: value}",
    "model_attributes_type": "a map is wanted, such as {key: value}",
}
_BOUNDS = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
}
_PLAIN = {"missing": "is missing", "too_short": "at least one entry is wanted"}
_YAML_1_1_BOOLEANS = {"yes": "true", "y": "true", "on": "true", "no": "false", "n": "false"}
_YAML_1_1_BOOLEANS["off"] = "false"

FOREIGN = {
    "allow-loopback-peers": "peers.allow",
    "allowed-peer-ip": "peers.allow",
    "alt-listening-port": "listen",
    "alt-tls-listening-port": "listen",
    "alternate-server": "redirect.to",
    "blacklist_peers": "peers.deny",
    "bps-capacity": "limits.bandwidth_total",
    "cert": "tls.certificate",
    "cpus": "workers",
    "credentials": "auth.users",
    "denied-peer-ip": "peers.deny",
    "external-ip": "relay.addresses",
    "listening-ip": "listen",
    "listening-port": "listen",
    "log-min-level": "log.level",
    "lt-cred-mech": "auth.users",
    "max-allocate-lifetime": "relay.max_lifetime",
    "max-allocate-timeout": "streams.authentication_timeout",
    "max-bps": "limits.bandwidth_per_allocation",
    "max-port": "relay.ports",
    "max_allocations": "limits.allocations_per_user",
    "max_bps": "limits.bandwidth_per_allocation",
    "min-port": "relay.ports",
    "no-multicast-peers": "peers.deny",
    "pkey": "tls.key",
    "proc-user": "user",
    "prometheus": "admin.listen",
    "prometheus-address": "admin.listen",
    "prometheus-port": "admin.listen",
    "prometheus-username-labels": "metrics.users",
    "redis-userdb": "auth.redis",
    "relay-ip": "relay.addresses",
    "relay-threads": "workers",
    "relay_ipv4_addr": "relay.addresses",
    "relay_ipv6_addr": "relay.addresses",
    "relay_max_port": "relay.ports",
    "relay_min_port": "relay.ports",
    "rest-api-separator": "auth.separator",
    "rfc3489-compatibility": "stun.rfc3489",
    "rfc5780": "stun.rfc5780",
    "secret": "auth.secrets",
    "simple-log": "log.format",
    "sock-buf-size": "sockets.receive_buffer",
    "software-attribute": "software",
    "software_name": "software",
    "stale-nonce": "auth.nonce_lifetime",
    "static-auth-secret": "auth.secrets",
    "tcp-proxy-port": "proxy_protocol.trusted",
    "tls-alternate-server": "redirect.to",
    "tls-listening-port": "listen",
    "tls_crt_file": "tls.certificate",
    "tls_key_file": "tls.key",
    "total-quota": "limits.allocations",
    "unauthorized-ratelimit-rps": "limits.unauthenticated_per_second",
    "use-auth-secret": "auth.secrets",
    "user-quota": "limits.allocations_per_user",
    "verbose": "log.level",
    "whitelist_peers": "peers.allow",
}
"""Options of coturn and eturnal, and where an admin who comes from there finds them here."""


def describe(error: ErrorDetails, annotation: Any) -> str:
    """What is wrong with a value. The value itself is shown only if it cannot be secret."""
    kind, value = error["type"], error["input"]
    context = error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind in _WANTED:
        return _wrong_type(kind, value, annotation)
    if kind in _BOUNDS:
        bound = _BOUNDS[kind].format(**{name: _number(limit) for name, limit in context.items()})
        return f"{bound} is wanted, not {_number(value)}"
    if kind == "literal_error":
        return _not_one_of(value, annotation)
    return _PLAIN.get(kind, error["msg"])


def unknown_key(path: Path) -> str:
    """A key that the map around it does not have."""
    name = str(path[-1])
    if name == "<<":
        return "unknown key: maps are not merged here"
    around = section_at(path[:-1])
    near = _nearest(name, tuple(around.model_fields) if around else ())
    meant = [format_path(key) for key in fixed_keys() if key[-1] == name][:2]
    if not meant and name in FOREIGN:
        meant = [FOREIGN[name]]
    if not meant and not near:
        similar = get_close_matches(name, {key[-1] for key in fixed_keys()}, n=1, cutoff=0.8)
        meant = [format_path(key) for key in fixed_keys() if key[-1] in similar][:2]
    return f"unknown key{guess(meant or near)}"


def _nearest(name: str, keys: Collection[str]) -> list[str]:
    """The key that is most like a name: two letters that changed places before all else."""
    return [key for key in keys if sorted(key) == sorted(name)][:1] or get_close_matches(
        name, keys, n=1
    )


def guess(words: Iterable[str]) -> str:
    """The end of a message."""
    meant = " or ".join(words)
    return f"; did you mean {meant}?" if meant else ""


def _wrong_type(kind: str, value: Any, annotation: Any) -> str:
    message = f"{_WANTED[kind]}, not {_kind_of(value)}"
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return f"{message}: put it in quotes"
    if not isinstance(value, (str, int, float)) or is_secret(annotation):
        return message
    if kind == "bool_type" and str(value).lower() in _YAML_1_1_BOOLEANS:
        meant = _YAML_1_1_BOOLEANS[str(value).lower()]
        return f"{_WANTED[kind]}, and '{value}' is text in YAML 1.2{guess([meant])}"
    if kind in {"bool_type", "int_type", "int_from_float", "float_type"}:
        return f"{message} ({value!r})"
    return message


def _not_one_of(value: Any, annotation: Any) -> str:
    bare = bare_type(annotation)
    choices = [str(c) for c in get_args(bare)] if get_origin(bare) is Literal else []
    message = f"one of {', '.join(choices)} is wanted"
    if not isinstance(value, str):
        return f"{message}, not {_kind_of(value)}"
    return f"{message}, not '{value}'{guess(get_close_matches(value.lower(), choices, n=1))}"


def _kind_of(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a map" if isinstance(value, dict) else "a list"


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
