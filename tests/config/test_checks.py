import pytest

from turnd.config import Config, ConfigError, load_text
from turnd.config.checks import CHECKS
from turnd.config.keys import fixed_keys


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "f", {})
    return str(caught.value).split("\n")


def test_the_defaults_contradict_nothing() -> None:
    assert [finding for check in CHECKS for finding in check.find(Config())] == []


def test_checks_depend_on_keys_there_are() -> None:
    assert {path for check in CHECKS for path in check.depends} <= set(fixed_keys())


def test_tls_needs_a_certificate() -> None:
    text = "listen: [udp://127.0.0.1, tls://127.0.0.1]\nrealms:\n  b:\n"
    text += "    listen: [tls://127.0.0.2]\n    auth: {secrets: [x]}\n"
    wanted = "needs a certificate: tls: {certificate: …, key: …}"
    assert problems(text) == [
        f"f:1:27: listen[1]: tls://127.0.0.1:5349 {wanted}",
        f"f:4:14: realms.b.listen[0]: tls://127.0.0.2:5349 {wanted}",
    ]
    load_text(text + "tls: {certificate: a, key: b}", "f", {})


def test_a_broken_certificate_is_one_mistake() -> None:
    assert problems("listen: [tls://127.0.0.1]\ntls: {certificate: 5, key: b}") == [
        "f:2:20: tls.certificate: a file's name is wanted"
    ]


def test_an_endpoint_stands_once() -> None:
    assert problems("listen: [udp://127.0.0.1, tcp://127.0.0.1, 'udp://127.0.0.1:3478']") == [
        "f:1:44: listen[2]: udp://127.0.0.1:3478 stands at listen[0] already"
    ]
    realm = "{listen: [udp://127.0.0.1], auth: {secrets: [x]}}"
    assert problems(f"realms: {{b: {realm}, c: {realm}}}") == [
        "f:1:77: realms.c.listen[0]: udp://127.0.0.1:3478 stands at realms.b.listen[0] already"
    ]


def test_a_realm_may_take_an_endpoint_of_the_top_once() -> None:
    realm = "{listen: [udp://127.0.0.1], auth: {secrets: [x]}}"
    load_text(f"listen: [udp://127.0.0.1]\nrealms: {{b: {realm}}}", "f", {})
    text = f"listen: [udp://127.0.0.1]\nrealms: {{b: {realm}, c: {realm}}}"
    assert problems(text) == [
        "f:2:77: realms.c.listen[0]: udp://127.0.0.1:3478 stands at realms.b.listen[0] already"
    ]


def test_tcp_and_tls_share_a_port_in_one_realm() -> None:
    text = "tls: {certificate: a, key: b}\nlisten: [tcp://127.0.0.1:443, tls://127.0.0.1:443]"
    load_text(text, "f", {})
    realm = "{listen: [tls://127.0.0.1:443], auth: {secrets: [x]}}"
    (line,) = problems(f"{text.replace(', tls://127.0.0.1:443', '')}\nrealms: {{b: {realm}}}")
    assert line.startswith("f:3:23: realms.b.listen[0]: tls://127.0.0.1:443 and tcp://127.0.0.1")
    assert line.endswith("(listen[0]) share a TCP port, and one realm has both: list them together")


@pytest.mark.parametrize(("other", "protocol"), [("udp", "UDP"), ("tcp", "TCP"), ("tls", "TCP")])
def test_auto_has_the_port_to_itself(other: str, protocol: str) -> None:
    tls = "tls: {certificate: a, key: b}"
    auto = "auto://127.0.0.1:443"
    (line,) = problems(f"{tls}\nlisten: [{other}://127.0.0.1:443, {auto}]")
    ends = f"(listen[0]) share a {protocol} port: auto:// is both"
    assert line == f"f:2:31: listen[1]: {auto} and {other}://127.0.0.1:443 {ends}"
    load_text(f"{tls}\nlisten: [{other}://127.0.0.1:444, {auto}]", "f", {})
    load_text(f"{tls}\nlisten: [{auto}, 'auto://127.0.0.2', 'auto://[::1]']", "f", {})


