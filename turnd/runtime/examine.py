"""What only building shows to be wrong with a configuration, told with its place like all else.

The model knows keys and values. That a certificate does not match its key, that Redis's address is
none, or that two users cannot be challenged alike, is for those to say who would use them.
"""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING

from turnd.allocations.policy import PeerPolicy
from turnd.auth.chain import CredentialChain
from turnd.auth.redis_address import parse_redis_address
from turnd.auth.redis_coturn import CoturnSchema
from turnd.auth.redis_schema import TurndSchema
from turnd.auth.rest import RestSecrets
from turnd.auth.static import StaticUsers
from turnd.config import AuthSection, Config, ConfigError, Problem, Realm
from turnd.config.origins import origin_of
from turnd.config.problems import Path
from turnd.engine.choose import MEND
from turnd.engine.installed import EngineUnavailableError, require_native
from turnd.listeners.certificates import CertificateError, Certificates
from turnd.runtime.assembly import engine_options
from turnd.system import is_address_here

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path as FileName

Finding = tuple[Path, str]


def examine(
    config: Config,
    path: FileName | None,
    environ: Mapping[str, str],
    known_bad: Collection[str] = (),
    *,
    runs: bool = False,
) -> None:
    """Try everything that can fail for an admin's reasons without binding anything.

    Args:
        config: to be tried.
        path: its file, for the places of what is wrong.
        environ: the environment's variables.
        known_bad: certificate files that need not be good.
        runs: whether an engine runs already, so that it need not be to be had any more.

    Raises:
        ConfigError: with everything that is wrong.
    """
    findings = [*bad_certificates(config, known_bad), *bad_passthrough(config)]
    if not runs:
        findings += bad_engine(config, environ)
    for realm in config.all_realms():
        above: Path = () if realm.name == config.realm else ("realms", realm.name)
        findings += [((*above, *where), message) for where, message in _bad_realm(realm)]
    if findings:
        raise ConfigError(
            Problem(origin_of(path, environ, where), where, message) for where, message in findings
        )


def bad_certificates(config: Config, known_bad: Collection[str] = ()) -> Iterator[Finding]:
    """Pairs that cannot be served."""
    for index, pair in enumerate(config.tls):
        certificate = str(pair.certificate)
        if certificate in known_bad:
            continue
        try:
            Certificates([(certificate, str(pair.key))])
        except CertificateError as error:
            yield ("tls", index, "certificate"), str(error)


def bad_passthrough(config: Config) -> Iterator[Finding]:
    """A way back to an endpoint that is on every address of this host."""
    if config.passthrough is None:
        return
    to = config.passthrough.to
    streams = {
        (each.host, each.port)
        for realm in config.all_realms()
        for each in realm.endpoints
        if not each.is_udp
    }
    wildcard = "::" if ":" in to.host else "0.0.0.0"  # noqa: S104 - compared with, never bound
    if (wildcard, to.port) in streams and to.host != wildcard and is_address_here(to.host):
        yield (
            ("passthrough",),
            f"{to} is this server itself: its connections would go round for ever",
        )


def bad_engine(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    """An engine that this host has not, or CPUs that it may not run on."""
    try:
        options = engine_options(config, environ)
    except ValueError as error:
        yield ("cpu_affinity",), str(error)
        return
    if options.insists:
        try:
            require_native()
        except EngineUnavailableError as error:
            why = "" if config.engine == "native" else f"{options.insists}: "
            yield ("engine",), f"{why}{error}; {MEND}"


def _bad_realm(realm: Realm) -> Iterator[Finding]:
    auth = realm.auth
    yield from _bad_redis(auth)
    texts = [secret.get_secret_value() for secret in auth.secrets]
    users = {name: password.get_secret_value() for name, password in auth.users.items()}
    schema = CoturnSchema(realm.name) if auth.redis_schema == "coturn" else TurndSchema(realm.name)
    try:
        static = StaticUsers(realm.name, users)
        rest = RestSecrets(realm.name, texts, time.time, auth.separator)
        CredentialChain(realm.name, static, rest, None if auth.redis is None else _Empty(schema))
    except ValueError as error:
        yield ("auth", "users"), str(error)
    for key, entries in (("deny", realm.peers.deny), ("allow", realm.peers.allow)):
        for index, entry in enumerate(entries):
            try:
                PeerPolicy.build([entry])
            except ValueError as error:
                yield ("peers", key, index), str(error)


def _bad_redis(auth: AuthSection) -> Iterator[Finding]:
    if auth.redis is not None:
        try:
            parse_redis_address(auth.redis.get_secret_value())
        except ValueError as error:
            yield ("auth", "redis"), str(error)
    if auth.redis_tls_ca is not None:
        try:
            ssl.create_default_context(cafile=str(auth.redis_tls_ca))
        except OSError as error:  # ssl.SSLError is one
            yield ("auth", "redis_tls_ca"), f"{auth.redis_tls_ca}: {error.strerror or error}"


class _Empty:
    """A store with a schema and nothing in it."""

    def __init__(self, schema: CoturnSchema | TurndSchema) -> None:
        self.algorithms = schema.algorithms
        self.username_anonymity = schema.username_anonymity

    def cached(self, _name: object, _now: float) -> None:
        """Nothing is known."""
