import pytest

from turnd.config import load_text
from turnd.config.changes import Changes, compare, until_restart

BASE = """
tls: {certificate: /a, key: /b}
auth: {users: {alice: one}}
realms:
  b: {listen: [udp://127.0.0.1:9], auth: {secrets: [x]}}
  c.example: {listen: [udp://127.0.0.1:10], auth: {secrets: [x]}, limits: {allocations: 1}}
"""


def changes(old: str, new: str) -> Changes:
    return compare(load_text(old, "x", {}), load_text(new, "x", {}))


def test_nothing_changes() -> None:
    assert changes(BASE, BASE) == Changes()
    assert changes("", "workers: 0\nrelay: {port_rest: 1m}") == Changes()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("auth: {secrets: [x]}", "auth.secrets"),
        ("auth: {redis: redis://h}", "auth.redis"),
        ("auth: {strict_expiry: true}", "auth.strict_expiry"),
        ("limits: {allocations_per_user: 4}", "limits.allocations_per_user"),
        ("limits: {connections: 4}", "limits.connections"),
        ("peers: {allow: [10.0.0.0/8]}", "peers.allow"),
        ("tls: {certificate: /a, key: /b}", "tls"),
        ("log: {level: debug}", "log.level"),
        ("log: {format: json}", "log.format"),
        ("relay: {lifetime: 60}", "relay.lifetime"),
        ("relay: {addresses: [10.0.0.5]}", "relay.addresses"),
        ("relay: {max_permissions: 5}", "relay.max_permissions"),
        ("streams: {backlog: 5000}", "streams.backlog"),
        ("shutdown: {timeout: 60}", "shutdown.timeout"),
        ("metrics: {users: true}", "metrics.users"),
    ],
)
def test_what_changes_live(text: str, path: str) -> None:
    assert changes("", text) == Changes(live=[path])


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("realm: x", "realm"),
        ("software: x", "software"),
        ("listen: [udp://127.0.0.1]", "listen"),
        ("relay: {ports: 50000-50999}", "relay.ports"),
        ("relay: {port_rest: 1}", "relay.port_rest"),
        ("admin: {listen: null}", "admin.listen"),
        ("admin: {socket: /x}", "admin.socket"),
        ("engine: portable", "engine"),
        ("workers: 1", "workers"),
        ("user: nobody", "user"),
        ("state_directory: /x", "state_directory"),
        ("sockets: {send_buffer: 0}", "sockets.send_buffer"),
        (
            "realms: {b: {listen: [udp://127.0.0.1:9], auth: {secrets: [x]}}}",
            "realms.b",
        ),
    ],
)
def test_what_needs_a_restart(text: str, path: str) -> None:
    assert changes("", text) == Changes(restart=[path])
    assert changes(text, "") == Changes(restart=[path])


def test_both_are_told_in_the_order_of_the_model() -> None:
    text = "log: {level: debug}\nworkers: 1\nauth: {secrets: [x]}\nrealm: x"
    assert changes("", text) == Changes(["auth.secrets", "log.level"], ["realm", "workers"])


def test_realms_change_by_key() -> None:
    new = BASE.replace("secrets: [x]", "secrets: [y]").replace("127.0.0.1:10", "127.0.0.1:11")
    assert changes(BASE, new) == Changes(
        ["realms.b.auth.secrets", 'realms["c.example"].auth.secrets'],
        ['realms["c.example"].listen'],
    )
    limits = BASE.replace(", limits: {allocations: 1}", "")
    assert changes(BASE, limits) == Changes(live=['realms["c.example"].limits'])
    assert changes(BASE, BASE.replace("allocations: 1", "allocations: 2")) == Changes(
        live=['realms["c.example"].limits.allocations']
    )


def test_secrets_are_compared_but_not_told() -> None:
    told = changes(BASE, BASE.replace("alice: one", "alice: two"))
    assert told == Changes(live=["auth.users"])


def test_only_what_is_live_takes_effect_before_a_restart() -> None:
    new = BASE.replace("alice: one", "bob: two").replace("secrets: [x]", "secrets: [y]")
    new = new.replace("127.0.0.1:9]", "127.0.0.1:90]").replace("allocations: 1", "allocations: 2")
    new += "listen: [udp://127.0.0.1:1]\nrelay: {ports: 2000-3000, lifetime: 60}\nuser: other\n"
    old, written = load_text(BASE, "x", {}), load_text(new, "x", {})
    mixed = until_restart(old, written)
    assert (mixed.listen, mixed.user, mixed.relay.ports) == (old.listen, "turnd", old.relay.ports)
    assert mixed.relay.lifetime == 60
    assert list(mixed.auth.users) == ["bob"]
    assert mixed.realms["b"].listen == old.realms["b"].listen
    assert mixed.realms["b"].auth == written.realms["b"].auth
    assert mixed.realms["c.example"].limits == written.realms["c.example"].limits
    assert compare(mixed, written).live == []
    assert compare(mixed, written).restart == compare(old, written).restart
    assert compare(mixed, old).restart == []


def test_realms_come_and_go_with_a_restart() -> None:
    old = load_text(BASE, "x", {})
    written = load_text(BASE.replace("  b:", "  d:"), "x", {})
    mixed = until_restart(old, written)
    assert list(mixed.realms) == ["b", "c.example"]
    assert mixed == old