def test_auto_needs_a_certificate_and_a_port() -> None:
    (line,) = problems("listen: [auto://127.0.0.1]")
    assert line.startswith("f:1:10: listen[0]: auto://127.0.0.1:443 needs a certificate")
    (line,) = problems("tls: {certificate: a, key: b}\nlisten: ['auto://127.0.0.1:0']")
    assert line.endswith("auto://127.0.0.1:0 is one port for all: it has to be named")


def test_auto_of_a_realm_is_all_its_transports() -> None:
    realm = "{listen: [auto://127.0.0.1], auth: {secrets: [x]}}"
    config = load_text(
        f"tls: {{certificate: a, key: b}}\nlisten: [auto://127.0.0.1, auto://127.0.0.2]\n"
        f"realms: {{b: {realm}}}", "f", {}
    )  # fmt: skip
    own, other = config.all_realms()
    assert [str(each) for each in own.endpoints] == [
        f"{transport}://127.0.0.2:443" for transport in ("udp", "dtls", "tcp", "tls")
    ]
    assert {each.host for each in other.endpoints} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("listen", "to", "why"),
    [
        ("tls://127.0.0.1:443", "127.0.0.1:443", "is this server itself"),
        ("auto://127.0.0.1:443", "127.0.0.1:443", "is this server itself"),
        ("tcp://127.0.0.1:8443, tls://127.0.0.1", "127.0.0.1:8443", "is this server itself"),
        ("udp://127.0.0.1, tcp://127.0.0.1", "127.0.0.1:8443", "nobody could come there"),
        ("udp://127.0.0.1", "127.0.0.1:8443", "nobody could come there"),
        ("tls://127.0.0.1", "127.0.0.1:0", "has no port"),
        ("tls://127.0.0.1", "127.0.0.1:9641", "not for everybody"),
        ("tls://127.0.0.1:443", "0.0.0.0:443", "0.0.0.0 is no web server's address"),
        ("'tls://[::1]:443'", "'[::]:443'", ":: is no web server's address"),
        ("tls://127.0.0.1:443", "'[::ffff:127.0.0.1]:443'", "say 127.0.0.1: write that"),
    ],
)
def test_passthrough_leads_somewhere(listen: str, to: str, why: str) -> None:
    text = f"tls: {{certificate: a, key: b}}\nlisten: [{listen}]\npassthrough: {to}"
    (line,) = problems(text)
    assert line.startswith("f:3:14: passthrough: ")
    assert why in line
    load_text(
        "tls: {certificate: a, key: b}\nlisten: [auto://127.0.0.1]\npassthrough: '[::1]:443'",
        "f",
        {},
    )


def test_proxies_are_some() -> None:
    assert problems("proxy_protocol: {trusted: []}") == [
        "f:1:27: proxy_protocol.trusted: at least one entry is wanted"
    ]
    (line,) = problems("proxy_protocol: {trusted: [10.0.0.0/8, 0.0.0.0/0]}")
    assert line.startswith("f:1:40: proxy_protocol.trusted[1]: '0.0.0.0/0' is everybody")


def test_udp_and_dtls_share_a_port_in_one_realm() -> None:
    tls = "tls: {certificate: a, key: b}\n"
    both = "[udp://127.0.0.1:443, dtls://127.0.0.1:443, tcp://127.0.0.1:443]"
    load_text(f"{tls}listen: {both}", "f", {})
    realm = f"{{listen: {both}, auth: {{secrets: [x]}}}}"
    load_text(f"{tls}listen: {both}\nrealms: {{b: {realm}}}", "f", {})
    realm = "{listen: [dtls://127.0.0.1:443], auth: {secrets: [x]}}"
    (line,) = problems(f"{tls}listen: {both}\nrealms: {{b: {realm}}}")
    assert line.startswith("f:3:23: realms.b.listen[0]: dtls://127.0.0.1:443 and udp://127.0.0.1")
    assert line.endswith("(listen[0]) share a UDP port, and one realm has both: list them together")


