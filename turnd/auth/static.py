"""Users that the configuration names, with a password or with keys.

A key is written `md5:` and 32 hex digits, or `sha256:` and 64 (RFC 8489 section 18.5.1: the hash of
`user:realm:password`); both may stand side by side, separated by a space. Anything else is a
password. A password that begins like a key but is none is an error rather than a guess.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from turnd.auth.credentials import (
    ALGORITHMS,
    Credential,
    DerivedKeys,
    Name,
    UsernameQuery,
)
from turnd.stun.keys import PasswordAlgorithm, opaque_string, userhash

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY_LIKE = re.compile(r"(?:md5|sha256):", re.IGNORECASE)
_HEX_DIGITS = {
    "md5": (PasswordAlgorithm.MD5, 32),
    "sha256": (PasswordAlgorithm.SHA256, 64),
}


class StaticUsers:
    """The users of one realm that the configuration names.

    Args:
        realm: what the keys are made with.
        users: user name → password or keys.

    Raises:
        ValueError: a name or password that RFC 8265 does not allow, an empty password, or one
            that begins like a key but is none.
    """

    def __init__(self, realm: str, users: Mapping[str, str]) -> None:
        self._by_name: dict[str, Credential] = {}
        self._by_hash: dict[bytes, Credential] = {}
        for written, secret in users.items():
            name = _prepared(written)
            keys = _keys(name, realm, secret)
            credential = Credential(user=name, quota_user=name, keys=keys, source="static")
            self._by_name[name] = credential
            self._by_hash[userhash(name, realm)] = credential

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, name: Name) -> Credential | None:
        """The credential of a user by name or by hash; None: not one of these."""
        if isinstance(name, UsernameQuery):
            return self._by_name.get(name.username)
        return self._by_hash.get(name.userhash)

    @property
    def algorithms(self) -> frozenset[PasswordAlgorithm]:
        """Those that every user here has a key for; all of them where there is no user."""
        common = frozenset(ALGORITHMS)
        for credential in self._by_name.values():
            common &= frozenset(credential.keys)
        return common


def _prepared(name: str) -> str:
    try:
        return opaque_string(name)  # what clients send in USERNAME is prepared so
    except ValueError:
        raise ValueError(f"user {name!r} is empty or holds characters that no name may") from None


def _keys(name: str, realm: str, secret: str) -> Mapping[PasswordAlgorithm, bytes]:
    if not secret:
        raise ValueError(f"user '{name}' has an empty password")
    if not _KEY_LIKE.match(secret):
        try:
            opaque_string(secret)  # else the first client would find out that there is no key
        except ValueError:
            raise ValueError(f"the password of user '{name}' holds characters none may") from None
        return DerivedKeys(name, realm, secret)
    return dict(_key(name, word) for word in secret.split())


def _key(name: str, word: str) -> tuple[PasswordAlgorithm, bytes]:
    kind, _, digits = word.partition(":")
    algorithm, length = _HEX_DIGITS.get(kind.lower(), (None, 0))
    if algorithm is None or not re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", digits):
        raise ValueError(
            f"user '{name}' has a malformed key: md5: takes 32 hex digits, sha256: takes 64"
        )
    return algorithm, bytes.fromhex(digits)
