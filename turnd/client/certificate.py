"""What a server's certificate says: for whom, by whom, for how many days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

from cryptography import x509
from cryptography.x509.oid import NameOID

from turnd.client.tls import is_address
from turnd.stun.server_names import fitting_names

SOON = 14
"""Days before a certificate's end from which on it is worth a warning."""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """The names it is good for, its issuer, and its end."""

    names: tuple[str, ...]
    issuer: str
    not_after: datetime

    def days_left(self, now: datetime) -> int:
        """Whole days until it expires; negative once it has."""
        return (self.not_after - now).days


def certificate_facts(der_untrusted: bytes) -> CertificateFacts:
    """Read a certificate in DER.

    Raises:
        ValueError: it is none.
    """
    certificate = x509.load_der_x509_certificate(der_untrusted)
    return CertificateFacts(
        names=_names(certificate),
        issuer=certificate.issuer.rfc4514_string(),
        not_after=certificate.not_valid_after_utc,
    )


def is_for(der_untrusted: bytes, host: str) -> bool:
    """Whether a host, as `name_of` has it, is in a certificate that may be none (RFC 6125)."""
    try:
        names = {name.lower() for name in certificate_facts(der_untrusted).names}
    except ValueError:
        return False
    if is_address(host):
        return str(ip_address(host)) in names
    return not names.isdisjoint(fitting_names(host))


def today() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(each.value) for each in common)
    names = extension.value
    hosts = names.get_values_for_type(x509.IPAddress)
    return (*names.get_values_for_type(x509.DNSName), *(str(host) for host in hosts))