def test_dtls_needs_a_certificate() -> None:
    (line,) = problems("listen: [udp://127.0.0.1, dtls://127.0.0.1]")
    assert line.startswith("f:1:27: listen[1]: dtls://127.0.0.1:5349 needs a certificate")


def test_ports_that_the_system_picks_are_never_the_same() -> None:
    load_text(
        "listen: [udp://127.0.0.1:0, udp://127.0.0.1:0]\nadmin: {listen: 127.0.0.1:0}", "f", {}
    )


def test_admin_has_an_address_of_its_own() -> None:
    text = "listen: [tcp://127.0.0.1:9641, udp://127.0.0.1:9641]"
    assert problems(text) == [
        "f:1:1: admin.listen: 127.0.0.1:9641 is where clients come to (listen[0])"
    ]
    load_text(f"{text}\nadmin: {{listen: null}}", "f", {})


def test_relay_addresses_are_different() -> None:
    assert problems("relay: {addresses: [10.0.0.5, 10.0.0.6, 10.0.0.5=203.0.113.7]}") == [
        "f:1:41: relay.addresses[2]: 10.0.0.5 is bound by an entry above already"
    ]
    nat = "relay: {addresses: [10.0.0.5=203.0.113.7, 10.0.0.6=203.0.113.7]}"
    assert problems(nat) == [
        "f:1:43: relay.addresses[1]: 203.0.113.7 is announced by an entry above already"
    ]
    assert problems("relay: {addresses: [10.0.0.5, auto]}") == [
        "f:1:31: relay.addresses[1]: auto stands alone: it chooses the addresses itself"
    ]
    for other in ("2001:db8::7", "auto=2001:db8::7"):
        load_text(f"relay: {{addresses: [auto=203.0.113.7, '{other}']}}", "f", {})
    assert problems("relay: {addresses: ['dns:a.example', 'stun:b.example']}") == [
        "f:1:38: relay.addresses[1]: auto is bound by an entry above already"
    ]
    assert problems("relay: {addresses: ['interface:a', 'interface:a=dns:b']}") == [
        "f:1:36: relay.addresses[1]: interface:a is bound by an entry above already"
    ]


def test_clients_are_sent_to_somewhere() -> None:
    assert problems('redirect: {to: [203.0.113.8, "::", 203.0.113.8:0]}') == [
        "f:1:30: redirect.to[1]: '::' is every address: nobody could be sent there",
        "f:1:36: redirect.to[2]: 0 is no port: 1 to 65535",
    ]


def test_the_default_lifetime_is_granted_at_all() -> None:
    assert problems("relay: {lifetime: 2h}") == [
        "f:1:19: relay.lifetime: lifetime (7200) is above max_lifetime (3600)"
    ]
    assert problems("relay: {max_lifetime: 60}") == [
        "f:1:23: relay.max_lifetime: lifetime (600) is above max_lifetime (60)"
    ]


def test_realms_have_names_and_credentials_of_their_own() -> None:
    text = "realm: b\nrealms:\n  b: {listen: [udp://127.0.0.1]}"
    assert problems(text) == [
        "f:3:6: realms.b: is the name of the server's own realm",
        "f:3:6: realms.b: nobody could use this realm: users, secrets, redis or oauth are wanted",
    ]


def test_a_realm_and_a_user_stand_once_however_they_are_spelt() -> None:
    """The later one would win, and the other's clients would be refused."""
    realm = "{listen: [udp://127.0.0.%d], auth: {secrets: [x]}}"
    text = f'realms:\n  "e\\u0301": {realm % 1}\n  "\\u00e9": {realm % 2}\n'
    wanted = "a name stands here twice, in two spellings"
    assert problems(text) == [f"f:2:3: realms: {wanted}"]
    users = 'auth: {users: {"e\\u0301": x, "\\u00e9": y}}'
    assert problems(users) == [f"f:1:15: auth.users: {wanted}"]


