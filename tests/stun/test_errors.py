import pytest

from tests.stun.registry import IANA
from turnd.stun.errors import DecodeError, ErrorCode


def test_codes_and_reasons_are_those_of_the_registry() -> None:
    registered = {int(code): reason for code, reason in IANA["error_codes"].items()}
    assert {int(code): code.reason for code in ErrorCode} == registered


def test_a_code_is_found_by_its_number() -> None:
    assert ErrorCode(438) is ErrorCode.STALE_NONCE
    with pytest.raises(ValueError, match="439 is not a valid"):
        ErrorCode(439)


def test_a_decode_error_is_a_value_error() -> None:
    assert issubclass(DecodeError, ValueError)
