"""From the configuration to the parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.listeners.pems import make_pair
from turnd.allocations.policy import Refusal
from turnd.auth.redis_schema import RealmOptions
from turnd.auth.store_cache import StoreHooks
from turnd.config import Config, load_text
from turnd.engine.base import Transport
from turnd.engine.choose import EngineOptions
from turnd.listeners.certificates import Certificates
from turnd.listeners.passthrough import Backend
from turnd.runtime import assembly, credentials
from turnd.stun.addresses import TransportAddress
from turnd.turn.bandwidth import BandwidthLimits
from turnd.turn.behavior_discovery import Host, Quartet
from turnd.turn.relay_addresses import AddressPair

if TYPE_CHECKING:
    from pathlib import Path

HOOKS = StoreHooks(lambda *_: None)


def config(text: str) -> Config:
    return load_text(text, "test", {})


def never() -> str:
    raise AssertionError("nobody needs it")


def first(below: int) -> int:
    return min(0, below)


@pytest.mark.parametrize(
    ("text", "workers", "cpus"),
    [
        ("", 3, ()),
        ("workers: 2", 2, ()),
        ("cpu_affinity: true", 3, (1, 4, 5)),
        ("cpu_affinity: [5, 1]", 2, (5, 1)),
        ("{cpu_affinity: [4], workers: 2}", 2, (4,)),
        ("cpu_affinity: []", 3, ()),
    ],
)
def test_how_many_workers_and_where(
    text: str, workers: int, cpus: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {5, 1, 4})
    assert assembly.engine_options(config(text), {}) == EngineOptions("auto", workers, cpus)


def test_a_cpu_that_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    with pytest.raises(ValueError, match="may not run on CPU 2, 7, only on 0, 1"):
        assembly.engine_options(config("cpu_affinity: [1, 2, 7]"), {})


@pytest.mark.parametrize(
    ("value", "required"), [(None, False), ("", False), ("0", False), ("1", True)]
)
def test_a_native_engine_can_be_made_a_must(value: str | None, required: bool) -> None:
    environ = {} if value is None else {"TURND_REQUIRE_NATIVE": value}
    assert assembly.engine_options(config(""), environ).native_required is required


def test_bandwidth_is_of_the_realm_or_the_server() -> None:
    limited = config(
        "{limits: {bandwidth_per_allocation: 5M, bandwidth_per_user: 20M}, realms: {"
        "a: {listen: ['udp://[::1]:1'], auth: {secrets: [x]}, limits: {bandwidth_per_user: 1M}},"
        "b: {listen: ['udp://127.0.0.1:2'], auth: {secrets: [x]}}}}"
    )
    assert [assembly.bandwidth_limits(each) for each in limited.all_realms()] == [
        BandwidthLimits(5_000_000, 20_000_000),
        BandwidthLimits(0, 1_000_000),
        BandwidthLimits(5_000_000, 20_000_000),
    ]


def test_relay_addresses_and_ports() -> None:
    pairs = [AddressPair("10.0.0.5", "203.0.113.7"), AddressPair("::1", "::1")]
    found = assembly.relay_addresses(config("relay: {ports: 2000-2009}"), pairs, first)
    assert [(each.bound, each.announced) for each in found] == pairs
    assert found[0].ports is not found[1].ports
    assert found[0].ports.capacity == 10


def test_loopback_is_no_address_of_ours_for_peers() -> None:
    relays = {"203.0.113.7": "10.0.0.5", "127.0.0.1": "127.0.0.1", "::1": "::1"}
    own = assembly.own_addresses(relays, [TransportAddress("0.0.0.0", 3478)])
    assert own.announced == {"203.0.113.7": "10.0.0.5"}
    policy = assembly.peer_policy(config("").peers, own)
    assert policy.verdict("203.0.113.7", 50000) is None
    assert policy.verdict("203.0.113.7", 3478) is Refusal.PROTECTED
    assert policy.verdict("127.0.0.1", 50000) is Refusal.SPECIAL_PURPOSE


def test_settings() -> None:
    settings = assembly.turn_settings(config("relay: {lifetime: 100, max_lifetime: 200}"))
    assert (settings.default_lifetime, settings.max_lifetime) == (100, 200)
    assert settings.software == "turnd"
    assert assembly.turn_settings(config("software: turnd 1")).software == "turnd 1"
    for name, family in (("ipv4", 1), ("ipv6", 2), ("client", None)):
        relay = config(f"relay: {{default_family: {name}}}")
        assert assembly.turn_settings(relay).default_family == family
    limits = assembly.allocation_limits(config("relay: {max_permissions: 3, max_channels: 2}"))
    assert (limits.max_permissions, limits.max_channels) == (3, 2)
    assert assembly.certificates(config("")) is None


def test_quotas_of_realms() -> None:
    text = """
