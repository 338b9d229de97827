from __future__ import annotations

import os
import shutil
import ssl
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from tests.listeners.pems import NOW, make_pair, rsa_key, write_key
from turnd.listeners.certificates import CertificateError, Certificates

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes


class Handshake:
    """A TLS client and our server joined in memory."""

    def __init__(
        self,
        context: ssl.SSLContext,
        name: str | None = None,
        client: ssl.SSLContext | None = None,
    ) -> None:
        client = client or tls_client()
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.to_client = to_client
        self.client = client.wrap_bio(to_client, to_server, server_hostname=name)
        self.server = context.wrap_bio(to_server, to_client, server_side=True)

    def run(self) -> Handshake:
        waiting = [self.client, self.server]
        for _ in range(10):
            for side in waiting[:]:
                try:
                    side.do_handshake()
                    waiting.remove(side)
                except ssl.SSLWantReadError:
                    continue
        assert waiting == []
        try:
            self.client.read(1)  # session tickets would come now
        except ssl.SSLWantReadError:
            pass
        return self

    @property
    def names(self) -> list[str]:
        """The DNS names of the certificate that the client was shown."""
        der = self.client.getpeercert(binary_form=True)
        assert der is not None
        extensions = x509.load_der_x509_certificate(der).extensions
        found = extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return found.value.get_values_for_type(x509.DNSName)


def tls_client(version: ssl.TLSVersion | None = None, ciphers: str | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = version
    if ciphers is not None:
        context.set_ciphers(ciphers)
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("turn.example.org", "turn.example.org"),
        ("TURN.Example.ORG", "turn.example.org"),
        ("other.example.org", "*.example.org"),
        ("a.b.example.org", "default.example.net"),
        ("example.org", "default.example.net"),
        ("unknown.test", "default.example.net"),
        (None, "default.example.net"),
    ],
)
def test_the_name_that_is_asked_for_picks_the_certificate(
    tmp_path: Path, asked: str | None, shown: str, version: ssl.TLSVersion
) -> None:
    certificates = Certificates(
        [
            make_pair(tmp_path, "default.example.net", stem="a"),
            make_pair(tmp_path, "*.example.org", stem="b"),
            make_pair(tmp_path, "turn.example.org", stem="c"),
        ]
    )
    handshake = Handshake(certificates.context, asked, tls_client(version)).run()
    assert handshake.names == [shown]
    assert certificates.select(asked).names == (shown,)


def test_the_earlier_of_two_pairs_with_a_name_is_taken(tmp_path: Path) -> None:
    first = make_pair(tmp_path, "turn.example.org", stem="a")
    second = make_pair(tmp_path, "turn.example.org", stem="b")
    certificates = Certificates([first, second])
    assert certificates.select("turn.example.org").path == first[0]
    assert certificates.select("turn.example.org.").path == first[0]


@pytest.mark.parametrize("alpn", ["stun.turn", "stun.nat-discovery"])
def test_alpn_of_rfc_7443(tmp_path: Path, alpn: str) -> None:
    certificates = Certificates([make_pair(tmp_path, "a.test")])
    client = tls_client()
    client.set_alpn_protocols(["h2", alpn])
    handshake = Handshake(certificates.context, "a.test", client).run()
    assert handshake.server.selected_alpn_protocol() == alpn


def test_a_client_that_speaks_of_another_protocol_is_served_all_the_same(tmp_path: Path) -> None:
    certificates = Certificates([make_pair(tmp_path, "a.test")])
    client = tls_client()
    client.set_alpn_protocols(["h2"])
    handshake = Handshake(certificates.context, "a.test", client).run()
    assert handshake.server.selected_alpn_protocol() is None


@pytest.mark.parametrize(
    "cipher",
    [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ],
)
def test_the_client_chooses_among_the_strong_ciphers(tmp_path: Path, cipher: str) -> None:
    certificates = Certificates([make_pair(tmp_path, "a.test")])
    client = tls_client(ssl.TLSVersion.TLSv1_2, cipher)
    handshake = Handshake(certificates.context, "a.test", client).run()
    used = handshake.server.cipher()
    assert used is not None
    assert used[0] == cipher


@pytest.mark.parametrize(
    "cipher", ["AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256", "DHE-RSA-AES128-GCM-SHA256"]
)
def test_ciphers_without_aead_or_forward_secrecy_are_refused(tmp_path: Path, cipher: str) -> None:
    certificates = Certificates([make_pair(tmp_path, "a.test", key=rsa_key(2048))])
    client = tls_client(ssl.TLSVersion.TLSv1_2, cipher)
    with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
        Handshake(certificates.context, "a.test", client).run()


