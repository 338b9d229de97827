"""A client that a third party has authorized (RFC 7635), and the server that it comes to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tests.tokens import KEY_TEXT, MAC_KEY, SERVER_NAME, seal
from tests.turn.harness import Client, World
from turnd.auth.access_token import TokenKey
from turnd.auth.oauth import ThirdParty
from turnd.stun import attributes as a
from turnd.stun.message import Integrity, IntegrityAlgorithm

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = TokenKey.of(KEY_TEXT, "A256GCM")
THIRD_PARTY = ThirdParty(SERVER_NAME, {"north": KEY, "south": KEY}, lambda: 1_800_000_000.0)


@dataclass
class TokenClient(Client):
    """Signs with its token's key; `shows` says whether its requests carry the token."""

    mac_key: bytes = MAC_KEY
    token: bytes = b""
    shows: bool = True

    def integrity(self) -> Integrity:
        sha256 = len(self.mac_key) == 32
        return Integrity(
            self.mac_key, IntegrityAlgorithm.SHA256 if sha256 else IntegrityAlgorithm.SHA1
        )

    def credentials(
        self, *instead: tuple[a.Attribute[Any], Any], without: Sequence[a.Attribute[Any]] = ()
    ) -> list[tuple[a.Attribute[Any], Any]]:
        token = [(a.ACCESS_TOKEN, self.token)] if self.shows else []
        return [*token, *super().credentials(*instead, without=without)]

    def renewed(self, **differently: Any) -> TokenClient:
        """The same client with another token."""
        world = self.world
        mac_key = differently.pop("mac_key", bytes(20))
        token = seal(world.wall, differently.pop("lifetime", 3600), mac_key)
        return replace(self, mac_key=mac_key, token=token, **differently)


def token_world(**options: Any) -> World:
    """A server where users and tokens are welcome."""
    return World(third_party=THIRD_PARTY, **options)


def token_client(
    world: World, lifetime: int = 3600, mac_key: bytes = MAC_KEY, port: int = 4000
) -> TokenClient:
    """A client on UDP with a token of now."""
    leg = world.client(port=port).leg
    token = seal(world.wall, lifetime, mac_key)
    return TokenClient(world, leg, "north", "", mac_key=mac_key, token=token)
