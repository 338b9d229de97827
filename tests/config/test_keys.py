from pydantic import SecretStr

from turnd.config import keys
from turnd.config.auth_section import AuthSection
from turnd.config.fields import Reload
from turnd.config.sections import CertificatePair, PeersSection, RealmSection


def test_every_fixed_key_is_listed() -> None:
    fixed = keys.fixed_keys()
    assert {("realm",), ("relay",), ("relay", "ports"), ("tls", "key"), ("realms",)} <= set(fixed)
    assert ("realms", "listen") not in fixed
    assert fixed["relay", "ports"].path == ("relay", "ports")


def test_keys_know_how_they_are_written() -> None:
    fixed = keys.fixed_keys()
    texts = {".".join(path) for path, key in fixed.items() if key.is_text}
    assert {"realm", "user", "admin.listen", "auth.redis", "tls.key", "software"} <= texts
    assert not {"listen", "relay.ports", "auth.users", "workers", "log.level"} & texts
    assert fixed["software",].is_optional
    assert not fixed["realm",].is_optional
    assert fixed["auth",].section is AuthSection
    assert fixed["realm",].section is None


def test_keys_know_what_a_change_needs() -> None:
    fixed = keys.fixed_keys()
    needs = {path: key.reload for path, key in fixed.items()}
    restart = {".".join(path) for path, need in needs.items() if need is Reload.RESTART}
    assert restart == {
        "realm", "software", "listen", "relay.ports", "relay.port_rest",
        "admin.listen", "admin.socket", "engine", "workers", "cpu_affinity", "user",
        "state_directory",
        "sockets.receive_buffer", "sockets.send_buffer", "realms",
        "stun.rfc5780", "stun.alternate_port", "stun.rfc3489",
    }  # fmt: skip
    assert needs["auth",] is None
    for path in [("auth", "users"), ("tls",), ("log", "level"), ("shutdown", "timeout")]:
        assert needs[path] is Reload.LIVE


def test_the_model_is_found_by_path() -> None:
    assert keys.section_at(("realms", "b")) is RealmSection
    assert keys.section_at(("realms", "b", "peers")) is PeersSection
    assert keys.section_at(("tls",)) is CertificatePair
    assert keys.section_at(("tls", 0)) is CertificatePair
    assert keys.section_at(("realm",)) is None
    assert keys.type_at(("realms", "b", "listn")) is None
    assert keys.type_at(("realm", "x")) is None
    assert keys.type_at(("auth", 0)) is None


def test_secrets_are_known_as_such() -> None:
    for path in [("auth", "users"), ("auth", "users", "a"), ("auth", "secrets", 0)]:
        assert keys.is_secret(keys.type_at(path))
    assert keys.is_secret(keys.type_at(("realms", "b", "auth", "redis")))
    assert not keys.is_secret(keys.type_at(("auth", "redis_schema")))
    assert keys.bare_type(keys.type_at(("auth", "redis"))) is SecretStr
