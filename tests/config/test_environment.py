import pytest

from turnd.config import Config, ConfigError, load_text
from turnd.config.environment import apply_environment, variable
from turnd.config.keys import fixed_keys
from turnd.config.tree import Tree


def load(text: str, **environ: str) -> Config:
    return load_text(text, "config.yaml", environ)


def problems(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, **environ)
    return str(caught.value).split("\n")


def test_names() -> None:
    assert variable(("relay", "ports")) == "TURND_RELAY__PORTS"
    assert variable(("limits", "allocations_per_user")) == "TURND_LIMITS__ALLOCATIONS_PER_USER"


def test_every_key_but_those_within_realms_has_a_variable() -> None:
    for path, key in fixed_keys().items():
        text = "x" if key.is_text else "{}" if key.section else "1"
        tree = Tree({})
        assert apply_environment(tree, {variable(path): text}) == []
        assert tree.at(path) is not None


def test_a_variable_wins_over_the_file() -> None:
    config = load(
        "relay: {ports: 1-2, lifetime: 60}\nworkers: 1",
        TURND_RELAY__PORTS="50000-50999",
        TURND_WORKERS="2",
        TURND_LISTEN='[udp://127.0.0.1:1, "udp://[::1]:2"]',
        TURND_AUTH__USERS="{alice: s3cret}",
        TURND_AUTH__STRICT_EXPIRY="true",
        TURND_SHUTDOWN__TIMEOUT="10s",
        TURND_REALMS="{b: {listen: [udp://127.0.0.1:9], auth: {secrets: [x]}}}",
    )
    assert str(config.relay.ports) == "50000-50999"
    assert config.relay.lifetime == 60
    assert config.workers == 2
    assert [str(endpoint) for endpoint in config.listen] == ["udp://127.0.0.1:1", "udp://[::1]:2"]
    assert config.auth.users["alice"].get_secret_value() == "s3cret"
    assert config.auth.strict_expiry
    assert config.shutdown.timeout == 10
    assert list(config.realms) == ["b"]


def test_single_texts_need_no_quotes() -> None:
    config = load(
        "",
        TURND_REALM="1234",
        TURND_ADMIN__LISTEN="[::1]:9641",
        TURND_AUTH__REDIS="redis://:p{[ #w@127.0.0.1",
        TURND_STATE_DIRECTORY="/a: b",
    )
    assert config.realm == "1234"
    assert str(config.admin.listen) == "[::1]:9641"
    assert config.auth.redis is not None
    assert config.auth.redis.get_secret_value() == "redis://:p{[ #w@127.0.0.1"
    assert str(config.state_directory) == "/a: b"


@pytest.mark.parametrize("nothing", ["", "null", "~"])
def test_null_is_for_keys_that_may_be_null(nothing: str) -> None:
    assert load("admin: {listen: 127.0.0.1:1}", TURND_ADMIN__LISTEN=nothing).admin.listen is None
    assert load("", TURND_SOFTWARE=nothing).software is None


def test_an_empty_variable_is_no_default() -> None:
    assert problems("", TURND_REALM="") == ["TURND_REALM: realm: a realm has 1 to 127 characters"]
    assert problems("", TURND_PEERS__DENY="") == [
        "TURND_PEERS__DENY: peers.deny: a list is wanted, such as [one, two], not nothing"
    ]


def test_a_longer_name_wins_over_a_shorter() -> None:
    config = load(
        "log: {format: console, level: debug}",
        TURND_LOG="{format: json}",
        TURND_LOG__LEVEL="error",
    )
    assert (config.log.format, config.log.level) == ("json", "error")


def test_certificates_by_environment() -> None:
    config = load("", TURND_TLS__CERTIFICATE="/a", TURND_TLS__KEY="/b")
    assert [(str(pair.certificate), str(pair.key)) for pair in config.tls] == [("/a", "/b")]
    assert problems("tls: [{certificate: /a, key: /b}]", TURND_TLS__KEY="/c") == [
        "TURND_TLS__KEY: tls.key: config.yaml:1:6 has no map there; set TURND_TLS"
    ]


