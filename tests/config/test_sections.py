import pytest

from turnd.config import ConfigError, load_text
from turnd.config.auth_section import AuthSection
from turnd.config.sections import RealmSection, RelaySection


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "x", {})
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("relay: {max_channels: 4097}", "at most 4096 is wanted, not 4097"),
        ("relay: {max_permissions: 0}", "at least 1 is wanted"),
        ("relay: {max_lifetime: 4294967296}", "at most 4294967295"),
        ("relay: {addresses: []}", "at least one entry"),
        ("auth: {redis_timeout: 0.31}", "at most 0.3 is wanted, not 0.31"),
        ("auth: {redis_timeout: 0}", "more than 0"),
        ("auth: {nonce_lifetime: 0}", "at least 1"),
        ("limits: {connections: -1}", "at least 0"),
        ("streams: {handshake_timeout: 0}", "more than 0"),
        ("streams: {backlog: 100}", "at least 4096"),
        ("sockets: {receive_buffer: 4 MiB}", "a whole number is wanted"),
        ("workers: 1025", "at most 1024"),
        ("listen: []", "at least one entry"),
    ],
)
def test_bounds(text: str, why: str) -> None:
    assert why in refused(text)


def test_durations_are_seconds() -> None:
    relay = load_text("relay: {port_rest: 1m, lifetime: 10m, max_lifetime: 1h}", "x", {}).relay
    assert relay == RelaySection()


def test_a_realm_has_the_defaults_of_auth() -> None:
    text = "realms: {b: {listen: [udp://127.0.0.1], auth: {secrets: [x]}}}"
    realm = load_text(text, "x", {}).realms["b"]
    assert isinstance(realm, RealmSection)
    assert realm.auth.model_copy(update={"secrets": ()}) == AuthSection()
    assert realm.peers is None
    assert realm.limits is None
