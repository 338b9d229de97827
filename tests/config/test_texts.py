from collections.abc import Callable

import pytest

from turnd.auth.rest import HASHES
from turnd.config import texts
from turnd.stun import attributes as a
from turnd.turn.realms import canonical_origin

MD5 = "md5:" + "0" * 32
SHA256 = "sha256:" + "aF" * 32


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (texts.check_realm, "turn.example.org"),
        (texts.check_realm, "a realm"),
        (texts.check_user, "alice"),
        (texts.check_user, "1700000000:@bob:example.org"),
        (texts.check_user, "マトリックス"),
        (texts.check_password, "s3cret"),
        (texts.check_password, "TheMatrIX é"),
        (texts.check_password, MD5),
        (texts.check_password, SHA256),
        (texts.check_password, f"{MD5} {SHA256}"),
        (texts.check_password, "md5 of what"),
        (texts.check_secret, "north"),
        (texts.check_secret, "0" * 4096),
        (texts.check_secret, "hmac-sha1:north"),
        (texts.check_secret, "hmac-sha256:north"),
        (texts.check_secret, "hmac sha512:north"),
        (texts.check_separator, ":"),
        (texts.check_separator, "--"),
        (texts.check_software, "turnd 1.0"),
        (texts.check_token_key, "MTIzNDU2Nzg5MDEyMzQ1Ng=="),
        (texts.check_server_name, "turn.example.org"),
        (texts.check_dns_name, "turn.example.org"),
        (texts.check_dns_name, "*.example.org"),
        (texts.check_dns_name, "localhost"),
        (texts.check_origin, "https://example.org"),
        (texts.check_origin, "https://example.org:8443"),
        (texts.check_origin, "app://local"),
        (texts.check_server_name, "x" * 127),
        (texts.check_name, "turnd"),
        (texts.check_path, "/run/secrets/x y"),
        (texts.check_redis, "redis://127.0.0.1:6379/0"),
        (texts.check_redis, "rediss://user:pass@[::1]/3"),
        (texts.check_redis, "unix:///run/redis.sock?db=1"),
        (texts.check_redis, "redis+sentinel://a:26379,b:26379/mymaster/0"),
        (texts.check_redis, "rediss+cluster://a,b/0"),
        (texts.check_redis, "ip=127.0.0.1 dbname=0 password=p=w port=6379"),
    ],
)
def test_texts_that_are_fine(check: Callable[[str], str], text: str) -> None:
    assert check(text) == text


def test_a_realm_is_prepared_as_clients_prepare_it() -> None:
    """RFC 8489 section 14.9: a client that prepares what it is told says nothing else then."""
    assert texts.check_realm("Zu\u0308rich\u2003example") == "Z\u00fcrich example"


@pytest.mark.parametrize(
    ("check", "attribute"),
    [
        (texts.check_realm, a.REALM),
        (texts.check_server_name, a.THIRD_PARTY_AUTHORIZATION),
        (texts.check_software, a.SOFTWARE),
    ],
)
def test_what_clients_are_told_is_short_enough_to_be_sent(
    check: Callable[[str], str], attribute: a.Attribute[str]
) -> None:
    for character in ("x", "漢", "𠀀"):
        assert attribute.encode(check(character * 127), bytes(12))
        with pytest.raises(ValueError, match="1 to 127"):
            check(character * 128)


def test_a_realm_is_short_enough_as_it_is_prepared() -> None:
    """U+0958 is two letters then: what is longer than REALM may be could not be sent."""
    realm = texts.check_realm("\u0958" * 63)
    assert a.REALM.encode(realm, bytes(12)) == ("\u0915\u093c" * 63).encode()
    with pytest.raises(ValueError, match="1 to 127"):
        texts.check_realm("\u0958" * 64)


def test_names_that_are_one_to_clients_stand_once() -> None:
    texts.check_spellings(["a", "A", "e", "\u00e9", "\0", "\0"])
    with pytest.raises(ValueError, match="twice, in two spellings"):
        texts.check_spellings(["e\u0301", "a", "\u00e9"])


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("HTTPS://Example.org:443/", "https://example.org"),
        ("http://b:80", "http://b"),
        ("http://b:443", "http://b:443"),
        ("https://example.org:8443/", "https://example.org:8443"),
        ("app://local:80", "app://local:80"),
    ],
)
def test_an_origin_is_kept_as_it_is_compared(written: str, compared: str) -> None:
    assert texts.check_origin(written) == compared == canonical_origin(written)


