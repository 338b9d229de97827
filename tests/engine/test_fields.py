from turnd.engine.fields import SYSTEM, Fields, of_stream, sent_on


def test_each_relay_is_a_hop() -> None:
    assert sent_on(Fields(64, 0xB9)) == Fields(63, 0xB9)
    assert sent_on(Fields(2, 0)) == Fields(1, 0)
    assert sent_on(Fields(1, 0)) is None
    assert sent_on(SYSTEM) is SYSTEM


def test_a_connection_has_a_class_and_no_congestion_mark() -> None:
    assert of_stream(0xBB) == Fields(0, 0xB8)
    assert of_stream(0) == SYSTEM
