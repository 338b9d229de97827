"""TLS certificates: one context for a listener, which picks the pair that a client asks for.

Rules of the house
    1.  TLS 1.2 and 1.3; in 1.2 only ECDHE with AES-GCM or ChaCha20-Poly1305. No renegotiation, no
        compression, no session tickets: a ticket key that lives as long as the process would undo
        forward secrecy, and TURN connections are long, so that resuming gains little.
    2.  A pair is replaced whole or not at all. What cannot be read, does not match or is out of its
        dates is refused with a text that says how to mend it, and the pair in use stays.
    3.  `context` stays the same object for ever; connections that are open keep what they have.
        For engines with a TLS of their own there are `settings`, which have to be told again.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from turnd.engine.base import ALPN, TLS12_CIPHERS, TlsIdentity, TlsSettings
from turnd.engine.tls import remember_server_name
from turnd.stun.server_names import fitting_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

Pair = tuple[str, str]
"""Paths of a certificate chain and its private key, both PEM."""


class CertificateError(ValueError):
    """A pair that cannot be served: what is wrong, where, and how to mend it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a pair was refused at a reload."""

    certificate: str
    """Path of the certificate file."""
    message: str


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """A certificate that is being served."""

    path: str
    names: tuple[str, ...]
    """DNS names, lower case; `*.example.org` as it stands in the certificate."""
    not_before: float
    not_after: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class _Served:
    info: CertificateInfo
    context: ssl.SSLContext
    identity: TlsIdentity


_FileState = tuple[int, int, int] | None


class Certificates:
    """The pairs of the configuration; the first is for clients that name none of theirs.

    Raises:
        CertificateError: a pair cannot be served; at start there is no older one to fall back on.
        ValueError: no pair at all.
    """

    def __init__(self, pairs: Sequence[Pair], wall_clock: Callable[[], float] = time.time) -> None:
        if not pairs:
            raise ValueError("TLS needs a certificate and its key")
        self._pairs = tuple(pairs)
        self._wall_clock = wall_clock
        self._seen = self._file_states()
        self._served = [self._load(pair) for pair in self._pairs]
        self.context = _new_context()
        remember_server_name(self.context, lambda name: self._serve(name).context)

    def settings(self) -> TlsSettings:
        """What an engine serves by: of now, while its context goes with every reload."""
        return TlsSettings(self.context, tuple(served.identity for served in self._served))

    def changed(self) -> bool:
        """Whether a file is another than at the last (re)load, successful or not.

        By modification time, inode and size behind all symbolic links; cheap enough to ask every
        few seconds.
        """
        return self._file_states() != self._seen

    def reload(self) -> list[Problem]:
        """Take what is in the files now; a pair that cannot be served stays as it was."""
        self._seen = self._file_states()  # before reading: a change meanwhile shows next time
        problems: list[Problem] = []
        for index, pair in enumerate(self._pairs):
            try:
                self._served[index] = self._load(pair)
            except CertificateError as error:
                problems.append(Problem(pair[0], str(error)))
        return problems

    def expiry(self) -> dict[str, float]:
        """Path of each certificate → the unix second it is valid until."""
        return {info.path: info.not_after for info in self.served()}

    def served(self) -> list[CertificateInfo]:
        """What is served now, in the order of the configuration."""
        return [served.info for served in self._served]

    def select(self, server_name: str | None) -> CertificateInfo:
        """Which certificate a client gets that asks for this name (SNI, RFC 6066 section 3)."""
        return self._serve(server_name).info

    def covers(self, server_name: str) -> bool:
        """Whether one of them is for a host of this name."""
        return self._named(server_name) is not None

    def _serve(self, server_name: str | None) -> _Served:
        return self._named(server_name or "") or self._served[0]

    def _named(self, server_name: str) -> _Served | None:
        name = server_name.lower().rstrip(".")
        for wanted in fitting_names(name):
            for served in self._served:
                if wanted in served.info.names:
                    return served
        return None

    def _load(self, pair: Pair) -> _Served:
        certificate, key = pair
        info, identity = _examine(certificate, key, self._wall_clock())
        context = _new_context()
        try:
            context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "reason", None) or error
            raise CertificateError(
                f"{certificate}: OpenSSL refuses it with the key {key} ({reason}): "
                "make a certificate with an ECDSA P-256 or RSA 2048 key"
            ) from error
        return _Served(info, context, identity)

    def _file_states(self) -> list[_FileState]:
        return [_file_state(Path(path)) for pair in self._pairs for path in pair]


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(TLS12_CIPHERS)
    context.set_alpn_protocols(ALPN)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    # All that is offered is equally strong: a phone without AES instructions may prefer ChaCha20.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    return context


def _file_state(path: Path) -> _FileState:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _examine(certificate: str, key: str, now: float) -> tuple[CertificateInfo, TlsIdentity]:
    chain_pem, key_pem = _read(certificate, "certificate"), _read(key, "private key")
    leaf = _leaf(certificate, chain_pem)
    leafs_key = _leafs_key(leaf)
    if leafs_key is not None and _public_key(key, key_pem) != leafs_key.public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    ):
        raise CertificateError(
            f"{certificate}: the key {key} belongs to another certificate: name the files of one "
            "pair, with the server's certificate first in its file"
        )
    if leafs_key is None or not _is_served_everywhere(leafs_key):
        raise CertificateError(
            f"{certificate}: its key is of a kind or size that not every engine serves: make one "
            "with an ECDSA P-256 or RSA 2048 key"
        )
    not_before = leaf.not_valid_before_utc.timestamp()
    not_after = leaf.not_valid_after_utc.timestamp()
    if now > not_after:
        raise CertificateError(
            f"{certificate}: expired at {_date(not_after)}: renew it (this host's clock says "
            f"{_date(now)})"
        )
    if now < not_before:
        raise CertificateError(
            f"{certificate}: not valid before {_date(not_before)}: this host's clock says "
            f"{_date(now)}, is it right?"
        )
    names = _dns_names(leaf)
    return (
        CertificateInfo(certificate, names, not_before, not_after),
        TlsIdentity(names, chain_pem, key_pem),
    )


def _read(path: str, what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        mend = (
            "let the user that turnd runs as read it"
            if isinstance(error, PermissionError)
            else "is the path right?"
        )
        raise CertificateError(
            f"{path}: cannot read the {what} ({error.strerror}): {mend}"
        ) from error


def _leaf(path: str, pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(pem)[0]
    except (ValueError, x509.InvalidVersion) as error:
        raise CertificateError(
            f"{path}: holds no certificate: a PEM file with BEGIN CERTIFICATE is needed, the "
            "server's first, the intermediate ones after it"
        ) from error


def _leafs_key(leaf: x509.Certificate) -> CertificatePublicKeyTypes | None:
    """None: of a kind that nobody here knows."""
    try:
        return leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None


def _public_key(path: str, pem: bytes) -> bytes:
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise CertificateError(
            f"{path}: the private key is encrypted: store it without a passphrase (openssl pkey "
            "-in KEY -out PLAIN) and protect the file by its mode"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(
            f"{path}: holds no private key: a PEM file with BEGIN PRIVATE KEY is needed"
        ) from error
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _is_served_everywhere(key: CertificatePublicKeyTypes) -> bool:
    match key:
        case rsa.RSAPublicKey(key_size=bits):
            return bits in {2048, 3072, 4096}
        case ec.EllipticCurvePublicKey(curve=curve):
            return isinstance(curve, ec.SECP256R1 | ec.SECP384R1)
        case _:
            return isinstance(key, ed25519.Ed25519PublicKey)


_NO_NAMES = x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType


def _dns_names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except (*_NO_NAMES, ValueError):
        return ()  # still good for clients that connect by address: they do not name a host
    return tuple(name.lower() for name in names)


def _date(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="seconds")