def test_what_is_one_for_all_realms_stands_at_the_top() -> None:
    realm = "{listen: [udp://127.0.0.1], auth: {strict_expiry: true, %ssecrets: [x]}}"
    load_text(f"realms: {{b: {realm % ''}}}", "f", {})
    assert problems(f"realms: {{b: {realm % 'nonce_lifetime: 60, '}}}") == [
        "f:1:85: realms.b.auth.nonce_lifetime: is one for all realms: it stands in auth at the top"
    ]


def test_keys_of_tokens_are_there_long_enough_and_count_from_something() -> None:
    short, long = "MTIzNDU2Nzg5MDEyMzQ1Ng==", "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="
    keys = f"{{north: {{key: {long}}}, south: {{key: {short}, algorithm: A128GCM}}}}"
    load_text(f"auth: {{oauth: {{keys: {keys}}}}}", "f", {})
    load_text("auth: {oauth: {server_name: x}, redis: 'redis://127.0.0.1'}", "f", {})
    assert problems(f"auth: {{oauth: {{keys: {{north: {{key: {short}, lifetime: 60}}}}}}}}") == [
        "f:1:36: auth.oauth.keys.north.key: A256GCM takes 32 bytes, in base64, and these are 16",
        "f:1:72: auth.oauth.keys.north.lifetime: counts from timestamp, which is wanted as well",
    ]
    realm = "{listen: [udp://127.0.0.1], auth: {oauth: {server_name: x}}}"
    (line,) = problems(f"realms: {{b: {realm}}}")
    assert line == (
        "f:1:69: realms.b.auth.oauth.server_name: no token could be opened: "
        "keys are wanted, here or in redis"
    )
    nobody = "{listen: [udp://127.0.0.1], auth: {oauth: {}}}"
    assert "nobody could use this realm" in problems(f"realms: {{b: {nobody}}}")[0]


def test_clients_find_a_realm_by_one_way_or_another() -> None:
    auth = "auth: {secrets: [x]}"
    tls = "listen: [tls://127.0.0.1]\ntls: {certificate: a, key: b}\n"
    load_text(f"{tls}realms: {{b: {{sni: [b.example, '*.b.example'], {auth}}}}}", "f", {})
    load_text(f"realms: {{b: {{origins: [https://b.example, 'http://b:8080'], {auth}}}}}", "f", {})
    assert problems(f"realms: {{b: {{{auth}}}}}") == [
        "f:1:13: realms.b: nobody would come to this realm: listen, sni or origins are wanted"
    ]
    assert problems(f"listen: [udp://127.0.0.1]\nrealms: {{b: {{sni: [b.example], {auth}}}}}") == [
        "f:2:19: realms.b.sni: nobody can ask for a name: listen has no endpoint of TLS or DTLS"
    ]
    both = f"b: {{sni: [x.example], {auth}}}, c: {{sni: [X.Example.], {auth}}}"
    assert problems(f"{tls}realms: {{{both}}}") == [
        "f:3:65: realms.c.sni[0]: x.example stands at realms.b.sni[0] already"
    ]
    both = f"b: {{origins: [https://x], {auth}}}, c: {{origins: ['https://X:443/'], {auth}}}"
    assert problems(f"realms: {{{both}}}") == [
        "f:1:73: realms.c.origins[0]: https://x stands at realms.b.origins[0] already"
    ]


def test_tcp_relaying_needs_an_endpoint_that_it_can_be_asked_for_by() -> None:
    (line,) = problems("listen: [udp://127.0.0.1]\nrelay: {tcp: true}")
    assert line.startswith("f:2:14: relay.tcp: nobody could ask for it: that takes TCP or TLS")
    for listen in ("tcp://127.0.0.1", "udp://127.0.0.1, tcp://127.0.0.1"):
        load_text(f"listen: [{listen}]\nrelay: {{tcp: true}}", "f", {})
    realm = "realms: {b: {listen: [tcp://127.0.0.2], auth: {secrets: [x]}}}"
    load_text(f"listen: [udp://127.0.0.1]\nrelay: {{tcp: true}}\n{realm}", "f", {})
    load_text("relay: {tcp: true}", "f", {})
