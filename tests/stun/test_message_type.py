import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stun.registry import IANA
from turnd.stun.message_type import MessageClass, Method, join_type, split_type


def test_methods_are_those_of_the_registry() -> None:
    registered = {int(number, 16): name for number, name in IANA["methods"].items()}
    assert {int(method): method.name.title().replace("_", "") for method in Method} == registered


@pytest.mark.parametrize(
    ("method", "message_class", "message_type"),
    [
        (Method.BINDING, MessageClass.REQUEST, 0x0001),
        (Method.BINDING, MessageClass.INDICATION, 0x0011),
        (Method.BINDING, MessageClass.SUCCESS, 0x0101),
        (Method.BINDING, MessageClass.ERROR, 0x0111),
        (Method.ALLOCATE, MessageClass.REQUEST, 0x0003),
        (Method.ALLOCATE, MessageClass.ERROR, 0x0113),
        (Method.CREATE_PERMISSION, MessageClass.SUCCESS, 0x0108),
        (Method.SEND, MessageClass.INDICATION, 0x0016),
        (0x010, MessageClass.REQUEST, 0x0020),
        (0x080, MessageClass.REQUEST, 0x0200),
        (0xFFF, MessageClass.ERROR, 0x3FFF),
    ],
)
def test_the_bits_interleave(method: int, message_class: MessageClass, message_type: int) -> None:
    assert join_type(method, message_class) == message_type
    assert split_type(message_type) == (method, message_class)


@given(st.integers(0, 0xFFF), st.sampled_from(MessageClass))
def test_splitting_undoes_joining(method: int, message_class: MessageClass) -> None:
    message_type = join_type(method, message_class)
    assert 0 <= message_type <= 0x3FFF
    assert split_type(message_type) == (method, message_class)


def test_every_type_of_14_bits_is_a_method_and_a_class() -> None:
    assert all(join_type(*split_type(number)) == number for number in range(0x4000))


@pytest.mark.parametrize("method", [-1, 0x1000])
def test_a_method_has_12_bits(method: int) -> None:
    with pytest.raises(ValueError, match="is no method"):
        join_type(method, MessageClass.REQUEST)