def test_all_that_is_offered_is_aead_with_forward_secrecy(tmp_path: Path) -> None:
    certificates = Certificates([make_pair(tmp_path, "a.test")])
    offered = certificates.context.get_ciphers()
    assert offered
    for cipher in offered:
        assert cipher["aead"], cipher
        assert cipher["protocol"] == "TLSv1.3" or "Kx=ECDH " in cipher["description"], cipher
    assert certificates.context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert certificates.context.options & ssl.OP_NO_RENEGOTIATION
    assert certificates.context.options & ssl.OP_NO_COMPRESSION


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_ticket_leaves_the_server(tmp_path: Path, version: ssl.TLSVersion) -> None:
    certificates = Certificates([make_pair(tmp_path, "a.test")])
    handshake = Handshake(certificates.context, "a.test", tls_client(version)).run()
    assert handshake.client.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
    session = handshake.client.session
    assert session is None or not session.has_ticket


@pytest.mark.parametrize(
    "key",
    [
        rsa_key(3072),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
)
def test_usual_kinds_of_keys(tmp_path: Path, key: CertificateIssuerPrivateKeyTypes) -> None:
    certificates = Certificates([make_pair(tmp_path, "a.test", key=key)])
    assert Handshake(certificates.context, "a.test").run().names == ["a.test"]


def test_changed_files_are_served_after_a_reload(tmp_path: Path) -> None:
    certificates = Certificates([make_pair(tmp_path, "old.test")])
    context = certificates.context
    assert not certificates.changed()
    make_pair(tmp_path, "new.test", key=rsa_key(2048))  # another kind of key, too
    assert certificates.changed()
    assert Handshake(context).run().names == ["old.test"]
    assert certificates.reload() == []
    assert not certificates.changed()
    assert certificates.context is context
    assert Handshake(context).run().names == ["new.test"]


def test_a_symbolic_link_to_other_files_is_a_change(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make_pair(tmp_path / name, f"{name}.test")
    live = tmp_path / "live"
    live.symlink_to("one")
    certificates = Certificates([(str(live / "server.pem"), str(live / "server.key"))])
    live.unlink()
    live.symlink_to("two")
    assert certificates.changed()
    assert certificates.reload() == []
    assert certificates.select(None).names == ("two.test",)


def expire(folder: Path) -> None:
    make_pair(folder, "new.test", days=(-90, -1))


def of_the_future(folder: Path) -> None:
    make_pair(folder, "new.test", days=(5, 90))


def mismatch(folder: Path) -> None:
    write_key(folder / "server.key", ec.generate_private_key(ec.SECP256R1()))


def lose_certificate(folder: Path) -> None:
    (folder / "server.pem").unlink()


def lose_key(folder: Path) -> None:
    (folder / "server.key").unlink()


def garble_certificate(folder: Path) -> None:
    (folder / "server.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n")


def empty_certificate(folder: Path) -> None:
    (folder / "server.pem").write_bytes(b"")


def garble_key(folder: Path) -> None:
    (folder / "server.key").write_bytes(b"\x00\xff")


def encrypt_key(folder: Path) -> None:
    write_key(folder / "server.key", ec.generate_private_key(ec.SECP256R1()), b"passphrase")


def weak_key(folder: Path) -> None:
    make_pair(folder, "new.test", key=rsa_key(1024))


def unusual_curve(folder: Path) -> None:
    make_pair(folder, "new.test", key=ec.generate_private_key(ec.SECP521R1()))


def change_bytes(certificate: Path, old: bytes, new: bytes) -> None:
    """Its signature is wrong then, which nobody checks who serves it."""
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    assert old in der
    certificate.write_text(ssl.DER_cert_to_PEM_cert(der.replace(old, new)))


def unknown_curve(folder: Path) -> None:
    p256 = bytes.fromhex("2a8648ce3d030107")
    change_bytes(folder / "server.pem", p256, p256[:-1] + b"\x7f")


def outdated_kind(folder: Path) -> None:
    make_pair(folder, "new.test", key=dsa.generate_private_key(2048))


def weak_authority(folder: Path) -> None:
    above, _ = make_pair(folder, stem="above", key=rsa_key(1024))
    with (folder / "server.pem").open("ab") as chain:
        chain.write(Path(above).read_bytes())


def folder_for_key(folder: Path) -> None:
    (folder / "server.key").unlink()
    (folder / "server.key").mkdir()


BAD = [
    (expire, "expired at .* renew it"),
    (of_the_future, "not valid before .* clock"),
    (mismatch, "belongs to another certificate.* one pair"),
    (lose_certificate, r"cannot read the certificate \(No such file or directory\).* path right"),
    (lose_key, "cannot read the private key"),
    (garble_certificate, "holds no certificate"),
    (empty_certificate, "holds no certificate"),
    (garble_key, "holds no private key"),
    (encrypt_key, "is encrypted.* without a passphrase"),
    (weak_key, "kind or size that not every engine serves.* P-256"),
    (unusual_curve, "kind or size"),
    (unknown_curve, "kind or size"),
    (outdated_kind, "kind or size"),
    (weak_authority, "OpenSSL refuses it"),
    (folder_for_key, "cannot read the private key"),
]


@pytest.mark.parametrize(("harm", "message"), BAD)
def test_at_start_a_bad_pair_is_an_error_that_says_how_to_mend_it(
    tmp_path: Path, harm: object, message: str
) -> None:
    pair = make_pair(tmp_path, "old.test")
    assert callable(harm)
    harm(tmp_path)
    with pytest.raises(CertificateError, match=message) as caught:
        Certificates([pair])
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(("harm", "message"), BAD)
def test_at_a_reload_a_bad_pair_is_refused_and_the_old_one_stays(
    tmp_path: Path, harm: object, message: str
) -> None:
    (tmp_path / "other").mkdir()
    bad = make_pair(tmp_path, "old.test")
    good = make_pair(tmp_path / "other", "good.test")
    certificates = Certificates([bad, good])
    assert callable(harm)
    harm(tmp_path)
    make_pair(tmp_path / "other", "better.test")
    (problem,) = certificates.reload()
    assert problem.certificate == bad[0]
    with pytest.raises(CertificateError, match=message):
        raise CertificateError(problem.message)
    assert Handshake(certificates.context, "old.test").run().names == ["old.test"]
    assert Handshake(certificates.context, "better.test").run().names == ["better.test"]
    assert not certificates.changed()  # said once, until the files change again


def test_a_mended_pair_is_taken(tmp_path: Path) -> None:
    certificates = Certificates([make_pair(tmp_path, "old.test")])
    expire(tmp_path)
    assert len(certificates.reload()) == 1
    make_pair(tmp_path, "mended.test")
    assert certificates.changed()
    assert certificates.reload() == []
    assert certificates.select(None).names == ("mended.test",)


def test_a_key_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make_pair(tmp_path, "a.test")

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(CertificateError, match="let the user that turnd runs as read it"):
        Certificates([pair])


def test_a_certificate_in_use_may_expire_and_is_still_known(tmp_path: Path) -> None:
    clock = NOW.timestamp()
    pair = make_pair(tmp_path, "a.test", days=(-1, 1))
    certificates = Certificates([pair], wall_clock=lambda: clock)
    assert certificates.expiry() == {pair[0]: (NOW + timedelta(days=1)).timestamp()}
    clock += 3 * 86400
    assert len(certificates.reload()) == 1
    assert certificates.select("a.test").names == ("a.test",)


def test_the_whole_chain_is_sent(tmp_path: Path) -> None:
    certificate, key = make_pair(tmp_path, "leaf.test")
    above, _ = make_pair(tmp_path, stem="above")
    both = Path(certificate).read_bytes() + Path(above).read_bytes()
    Path(certificate).write_bytes(both)
    client = tls_client(ssl.TLSVersion.TLSv1_2)  # shows certificates in the clear
    handshake = Handshake(Certificates([(certificate, key)]).context, client=client)
    for side in (handshake.client, handshake.server):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    flight = handshake.to_client.read()
    for sent in x509.load_pem_x509_certificates(both):
        assert sent.public_bytes(Encoding.DER) in flight


def test_engines_with_their_own_tls_get_what_is_in_the_files_now(tmp_path: Path) -> None:
    pairs = [make_pair(tmp_path, f"{name}.test", stem=name) for name in ("one", "two")]
    certificates = Certificates(pairs)
    settings = certificates.settings()
    assert settings.context is certificates.context
    assert [each.names for each in settings.identities] == [("one.test",), ("two.test",)]
    for (certificate, key), identity in zip(pairs, settings.identities, strict=True):
        assert identity.certificate == Path(certificate).read_bytes()
        assert identity.key == Path(key).read_bytes()
        assert "PRIVATE" not in repr(settings)
    make_pair(tmp_path, "new.test", stem="two")
    assert certificates.settings() == settings
    assert certificates.reload() == []
    renewed = certificates.settings().identities
    assert renewed[0] == settings.identities[0]
    assert renewed[1].names == ("new.test",)
    assert renewed[1].key == Path(pairs[1][1]).read_bytes()


def test_a_certificate_without_names_serves_as_default(tmp_path: Path) -> None:
    certificates = Certificates([make_pair(tmp_path)])
    assert certificates.select("any.test").names == ()
    assert Handshake(certificates.context, "any.test").run().client.cipher() is not None


def test_names_of_a_kind_that_nobody_knows_are_none(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "odd.test")
    x400_address = b"\xa3\x08odd.test"
    change_bytes(Path(pair[0]), b"\x82\x08odd.test", x400_address)
    assert Certificates([pair]).select("odd.test").names == ()


def test_no_pair_is_an_error() -> None:
    with pytest.raises(ValueError, match="certificate"):
        Certificates([])


def test_same_size_and_time_but_another_file_is_a_change(tmp_path: Path) -> None:
    certificate, key = make_pair(tmp_path, "a.test")
    certificates = Certificates([(certificate, key)])
    stamp = Path(certificate).stat()
    copy = tmp_path / "copy"
    shutil.copy(certificate, copy)
    os.utime(copy, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    copy.replace(certificate)
    assert certificates.changed()
