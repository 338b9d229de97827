import pytest

from turnd.config import load_text
from turnd.config.auth_section import AuthSection, OAuthSection


def auth_of(text: str) -> AuthSection:
    return load_text(f"auth: {text}", "f", {}).auth


def test_nobody_is_let_in_by_default() -> None:
    auth = AuthSection()
    assert not any((auth.users, auth.secrets, auth.redis, auth.oauth.is_used))


@pytest.mark.parametrize(
    "text",
    [
        "{redis: 'redis://127.0.0.1', oauth: {server_name: x}}",
        "{oauth: {keys: {north: {key: MTIzNDU2Nzg5MDEyMzQ1Ng==, algorithm: A128GCM}}}}",
    ],
)
def test_tokens_are_taken_where_a_name_or_a_key_is_given(text: str) -> None:
    assert auth_of(text).oauth.is_used


def test_keys_of_tokens_have_no_end_and_256_bits_unless_it_is_said() -> None:
    oauth = "{keys: {north: {key: MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=}}}"
    key = auth_of(f"{{oauth: {oauth}}}").oauth.keys["north"]
    assert (key.algorithm, key.timestamp, key.lifetime) == ("A256GCM", 0, 0)
    assert "MTIz" not in repr(key)
    assert OAuthSection().keys == {}
