import pytest

from turnd.config import ConfigError, load_text
from turnd.config.keys import fixed_keys, section_at
from turnd.config.messages import FOREIGN, guess, unknown_key


def message(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "x", {})
    (problem,) = caught.value.problems
    return problem.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "auth: {strict_expiry: no}",
            "true or false is wanted, and 'no' is text in YAML 1.2; did you mean false?",
        ),
        (
            "log: {addresses: On}",
            "true or false is wanted, and 'On' is text in YAML 1.2; did you mean true?",
        ),
        ("log: {addresses: 1}", "true or false is wanted, not a number (1)"),
        ("log: {addresses: []}", "true or false is wanted, not a list"),
        ("workers: 1_000", "a whole number is wanted, not text ('1_000')"),
        ("workers: 1.5", "a whole number is wanted, not a number (1.5)"),
        ("workers: true", "a whole number is wanted, not true or false (True)"),
        ("workers:", "a whole number is wanted, not nothing"),
        ("workers: -1", "at least 0 is wanted, not -1"),
        ("realm: 12", "text is wanted, not a number: put it in quotes"),
        ("realm: true", "text is wanted, not true or false: put it in quotes"),
        ("realm: {}", "text is wanted, not a map"),
        ("relay: 5", "a map is wanted, such as {key: value}, not a number"),
        ("auth: {users: [a]}", "a map is wanted, such as {name: value}, not a list"),
        ("auth: {secrets: one}", "a list is wanted, such as [one, two], not text"),
        ("peers: {deny: }", "a list is wanted, such as [one, two], not nothing"),
        ("log: {level: inf}", ("one of debug, info, warning, error is wanted, not 'inf'; did you "
         "mean info?")),
        ("log: {level: WARNING}", ("one of debug, info, warning, error is wanted, not 'WARNING'; "
         "did you mean warning?")),
        ("engine: 5", "one of auto, native, portable is wanted, not a number"),
        ("tls: {key: /x}", "is missing"),
        ("listen: [5]", "an endpoint is wanted: udp://0.0.0.0:3478"),
    ],
)  # fmt: skip
def test_messages(text: str, expected: str) -> None:
    assert message(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "auth: {users: {alice: 5309}}",
        "auth: {users: hunter2}",
        "auth: {secrets: {hunter2: }}",
        "auth: {secrets: [[hunter2]]}",
        "auth: {redis: [hunter2]}",
        "auth: hunter2",
        "auth: {users: {alice hunter2}}",
        "auth: {users: {alice: 05309}}",
        "auth: {users: {alice: md5:hunter2}}",
        "auth: {users: {alice: *hunter2}}",
    ],
)
def test_secrets_are_not_shown(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "x", {})
    assert "hunter2" not in str(caught.value)
    assert "5309" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("listn",), "; did you mean listen?"),
        (("relam",), "; did you mean realm?"),
        (("max_allocations",), "; did you mean limits.allocations_per_user?"),
        (("ports",), "; did you mean relay.ports?"),
        (("auth", "secret"), "; did you mean auth.secrets?"),
        (("secret",), "; did you mean auth.secrets?"),
        (("realms", "b", "peer"), "; did you mean peers?"),
        (("tls", "certficate"), "; did you mean certificate?"),
        (("static-auth-secret",), "; did you mean auth.secrets?"),
        (("listening-port",), "; did you mean listen?"),
        (("<<",), ": maps are not merged here"),
        (("zzz",), ""),
        (("timeout",), "; did you mean shutdown.timeout?"),
    ],
)
def test_unknown_keys_come_with_a_guess(path: tuple[str, ...], expected: str) -> None:
    assert unknown_key(path) == f"unknown key{expected}"


def test_what_other_servers_call_it_exists_here() -> None:
    for meant in FOREIGN.values():
        path = tuple(meant.split("."))
        assert path in fixed_keys()
        assert section_at(path[:-1]) is not None


def test_no_guess_is_no_text() -> None:
    assert guess([]) == ""
    assert guess(["a", "b"]) == "; did you mean a or b?"