limits: {allocations: 9, allocations_per_user: 2, allocations_per_client: 3}
realms:
  own: {listen: [udp://127.0.0.1:1], auth: {secrets: [x]}, limits: {allocations: 4}}
  same: {listen: [udp://127.0.0.1:2], auth: {secrets: [x]}}
"""
    loaded = config(text)
    found = [assembly.realm_quotas(loaded, realm) for realm in loaded.all_realms()]
    assert [(q.total, q.per_user, q.per_client) for q in found] == [(0, 2, 3), (4, 0, 0), (0, 2, 3)]
    quotas, realm = found[0], loaded.all_realms()[0]
    assembly.set_realm_quotas(quotas, loaded, realm, RealmOptions(7, 0))
    assert (quotas.total, quotas.per_user, quotas.per_client) == (7, 0, 3)


def test_sockets_of_a_quartet_have_their_bindings_handed_up() -> None:
    loaded = config(
        "listen: [udp://127.0.0.1, 'udp://127.0.0.1:9', tls://127.0.0.1, dtls://127.0.0.1]\n"
        "tls: {certificate: a, key: b}\n"
        "stun: {rfc5780: [127.0.0.1, 127.0.0.2], rfc3489: true}"
    )
    settings_of = assembly.settings_by_socket(loaded, None)
    primary, other, tls, dtls, *extra = loaded.all_realms()[0].endpoints
    assert [str(each) for each in extra] == [
        "udp://127.0.0.2:3478", "udp://127.0.0.1:3479", "udp://127.0.0.2:3479"
    ]  # fmt: skip
    for endpoints, answers in [((primary,), False), ((primary, dtls), False), ((other,), True),
                               ((tls,), True), *(((each,), False) for each in extra)]:  # fmt: skip
        settings = settings_of(endpoints)
        assert settings.answers_bindings is answers
        assert settings.classic_bindings
        assert settings.plain_udp is (endpoints[0].transport == "udp")
        assert settings.dtls is (dtls in endpoints)
    plain = assembly.settings_by_socket(config(""), None)((primary,))
    assert (plain.answers_bindings, plain.classic_bindings) == (True, False)


def test_quartets_of_the_core() -> None:
    (quartet,) = assembly.quartets(
        config("stun: {rfc5780: [127.0.0.1=192.0.2.1, 127.0.0.2], alternate_port: 9}")
    )
    assert quartet == Quartet(
        (Host("127.0.0.1", "192.0.2.1"), Host("127.0.0.2", "127.0.0.2")),
        (3478, 9),
        frozenset({Transport.UDP, Transport.TCP}),
    )
    assert assembly.quartets(config("")) == ()
    assert assembly.turn_settings(config("stun: {rfc3489: true}")).rfc3489


def test_realms_by_what_clients_name() -> None:
    loaded = config(
        "listen: [tls://127.0.0.1]\ntls: {certificate: a, key: b}\nrealms:\n"
        "  b: {sni: [B.Example, '*.b.example'], auth: {secrets: [x], strict_expiry: true}}\n"
        "  c: {origins: ['https://C.example:443'], auth: {secrets: [x]}}\n"
    )
    own = assembly.own_addresses({}, [])
    realms = {
        each.name: assembly.build_realm(
            loaded, each, credentials.build(each, lambda: "own", HOOKS).chain, own
        )
        for each in loaded.all_realms()
    }
    assert [each.name for each in realms.values() if each.strict_expiry] == ["b"]
    assert assembly.by_server_name(loaded, realms) == {
        "b.example": realms["b"],
        "*.b.example": realms["b"],
    }
    assert assembly.by_origin(loaded, realms) == {"https://c.example": realms["c"]}


def test_who_is_in_front_and_who_behind(tmp_path: Path) -> None:
    certificates = Certificates([make_pair(tmp_path, "turn.example", "*.turn.example")])
    rules = assembly.front_rules(config("streams: {handshake_timeout: 3}"), certificates)
    assert (rules.patience, rules.proxies, rules.backend) == (3.0, (), None)
    shared = config(
        "listen: [auto://127.0.0.1]\n"
        "tls: {certificate: a, key: b}\n"
        "passthrough: {to: '[::1]:8443', proxy_protocol: true}\n"
        "proxy_protocol: {trusted: [10.0.0.0/8, '2001:db8::1']}\n"
        "realms: {b: {sni: [b.example, '*.c.example'], auth: {secrets: [x]}}}\n"
    )
    rules = assembly.front_rules(shared, certificates)
    assert [str(network) for network in rules.proxies] == ["10.0.0.0/8", "2001:db8::1/128"]
    assert rules.backend == Backend(TransportAddress("::1", 8443), proxy_protocol=True)
    ours = ["turn.example", "x.turn.example", "TURN.Example.", "b.example", "x.c.example"]
    assert all(map(rules.is_ours, ours))
    others = ["www.example", "x.y.turn.example", "c.example", "x.b.example", "x.y.c.example", ""]
    assert not any(map(rules.is_ours, others))
    assert assembly.front_rules(shared, None).backend is None
