from turnd.config import load_text
from turnd.config.model import Config, Realm
from turnd.config.relay_addresses import RelayAddress
from turnd.config.values import Endpoint, HostPort, PortRange


def test_the_defaults() -> None:
    config = Config()
    assert [str(endpoint) for endpoint in config.listen] == [
        "udp://0.0.0.0:3478",
        "udp://[::]:3478",
        "tcp://0.0.0.0:3478",
        "tcp://[::]:3478",
    ]
    assert config.tls == ()
    assert config.relay.addresses == (RelayAddress(auto=True),)
    assert config.relay.ports == PortRange(49152, 65535)
    assert (config.relay.lifetime, config.relay.max_lifetime) == (600, 3600)
    assert config.relay.port_rest == 60
    assert not config.auth.users
    assert not config.auth.secrets
    assert config.auth.redis is None
    assert config.peers.deny == ("special-purpose",)
    assert config.peers.allow == ()
    assert config.limits.unauthenticated_per_second == 500
    assert config.limits.connections_per_client == 2000
    assert config.admin.listen == HostPort("127.0.0.1", 9641)
    assert (config.engine, config.workers, config.user) == ("auto", 0, "turnd")
    assert config.shutdown.timeout == 5
    assert not config.metrics.users


def test_one_pair_of_certificate_and_key_or_several() -> None:
    one = load_text("tls: {certificate: /a, key: /b}", "x", {})
    two = load_text("tls: [{certificate: /a, key: /b}, {certificate: /c, key: /d}]", "x", {})
    assert one.tls == two.tls[:1]
    assert len(two.tls) == 2
    assert load_text("tls: null", "x", {}).tls == ()
    assert Config(tls=one.tls[0]).tls == one.tls  # type: ignore[arg-type]  # as validated


def test_realms_take_over_what_they_do_not_say() -> None:
    config = load_text(
        """
        realm: a
        listen: [udp://127.0.0.1:1, udp://127.0.0.1:2]
        peers: {allow: [10.0.0.0/8]}
        limits: {allocations: 7, connections: 5}
        realms:
          b:
            listen: [udp://127.0.0.1:2]
            auth: {secrets: [x]}
          c:
            listen: [udp://127.0.0.1:3]
            auth: {secrets: [y]}
            peers: {deny: []}
            limits: {allocations_per_user: 1}
        """,
        "x",
        {},
    )
    a, b, c = config.all_realms()
    assert a == Realm(
        "a", (Endpoint("udp", "127.0.0.1", 1),), config.auth, config.peers, config.limits
    )
    assert b.endpoints == (Endpoint("udp", "127.0.0.1", 2),)
    assert b.auth.secrets[0].get_secret_value() == "x"
    assert (b.peers, b.limits) == (config.peers, config.limits)
    assert c.peers.deny == ()
    assert (c.limits.allocations, c.limits.allocations_per_user) == (0, 1)


def test_secrets_are_not_shown() -> None:
    config = load_text(
        "auth: {users: {alice: hunter2}, secrets: [hunter2], redis: 'redis://:hunter2@h'}", "x", {}
    )
    assert "hunter2" not in repr(config)
    assert "hunter2" not in config.model_dump_json()
