"""Third-party authorization: an authorization server says who may relay (RFC 7635).

USERNAME names the key (kid) that ACCESS-TOKEN is opened with. All clients of an authorization
server share its kid, and nothing else is known of them: so quotas and bandwidth count for each
token by itself, and an allocation made with a token belongs to whoever comes to its five-tuple with
a token that counts in the realm. Tokens are renewed, and keys replaced, while an allocation lives.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from turnd.auth.access_token import AccessToken, TokenKey, open_token_untrusted
from turnd.auth.credentials import Credential
from turnd.stun.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turnd.auth.credentials import WallClock

_SHOWN_DIGITS = 16


@dataclass(frozen=True, slots=True)
class ThirdParty:
    """What a realm knows of authorization servers."""

    server_name: str
    """Of this server: what THIRD-PARTY-AUTHORIZATION says, and tokens are sealed for."""
    keys: Mapping[str, TokenKey]
    """Those of the configuration, by kid."""
    wall_clock: WallClock

    def open_untrusted(self, token_untrusted: bytes, key: TokenKey) -> AccessToken:
        """What a token says; whether its own time is over is asked later.

        Raises:
            DecodeError: the key's time is over, or see `open_token_untrusted`.
        """
        if key.expired(self.wall_clock()):
            raise DecodeError("the key's lifetime is over")
        return open_token_untrusted(token_untrusted, key, self.server_name)


def token_credential(kid: str, access: AccessToken, key: TokenKey) -> Credential:
    """Who comes with a token that was sealed with this key."""
    digits = sha256(access.value).hexdigest()[:_SHOWN_DIGITS]
    return Credential(
        user=kid,
        quota_user=f"{kid} {digits}",
        keys={},
        source="token",
        access=access,
        shared=key.value,
    )
