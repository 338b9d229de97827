"""Types of the model's fields: how a text becomes a value, its JSON Schema, and what a change asks.

A parser's `ValueError` becomes an error of the field. Values that are parsed already pass, so that
defaults and tests may be written as values.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from turnd.config import texts
from turnd.config.alternates import Alternate, parse_alternate
from turnd.config.discovery import StunAddress, parse_stun_address
from turnd.config.relay_addresses import RelayAddress, parse_relay_address
from turnd.config.values import (
    DEFAULT_PORTS,
    FASTEST,
    Endpoint,
    HostPort,
    PortRange,
    parse_bit_rate,
    parse_duration,
    parse_endpoint,
    parse_host_port,
    parse_network,
    parse_peer_range,
    parse_port_range,
)

T = TypeVar("T")

HIGHEST_CPU = 8191

RELOAD_KEY = "x-reload"
"""In a field's JSON Schema: what a change of it needs (`Reload`)."""

BASE_KEY = "base"
"""In the context of a validation: the folder where relative file names begin."""


class Reload(StrEnum):
    """What brings a changed key into force."""

    LIVE = "live"
    RESTART = "restart"


class Section(BaseModel):
    """A map of the configuration. One that is empty in the file (`auth:`) has its defaults."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        return {} if value is None else value


def live(default: Any, description: str, **rest: Any) -> Any:
    """A field whose change a reload brings into force."""
    return _field(Reload.LIVE, default, description, rest)


def restart(default: Any, description: str, **rest: Any) -> Any:
    """A field whose change needs a restart."""
    return _field(Reload.RESTART, default, description, rest)


def section(kind: Callable[[], Section], description: str) -> Any:
    """A field that holds a map, by default with its own defaults."""
    return Field(default_factory=kind, description=description)


def _field(reload: Reload, default: Any, description: str, rest: dict[str, Any]) -> Any:
    extra: dict[str, JsonValue] = {RELOAD_KEY: reload.value}
    return Field(default, description=description, json_schema_extra=extra, **rest)


def _parsed(kind: type[T], parse: Callable[[Any], T], accepts: tuple[type, ...], want: str) -> Any:
    """A validator for values of `kind` that are written as something else."""

    def validate(value: Any) -> T:
        if isinstance(value, kind):
            return value
        if isinstance(value, bool) or not isinstance(value, accepts):
            raise ValueError(want)  # noqa: TRY004 - pydantic makes an error of ValueError only
        return parse(value)

    return PlainValidator(validate)


def _secret(check: Callable[[str], str]) -> Any:
    def validate(value: SecretStr) -> SecretStr:
        check(value.get_secret_value())
        return value

    return AfterValidator(validate)


def _spelt_once(value: Any) -> Any:
    if isinstance(value, dict):
        texts.check_spellings(value)
    return value


SPELT_ONCE = BeforeValidator(_spelt_once)  # for maps by names that clients prepare (RFC 8265)

_AS_TEXT = PlainSerializer(str, return_type=str)
_ENDPOINT = rf"^({'|'.join(DEFAULT_PORTS)})://(\[[0-9A-Fa-f:.]+\]|[0-9.]+)(:[0-9]{{1,5}})?$"
_HOST_PORT = r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}$"
_NAME = r"[0-9A-Za-z.-]+"
_IP = r"[0-9A-Fa-f:.]+"
_ALTERNATE = rf"^({_NAME} *= *)?(\[{_IP}\]:[0-9]{{1,5}}|{_NAME}(:[0-9]{{1,5}})?|{_IP})$"
_ANNOUNCED = rf"(dns:{_NAME}|stun:({_NAME}|\[{_IP}\])(:[0-9]{{1,5}})?)"
_RELAY_ADDRESS = (
    rf"^({_ANNOUNCED}|(auto|interface:[!-.0-<>-~]{{1,15}}|{_IP})( *= *({_IP}|{_ANNOUNCED}))?)$"
)
_DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
_BIT_RATE = r"^[0-9]+(\.[0-9]+)? ?(k|M|G)(bit)?$"
_PORTS = r"^[0-9]{1,5} *(- *[0-9]{1,5})?$"
_DURATION_SCHEMA = {
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": _DURATION}]
}


def _schema(pattern: str) -> Any:
    return WithJsonSchema({"type": "string", "pattern": pattern})


EndpointField = Annotated[
    Endpoint,
    _parsed(Endpoint, parse_endpoint, (str,), "an endpoint is wanted: udp://0.0.0.0:3478"),
    _AS_TEXT,
    _schema(_ENDPOINT),
]
HostPortField = Annotated[
    HostPort,
    _parsed(HostPort, parse_host_port, (str,), "an address with a port is wanted: 127.0.0.1:9641"),
    _AS_TEXT,
    _schema(_HOST_PORT),
]
AlternateField = Annotated[
    Alternate,
    _parsed(Alternate, parse_alternate, (str,), "an address or a name is wanted: 203.0.113.8"),
    _AS_TEXT,
    _schema(_ALTERNATE),
]
RelayAddressField = Annotated[
    RelayAddress,
    _parsed(
        RelayAddress, parse_relay_address, (str,), "auto, an address or an interface is wanted"
    ),
    _AS_TEXT,
    _schema(_RELAY_ADDRESS),
]
StunAddressField = Annotated[
    StunAddress,
    _parsed(StunAddress, parse_stun_address, (str,), "an address is wanted: 192.0.2.1"),
    _AS_TEXT,
    _schema(r"^[0-9A-Fa-f:.]+( *= *[0-9A-Fa-f:.]+)?$"),
]
PortRangeField = Annotated[
    PortRange,
    _parsed(PortRange, parse_port_range, (str, int), "ports are wanted: 49152-65535"),
    _AS_TEXT,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "string", "pattern": _PORTS},
            ]
        }
    ),
]
NetworkField = Annotated[
    str,
    _parsed(type(None), parse_network, (str,), "a network is wanted: 10.0.0.0/8"),
    WithJsonSchema({"type": "string"}),
]
PeerRange = Annotated[
    str,
    _parsed(type(None), parse_peer_range, (str,), "text is wanted: special-purpose or 10.0.0.0/8"),
    WithJsonSchema({"type": "string"}),
]


def _duration(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("a duration is wanted: seconds as a number, or 30s, 10m, 1h, 1d")  # noqa: TRY004 - as above
    return parse_duration(value)


def _whole_duration(value: Any) -> int:
    seconds = _duration(value)
    if seconds != int(seconds):
        raise ValueError("whole seconds are wanted")
    return int(seconds)


Seconds = Annotated[float, BeforeValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
WholeSeconds = Annotated[int, BeforeValidator(_whole_duration), WithJsonSchema(_DURATION_SCHEMA)]


def _bit_rate(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("a bit rate is wanted: bits per second as a number, or 64k, 5M, 1G")  # noqa: TRY004 - as above
    return parse_bit_rate(value)


def _cpus(value: Any) -> bool | tuple[int, ...]:
    """Yes, no, or the numbers of CPUs."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, (list, tuple)) or not all(type(each) is int for each in value):
        raise ValueError("true, false or a list of CPUs is wanted, such as [0, 2]")
    cpus = tuple(value)
    if len(set(cpus)) != len(cpus) or not all(0 <= each <= HIGHEST_CPU for each in cpus):
        raise ValueError(f"each CPU once is wanted, of 0 to {HIGHEST_CPU}")
    return cpus