@pytest.mark.parametrize(
    ("check", "text", "why"),
    [
        (texts.check_realm, "", "1 to 127"),
        (texts.check_realm, "x" * 128, "1 to 127"),
        (texts.check_realm, 'a"b', "quotes"),
        (texts.check_realm, "a\\b", "backslashes"),
        (texts.check_realm, "a\nb", "no control characters"),
        (texts.check_user, "", "1 to 508 bytes"),
        (texts.check_user, "é" * 255, "1 to 508 bytes"),
        (texts.check_user, "a\0b", "no control characters"),
        (texts.check_user, "aéb\u200b", "RFC 8265"),
        (texts.check_password, "", "1 to 4096"),
        (texts.check_password, "x" * 4097, "1 to 4096"),
        (texts.check_password, "s3cr\tet", "no control characters"),
        (texts.check_password, "md5:s3cret", "takes 32"),
        (texts.check_password, MD5 + "0", "takes 32"),
        (texts.check_password, "SHA256:s3cret", "takes 64"),
        (texts.check_password, f"{MD5} s3cret", "takes 64"),
        (texts.check_password, f"{MD5} {MD5}", "two keys"),
        (texts.check_secret, "", "1 to 4096"),
        (texts.check_secret, "  ", "not spaces alone"),
        (texts.check_secret, "hmac-sha256:", "1 to 4096"),
        (texts.check_secret, "hmac-sha256: ", "not spaces alone"),
        (texts.check_secret, "hmac-sha512:north", "hmac-sha1: or hmac-sha256:$"),
        (texts.check_separator, "", "1 to 8"),
        (texts.check_separator, "a1", "no digits"),
        (texts.check_software, "", "1 to 127"),
        (texts.check_software, "a\nb", "printable"),
        (texts.check_token_key, "s3cret!", "no base64"),
        (texts.check_token_key, "abc", "no base64"),
        (texts.check_server_name, "", "1 to 127"),
        (texts.check_dns_name, "", "no DNS name"),
        (texts.check_dns_name, "a..b", "no DNS name"),
        (texts.check_dns_name, "a.*.b", "no DNS name"),
        (texts.check_dns_name, "*", "no DNS name"),
        (texts.check_dns_name, "127.0.0.1:443", "no DNS name"),
        (texts.check_dns_name, ".".join(["x" * 63] * 4), "no DNS name"),
        (texts.check_origin, "", "no origin"),
        (texts.check_origin, "example.org", "no origin"),
        (texts.check_origin, "https://example.org/path", "no origin"),
        (texts.check_origin, "https://a b", "no origin"),
        (texts.check_server_name, "x" * 128, "1 to 127"),
        (texts.check_server_name, "a\nb", "printable"),
        (texts.check_name, "", "at least 1"),
        (texts.check_name, "a b", "no spaces"),
        (texts.check_name, "alice:hunter2", r"stands in auth\.users$"),
        (texts.check_path, " ", "empty"),
        (texts.check_path, "a\0", "empty"),
        (texts.check_redis, "s3cret", "no URL of Redis"),
        (texts.check_redis, "http://:s3cret@x", "begins with one of redis://"),
        (texts.check_redis, "redis://", "nothing to connect to"),
        (texts.check_redis, "redis://:s3cret@", "nothing to connect to"),
        (texts.check_redis, "unix://", "nothing to connect to"),
        (texts.check_redis, "redis://h/s3cret", "database of a Redis URL is a number"),
        (texts.check_redis, "redis+sentinel://:s3cret@a", "names its master"),
        (texts.check_redis, "redis+cluster://:s3cret@a/1", "database 0 only"),
    ],
)
def test_texts_that_are_not(check: Callable[[str], str], text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        check(text)
    assert "s3cr" not in str(caught.value)


def test_secrets_have_the_hashes_that_credentials_are_made_with() -> None:
    assert texts.SECRET_HASHES == HASHES
