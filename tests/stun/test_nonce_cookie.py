import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stun.registry import IANA, VECTORS
from turnd.stun.nonce_cookie import COOKIE, COOKIE_LENGTH, SecurityFeature, add_cookie, features_of

BOTH = SecurityFeature.PASSWORD_ALGORITHMS | SecurityFeature.USERNAME_ANONYMITY


def test_features_are_those_of_the_registry_counted_from_the_left() -> None:
    registered = {1 << 23 - int(bit): name for bit, name in IANA["security_features"].items()}
    named = {
        int(feature): (feature.name or "").capitalize().replace("_", " ")
        for feature in SecurityFeature
    }
    assert named == registered


@pytest.mark.parametrize(
    ("features", "cookie"),
    [
        (SecurityFeature(0), "obMatJos2AAAA"),
        (SecurityFeature.PASSWORD_ALGORITHMS, "obMatJos2gAAA"),
        (SecurityFeature.USERNAME_ANONYMITY, "obMatJos2QAAA"),
        (BOTH, "obMatJos2wAAA"),
    ],
)
def test_a_nonce_starts_with_its_features(features: SecurityFeature, cookie: str) -> None:
    assert len(cookie) == COOKIE_LENGTH
    assert add_cookie(features, "rest") == cookie + "rest"
    assert features_of(cookie + "rest") == features
    assert features_of(cookie) == features


def test_bits_that_are_not_assigned_are_kept() -> None:
    nonce = next(vector["nonce"] for vector in VECTORS if "userhash" in vector)
    features = features_of(nonce)
    assert features == 2
    assert add_cookie(SecurityFeature(2), nonce[COOKIE_LENGTH:]) == nonce


@pytest.mark.parametrize(
    "nonce",
    [
        "",
        "f//499k954d6OL34oL9FSTvy64sA",
        "obMatJos2",
        "obMatJos2AAA",
        "obMatJos2AA==",
        "obMatJos2AAA=",
        "obMatJos2AA-_rest",
        "obMatJos2éééé",
        "OBMATJOS2AAAA",
    ],
)
def test_a_nonce_without_a_whole_cookie_announces_nothing(nonce: str) -> None:
    assert features_of(nonce) is None


base64_text = st.text(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_é", max_size=8
)


@given(st.sampled_from(["", COOKIE]), st.one_of(st.text(max_size=8), base64_text))
def test_only_what_add_cookie_makes_announces_features(start: str, text: str) -> None:
    nonce = start + text
    features = features_of(nonce)
    if features is None:
        whole = start and len(text) >= 4
        assert not (whole and text[:4].isascii() and text[:4].isalnum())
    else:
        assert add_cookie(features, nonce[COOKIE_LENGTH:]) == nonce
