"""What a realm, a user, a password and a store's address may look like.

Messages name the rule and never the text, since most of these are secrets.
"""

from __future__ import annotations

import contextlib
import re
from base64 import b64decode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_USER = 508  # bytes (RFC 8489 section 14.3)
LONGEST_REALM = 127  # characters (RFC 8489 section 14.9)
LONGEST_SOFTWARE = 127  # characters (RFC 8489 section 14.14)
LONGEST_DNS_NAME = 253
LONGEST_SERVER_NAME = 127  # characters (RFC 7635 section 6.1)
LONGEST_SECRET = 4096  # characters; more is a wrong file
SECRET_HASHES = ("sha1", "sha256")

REDIS_SCHEMES = ("redis", "unix", "redis+sentinel", "redis+cluster")
"""Each but unix also with rediss, for TLS."""
_COTURN_CONNECTION = re.compile(r"(?:[a-z_-]+=\S*\s+)*[a-z_-]+=\S*")
_DNS_NAME = re.compile(r"(?:\*\.)?(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^\s/:?#@]+)(?::([0-9]{1,5}))?/?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_KEY_LIKE = re.compile(r"(?:md5|sha256):", re.IGNORECASE)
_KEY_DIGITS = {"md5": 32, "sha256": 64}


def check_realm(text: str) -> str:
    """A realm as it is sent and hashed: prepared as an OpaqueString (RFC 8489 section 14.9).

    Raises:
        ValueError: empty, too long, quotes, or characters that OpaqueString refuses.
    """
    if '"' in text or "\\" in text:
        raise ValueError("a realm is sent between quotes and holds neither quotes nor backslashes")
    prepared = _opaque(text, "a realm") if text else text
    if not 1 <= len(prepared) <= LONGEST_REALM:  # which some letters are longer by
        raise ValueError(f"a realm has 1 to {LONGEST_REALM} characters")
    return prepared


def check_spellings(names: Iterable[str]) -> None:
    """Each stands once, also as it is prepared; what is no name is told of for itself.

    Raises:
        ValueError: two are one, of which the later would win in silence.
    """
    prepared: list[str] = []
    for name in names:
        with contextlib.suppress(ValueError):
            prepared.append(_opaque(name, "a name"))
    if len(set(prepared)) < len(prepared):
        raise ValueError("a name stands here twice, in two spellings")


def check_user(text: str) -> str:
    """A user's name (RFC 8489 section 14.3).

    Raises:
        ValueError: empty, too long, or characters that OpaqueString refuses.
    """
    if not text or len(text.encode()) > LONGEST_USER:
        raise ValueError(f"a user's name has 1 to {LONGEST_USER} bytes")
    _opaque(text, "a user's name")
    return text


def check_password(text: str) -> str:
    """A password, or long-term keys: `md5:` or `sha256:` and hexadecimal digits, or both.

    Raises:
        ValueError: empty, a key of a wrong form, or characters that OpaqueString refuses.
    """
    if not text or len(text) > LONGEST_SECRET:
        raise ValueError(f"a password has 1 to {LONGEST_SECRET} characters")
    if _KEY_LIKE.match(text):
        _check_keys(text.split())
    else:
        _opaque(text, "a password")
    return text


def _check_keys(words: list[str]) -> None:
    kinds = []
    for word in words:
        kind, _, digits = word.partition(":")
        length = _KEY_DIGITS.get(kind.lower())
        if length is None or not re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", digits):
            raise ValueError(
                "no key: md5: takes 32 hexadecimal digits and sha256: takes 64, of the hash of "
                "user:realm:password"
            )
        kinds.append(kind.lower())
    if len(set(kinds)) != len(kinds):
        raise ValueError("two keys of one kind")


def check_secret(text: str) -> str:
    """A secret that is shared with whoever makes credentials (TURN REST).

    Raises:
        ValueError: empty, only spaces, too long, or one for an unknown hash.
    """
    marked = re.match("hmac-([a-z0-9]+):", text)
    if marked and marked[1] not in SECRET_HASHES:
        raise ValueError("a secret that begins with hmac-…: is one of hmac-sha1: or hmac-sha256:")
    secret = text[marked.end() :] if marked else text
    if not secret.strip() or len(text) > LONGEST_SECRET:
        raise ValueError(f"a secret has 1 to {LONGEST_SECRET} characters, and not spaces alone")
    return text


def check_token_key(text: str) -> str:
    """A key that access tokens are opened with (RFC 7635 section 4.1), in base64.

    Raises:
        ValueError: no base64.
    """
    try:
        b64decode(text, validate=True)
    except ValueError:
        raise ValueError("no base64: openssl rand -base64 32 makes a key") from None
    return text


def check_server_name(text: str) -> str:
    """The value of THIRD-PARTY-AUTHORIZATION (RFC 7635 section 6.1).

    Raises:
        ValueError: empty, too long or not printable.
    """
    if not 1 <= len(text) <= LONGEST_SERVER_NAME or not text.isprintable():
        raise ValueError(f"a server's name has 1 to {LONGEST_SERVER_NAME} printable characters")
    return text


def check_dns_name(text: str) -> str:
    """A DNS name or a pattern of one label more, as it is compared: in lower case.

    Raises:
        ValueError: neither.
    """
    name = text.lower().removesuffix(".")
    if not (_DNS_NAME.fullmatch(name) and len(name) <= LONGEST_DNS_NAME):
        raise ValueError("no DNS name: turn.example.org is one, *.example.org a pattern of such")
    return name


def check_origin(text: str) -> str:
    """The origin of a web page (RFC 6454), as it is compared: in lower case, without usual port.

    Raises:
        ValueError: none.
    """
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        raise ValueError("no origin: a scheme and a host, such as https://example.org, and no path")
    scheme, host, port = match.groups()
    is_usual = port in {None, _DEFAULT_PORTS.get(scheme)}
    return f"{scheme}://{host}" if is_usual else f"{scheme}://{host}:{port}"


def check_redis(text: str) -> str:
    """Where Redis is: a URL, or coturn's `ip=… port=… dbname=… password=…`.

    Raises:
        ValueError: neither.
    """
    scheme, separator, rest = text.strip().partition("://")
    if separator:
        if scheme.replace("rediss", "redis") not in REDIS_SCHEMES:
            raise ValueError(f"no URL of Redis: it begins with one of {_urls()}")
        _check_redis_path(scheme, rest.partition("?")[0])
        return text
    if not _COTURN_CONNECTION.fullmatch(text.strip()):
        raise ValueError(f"no URL of Redis ({_urls()}), nor coturn's ip=… port=… dbname=…")
    return text


def _check_redis_path(scheme: str, rest: str) -> None:
    hosts, _, path = rest.partition("/")
    if not (path if scheme == "unix" else hosts.rpartition("@")[2]):
        raise ValueError("no URL of Redis: nothing to connect to stands behind ://")
    if scheme == "unix":
        return
    if scheme.endswith("sentinel"):
        master, _, path = path.partition("/")
        if not master:
            raise ValueError("a Sentinel URL names its master: redis+sentinel://host:26379/master")
    if path and not (path.isascii() and path.isdecimal()):
        raise ValueError("the database of a Redis URL is a number")
    if scheme.endswith("cluster") and path.strip("0"):
        raise ValueError("a Redis Cluster has database 0 only")


def check_separator(text: str) -> str:
    """What stands between expiry and user in a REST username.

    Raises:
        ValueError: empty, or with digits, which an expiry is made of.
    """
    if not 1 <= len(text) <= 8 or any(c.isdigit() for c in text):
        raise ValueError("a separator has 1 to 8 characters and no digits")
    return text


def check_software(text: str) -> str:
    """The value of SOFTWARE (RFC 8489 section 14.14).

    Raises:
        ValueError: empty, too long or not printable.
    """
    if not 1 <= len(text) <= LONGEST_SOFTWARE or not text.isprintable():
        raise ValueError(f"has 1 to {LONGEST_SOFTWARE} printable characters")
    return text


def check_name(text: str) -> str:
    """A name of this system, such as a user's.

    Raises:
        ValueError: empty, not printable, or a name and a password as coturn's `user` has them.
    """
    if ":" in text:
        raise ValueError(
            "a user of this system is wanted, without colon; who may relay stands in auth.users"
        )
    if not text or not text.isprintable() or " " in text:
        raise ValueError("a name has at least 1 character and no spaces")
    return text


def check_path(text: str) -> str:
    """A file's name.

    Raises:
        ValueError: empty, or with a NUL.
    """
    if not text.strip() or "\0" in text:
        raise ValueError("a file's name is wanted, not an empty text")
    return text


def _opaque(text: str, what: str) -> str:
    """An OpaqueString (RFC 8265 section 4.2), which keys are made with."""
    if text.isascii():
        if not text.isprintable():
            raise ValueError(f"{what} holds no control characters")
        return text
    # Its tables take 20 ms to load, which plain ASCII need not wait for.
    from precis_i18n import get_profile  # noqa: PLC0415 - see above

    try:
        return str(get_profile("OpaqueString").enforce(text))
    except UnicodeError:
        raise ValueError(f"{what} holds characters that RFC 8265 does not allow") from None


def _urls() -> str:
    return ", ".join(f"{scheme}://" for scheme in REDIS_SCHEMES) + "; rediss for TLS"
