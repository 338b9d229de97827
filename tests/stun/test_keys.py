import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stun.registry import IANA, VECTORS
from turnd.stun.keys import PasswordAlgorithm, long_term_key, opaque_string, userhash

MD5, SHA256 = PasswordAlgorithm.MD5, PasswordAlgorithm.SHA256


def test_algorithms_are_those_of_the_registry() -> None:
    registered = {
        int(number, 16): name.replace("-", "")
        for number, name in IANA["password_algorithms"].items()
    }
    assert {int(algorithm): algorithm.name for algorithm in PasswordAlgorithm} == registered


def test_the_md5_key_of_rfc_8489_section_9_2_2() -> None:
    expected = bytes.fromhex("8493fbc53ba582fb4c044c456bdc40eb")
    assert long_term_key("user", "realm", "pass", MD5) == expected


def test_the_sha256_key_hashes_the_same_text() -> None:
    expected = hashlib.sha256(b"user:realm:pass").digest()
    assert long_term_key("user", "realm", "pass", SHA256) == expected


def test_realm_and_password_are_prepared_and_the_user_name_is_taken_as_it_came() -> None:
    # OpaqueString maps every kind of space to the plain one.
    expected = hashlib.sha256("a\u00a0b:r m:p w".encode()).digest()
    assert long_term_key("a\u00a0b", "r\u00a0m", "p\u3000w", SHA256) == expected


def test_the_userhash_of_rfc_8489_appendix_b_1() -> None:
    vector = next(vector for vector in VECTORS if "userhash" in vector)
    assert userhash(vector["username"], vector["realm"]).hex() == vector["userhash"]


def test_a_userhash_prepares_both_parts() -> None:
    assert userhash("a\u00a0b", "r\u00a0m") == hashlib.sha256(b"a b:r m").digest()


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("alice", "alice"),
        ("two words", "two words"),
        ('per%cent:colon"quote', 'per%cent:colon"quote'),
        ("マトリックス", "マトリックス"),
        ("e\u0301", "\u00e9"),
        ("a\u2003b", "a b"),
        ("Ⅸ", "Ⅸ"),
    ],
)
def test_opaque_strings_keep_case_and_width(text: str, prepared: str) -> None:
    assert opaque_string(text) == prepared


@pytest.mark.parametrize("text", ["", "nul\0", "line\nfeed", "\x7f", "\u200b", "\ud800", "a\u0378"])
def test_what_is_no_opaque_string_is_refused(text: str) -> None:
    for call in (
        lambda: opaque_string(text),
        lambda: userhash(text, "realm"),
        lambda: userhash("user", text),
        lambda: long_term_key("user", text, "pass", MD5),
        lambda: long_term_key("user", "realm", text, SHA256),
    ):
        with pytest.raises(ValueError, match="OpaqueString"):
            call()


@given(st.text())
def test_preparing_ends_with_text_that_is_prepared_or_a_value_error(text: str) -> None:
    try:
        prepared = opaque_string(text)
    except ValueError:
        return
    assert opaque_string(prepared) == prepared