def test_errors_name_the_variable() -> None:
    assert problems(
        "realm: [1]",
        TURND_REALM="a\nb",
        TURND_RELAY__PORTS="5-4",
        TURND_LISTEN="[udp://127.0.0.1, nope",
        TURND_LIMITS="{allocations: many, alocations: 1, allocations: 2}",
        TURND_PEERS__ALLOW="[10.0.0.0/8, x]",
    ) == [
        "TURND_LIMITS: limits.allocations: duplicate key",
        "TURND_LIMITS: limits.allocations: a whole number is wanted, not text ('many')",
        "TURND_LIMITS: limits.alocations: unknown key; did you mean allocations?",
        "TURND_LISTEN: listen: no valid YAML: did not find expected ',' or ']'",
        (
            "TURND_PEERS__ALLOW: peers.allow[1]: 'x' is neither special-purpose nor an address, a "
            "network (10.0.0.0/8) or a range (10.0.0.1-10.0.0.9)"
        ),
        "TURND_REALM: realm: a realm holds no control characters",
        "TURND_RELAY__PORTS: relay.ports: '5-4': the first port is above the last",
    ]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("TURND_RELAY__PORT", "no such key; did you mean TURND_RELAY__PORTS?"),
        ("TURND_RELAY_PORTS", "no such key; did you mean TURND_RELAY__PORTS?"),
        ("TURND_relay__ports", "no such key; did you mean TURND_RELAY__PORTS?"),
        ("TURND_AUTH__USERS__ALICE", ("no such key: TURND_AUTH__USERS takes the whole value, as "
         "YAML")),
        ("TURND_REALMS__B__LISTEN", "no such key: TURND_REALMS takes the whole value, as YAML"),
        ("TURND_RELAY_PORT", "no such key; did you mean TURND_RELAY__PORTS?"),
        ("TURND_QQQQ", "no such key"),
    ],
)  # fmt: skip
def test_unknown_variables_are_errors(name: str, what: str) -> None:
    assert problems("", **{name: "s3cret"}) == [f"{name}: {what}"]


def test_variables_of_others_are_left_alone() -> None:
    others = [
        "TURND_REQUIRE_NATIVE", "TURND_SERVICE_HOST", "TURND_SERVICE_PORT",
        "TURND_SERVICE_PORT_TURN", "TURND_PORT_3478_UDP", "TURND_PORT_3478_UDP_ADDR",
        "TURND_UDP_SERVICE_HOST", "TURND_UDP_PORT_3478_UDP_PROTO", "_TURND_COMPLETE", "HOME",
    ]  # fmt: skip
    ports = dict.fromkeys(["TURND_PORT", "TURND_UDP_PORT"], "udp://10.0.0.1:3478")
    assert load("", **ports, **dict.fromkeys(others, "x")) == Config()


def test_text_that_is_not_utf_8_is_an_error() -> None:
    assert problems("", TURND_REALM="a\udcff") == ["TURND_REALM: realm: is not UTF-8"]


def test_a_broken_file_and_a_broken_variable_are_told_together() -> None:
    lines = problems("a: [\n", TURND_LOG__LEVEL="x")
    assert lines[0].startswith("config.yaml:2:1: no valid YAML")
    assert lines[1].startswith("TURND_LOG__LEVEL: log.level: one of")


def test_no_variable_goes_into_what_is_no_map() -> None:
    assert problems("[1]", TURND_LOG__LEVEL="x") == [
        "config.yaml:1:1: a map is wanted, such as {key: value}, not a list"
    ]
    assert problems("log: 5", TURND_LOG__LEVEL="info") == [
        "config.yaml:1:6: log: a map is wanted, such as {key: value}, not a number",
        "TURND_LOG__LEVEL: log.level: config.yaml:1:6 has no map there; set TURND_LOG",
    ]