BitRate = Annotated[
    int,
    BeforeValidator(_bit_rate),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": FASTEST},
                {"type": "string", "pattern": _BIT_RATE},
            ]
        }
    ),
]
CpuAffinity = Annotated[
    bool | tuple[int, ...],
    PlainValidator(_cpus),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "boolean"},
                {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 0, "maximum": HIGHEST_CPU},
                    "uniqueItems": True,
                },
            ]
        }
    ),
]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
BufferSize = Annotated[int, Field(ge=0, le=1 << 30)]


def _path(value: Any, info: ValidationInfo) -> Path:
    """Relative names begin at the folder of the configuration's file."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise ValueError("a file's name is wanted")  # noqa: TRY004 - as above
    return Path((info.context or {}).get(BASE_KEY, ""), texts.check_path(value))


FilePath = Annotated[
    Path,
    PlainValidator(_path),
    _AS_TEXT,
    WithJsonSchema({"type": "string", "minLength": 1}),
]
Realm = Annotated[str, AfterValidator(texts.check_realm)]
User = Annotated[str, AfterValidator(texts.check_user)]
Separator = Annotated[str, AfterValidator(texts.check_separator)]
Software = Annotated[str, AfterValidator(texts.check_software)]
SystemName = Annotated[str, AfterValidator(texts.check_name)]
Password = Annotated[SecretStr, _secret(texts.check_password)]
Secret = Annotated[SecretStr, _secret(texts.check_secret)]
TokenKey = Annotated[SecretStr, _secret(texts.check_token_key)]
DnsName = Annotated[str, AfterValidator(texts.check_dns_name)]
Origin = Annotated[str, AfterValidator(texts.check_origin)]
ServerName = Annotated[str, AfterValidator(texts.check_server_name)]
RedisAddress = Annotated[SecretStr, _secret(texts.check_redis)]
