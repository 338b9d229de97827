from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.turn.harness import (
    BOTH_ALGORITHMS,
    MD5_ENTRY,
    PEER,
    REALM,
    SECRET,
    SHA256_ENTRY,
    Client,
    StoreOfTests,
    World,
    code_of,
)
from tests.turn.tokens import KEY, TokenClient, token_client, token_world
from turnd.auth.chain import CredentialChain
from turnd.auth.credentials import (
    Credential,
    DerivedKeys,
    Found,
    FoundKey,
    KeyQuery,
    Unavailable,
    Unknown,
    UsernameQuery,
)
from turnd.auth.passed_nonce import mint_passed_nonce
from turnd.auth.rest import RestSecrets, rest_password
from turnd.auth.static import StaticUsers
from turnd.stun import attributes as a
from turnd.stun.addresses import TransportAddress
from turnd.stun.keys import PasswordAlgorithm, long_term_key, userhash
from turnd.stun.message import (
    Integrity,
    IntegrityAlgorithm,
    Message,
    MessageClass,
    Method,
    decode_untrusted,
    encode_message,
)
from turnd.stun.nonce_cookie import SecurityFeature, features_of
from turnd.turn.events import (
    AuthenticationFailed,
    Challenged,
    Dropped,
    FailureReason,
    MessageDropped,
)
from turnd.turn.redirect import Alternate

TRANSPORT = (a.REQUESTED_TRANSPORT, 17)
SHA1, SHA256 = IntegrityAlgorithm.SHA1, IntegrityAlgorithm.SHA256
WEIRD_NAMES = [
    "nul\0inside",
    "new\nline",
    "carriage\rreturn",
    "co:lon",
    "per%scent%n",
    "\u202egnirts",
    "ünïcode",
    "",
    "x" * 600,
    "1900000000:" + "y" * 600,
]


def attributes_of(answer: Message) -> set[int]:
    return {number for number, _ in answer.attributes}


def is_challenge(answer: Message, code: int) -> bool:
    """Whether it carries what RFC 8489 asks of a 401 or 438, and none of what it must not."""
    nonce = answer.get(a.NONCE)
    return (
        code_of(answer) == code
        and answer.get(a.REALM) == REALM
        and nonce is not None
        and answer.get(a.PASSWORD_ALGORITHMS) == BOTH_ALGORITHMS
        and not attributes_of(answer) & {a.USERNAME.number, a.USERHASH.number}
    )


def sha256(client: Client) -> Client:
    client.sha256 = True
    return client


def failures(world: World) -> list[tuple[str, FailureReason]]:
    return [(each.user, each.reason) for each in world.reported(AuthenticationFailed)]


def allocate_with(client: Client, credentials: Any, **options: Any) -> Message:
    return client.request(Method.ALLOCATE, (TRANSPORT,), credentials=credentials, **options)


# Rung 1: no integrity.


def test_a_first_request_is_challenged_without_a_signature_or_software() -> None:
    world = World()
    client = world.client()
    answer = client.challenge()
    assert is_challenge(answer, 401)
    assert not answer.has_integrity
    assert not answer.has(a.SOFTWARE)
    assert world.reported(Challenged) == [Challenged(client.leg)]
    assert failures(world) == []


@pytest.mark.parametrize(
    "method",
    [Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND],
)
def test_every_method_is_challenged_before_its_attributes_are_looked_at(method: Method) -> None:
    client = World().client()
    malformed = (a.raw(a.LIFETIME.number), b"1")
    assert is_challenge(client.ask(client.plain(method, (malformed,))), 401)
    named = ((a.USERNAME, "alice"), (a.REALM, REALM), (a.NONCE, "x"))
    assert is_challenge(client.ask(client.plain(method, named)), 401)


def test_the_nonce_announces_what_is_offered() -> None:
    both = SecurityFeature.PASSWORD_ALGORITHMS | SecurityFeature.USERNAME_ANONYMITY
    answer = World().client().challenge()
    assert features_of(str(answer.get(a.NONCE))) == both


def test_anonymity_is_not_offered_with_rest_secrets() -> None:
    answer = World(secrets=[SECRET]).client().challenge()
    assert features_of(str(answer.get(a.NONCE))) == SecurityFeature.PASSWORD_ALGORITHMS


def test_only_what_every_source_can_serve_is_offered() -> None:
    store = StoreOfTests(algorithms=frozenset({PasswordAlgorithm.MD5}), username_anonymity=False)
    answer = World(store=store).client().challenge()
    assert answer.get(a.PASSWORD_ALGORITHMS) == (MD5_ENTRY,)
    assert features_of(str(answer.get(a.NONCE))) == SecurityFeature.PASSWORD_ALGORITHMS


# Rung 2: incomplete credentials.


@pytest.mark.parametrize("missing", [a.USERNAME, a.REALM, a.NONCE])
@pytest.mark.parametrize("sha256", [True, False])
def test_integrity_without_name_realm_or_nonce_is_400(
    missing: a.Attribute[str], sha256: bool
) -> None:
    client = World().client()
    client.sha256 = sha256
    answer = allocate_with(client, client.credentials(without=[missing]))
    assert code_of(answer) == 400
    forbidden = {each.number for each in (a.USERNAME, a.USERHASH, a.NONCE, a.REALM, a.SOFTWARE)}
    assert not attributes_of(answer) & forbidden
    assert not answer.has_integrity
    assert not answer.has_integrity_sha256


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (a.USERNAME, b"\xff\xfe"),
        (a.USERNAME, b"x" * 764),
        (a.REALM, b"\xff"),
        (a.USERHASH, b"short"),
    ],
)
def test_a_malformed_credential_is_400(attribute: a.Attribute[Any], value: bytes) -> None:
    client = World().client()
    credentials = client.credentials(without=[a.USERNAME, attribute])
    answer = allocate_with(client, [*credentials, (a.raw(attribute.number), value)])
    assert code_of(answer) == 400


# Rung 3: the PASSWORD-ALGORITHM pair.


UNKNOWN_ENTRY = a.PasswordAlgorithmEntry(0x7777)


@pytest.mark.parametrize(
    ("listed", "chosen"),
    [
        (None, SHA256_ENTRY),
        (None, MD5_ENTRY),
        (BOTH_ALGORITHMS, None),
        ((SHA256_ENTRY,), SHA256_ENTRY),
        ((MD5_ENTRY,), MD5_ENTRY),
        (BOTH_ALGORITHMS[::-1], SHA256_ENTRY),
        ((*BOTH_ALGORITHMS, UNKNOWN_ENTRY), SHA256_ENTRY),
        ((*BOTH_ALGORITHMS, UNKNOWN_ENTRY), UNKNOWN_ENTRY),
        (BOTH_ALGORITHMS, UNKNOWN_ENTRY),
        (BOTH_ALGORITHMS, a.PasswordAlgorithmEntry(PasswordAlgorithm.SHA256, b"salt")),
        ((), SHA256_ENTRY),
    ],
)
def test_every_mismatch_of_the_pair_is_400(listed: Any, chosen: Any) -> None:
    world = World()
    client = sha256(world.client())
    pair = [(a.PASSWORD_ALGORITHMS, listed), (a.PASSWORD_ALGORITHM, chosen)]
    credentials = client.credentials(without=[a.PASSWORD_ALGORITHMS, a.PASSWORD_ALGORITHM])
    answer = allocate_with(client, credentials + [each for each in pair if each[1] is not None])
    assert code_of(answer) == 400
    assert failures(world) == [("alice", FailureReason.BAD_ALGORITHM)]


def test_an_algorithm_that_was_not_offered_is_400() -> None:
    store = StoreOfTests(algorithms=frozenset({PasswordAlgorithm.MD5}), username_anonymity=False)
    client = sha256(World(store=store).client())
    credentials = client.credentials(without=[a.PASSWORD_ALGORITHMS, a.PASSWORD_ALGORITHM])
    pair = [(a.PASSWORD_ALGORITHMS, (MD5_ENTRY,)), (a.PASSWORD_ALGORITHM, SHA256_ENTRY)]
    assert code_of(allocate_with(client, credentials + pair)) == 400


@pytest.mark.parametrize("attribute", [a.PASSWORD_ALGORITHMS, a.PASSWORD_ALGORITHM])
def test_a_malformed_half_of_the_pair_is_400(attribute: a.Attribute[Any]) -> None:
    client = sha256(World().client())
    credentials = client.credentials(without=[attribute])
    answer = allocate_with(client, [*credentials, (a.raw(attribute.number), b"\x00\x02\x00")])
    assert code_of(answer) == 400


def test_a_stripped_offer_shows_since_the_pair_must_be_that_of_the_nonces_challenge() -> None:
    """Bid-down: an attacker takes SHA-256 out of the 401 on its way to the client."""
    client = World().client()
    client.challenge()
    fooled = [(a.PASSWORD_ALGORITHMS, (MD5_ENTRY,)), (a.PASSWORD_ALGORITHM, MD5_ENTRY)]
    answer = allocate_with(client, [*client.credentials(), *fooled])
    assert code_of(answer) == 400


def test_a_pair_that_came_with_another_servers_nonce_is_told_that_the_nonce_is_stale() -> None:
    """A client that goes on after a restart which changed what is offered."""
    client = World().client()
    client.challenge()
    old_offer = [(a.PASSWORD_ALGORITHMS, (MD5_ENTRY,)), (a.PASSWORD_ALGORITHM, MD5_ENTRY)]
    foreign = client.credentials((a.NONCE, "obMatJos2gAAAanotherserversnonce"))
    assert is_challenge(allocate_with(client, [*foreign, *old_offer]), 438)


@pytest.mark.parametrize(
    "chosen", [a.PasswordAlgorithmEntry(9), a.PasswordAlgorithmEntry(PasswordAlgorithm.MD5, b"x")]
)
def test_an_algorithm_that_nobody_offered_is_400_whatever_the_nonce(
    chosen: a.PasswordAlgorithmEntry,
) -> None:
    client = World().client()
    client.challenge()
    pair = [(a.PASSWORD_ALGORITHMS, (chosen,)), (a.PASSWORD_ALGORITHM, chosen)]
    foreign = client.credentials((a.NONCE, "obMatJos2gAAAanotherserversnonce"))
    assert code_of(allocate_with(client, [*foreign, *pair])) == 400


def test_a_nonce_whose_cookie_was_changed_is_stale() -> None:
    """Bid-down: an attacker takes the cookie's bits away; then it is not our nonce."""
    client = World().client()
    nonce = str(client.challenge().get(a.NONCE))
    assert nonce.startswith("obMatJos2")
    without_bits = nonce[:9] + "AAAA" + nonce[13:]
    for changed in (without_bits, nonce[13:]):
        answer = allocate_with(client, client.credentials((a.NONCE, changed)))
        assert is_challenge(answer, 438)


def test_the_offer_that_counts_is_that_of_the_nonce_not_of_now() -> None:
    world = World()
    client = sha256(world.client())
    client.challenge()
    store = StoreOfTests(algorithms=frozenset({PasswordAlgorithm.MD5}))
    world.realm.credentials = CredentialChain(
        REALM,
        StaticUsers(REALM, {"alice": "wonderland"}),
        RestSecrets(REALM, (), lambda: 0.0),
        store,
    )
    assert code_of(client.allocate()) is None


# Rungs 4 and 5: who, and whether it is true.


@pytest.mark.parametrize("fingerprint", [True, False])
def test_a_client_of_rfc_5389_works_unchanged(fingerprint: bool) -> None:
    client = World().client()
    answer = client.allocate(fingerprint=fingerprint)
    assert code_of(answer) is None
    assert answer.verify_integrity(client.key(), SHA1)
    assert not answer.has_integrity_sha256
    assert answer.has_fingerprint is fingerprint


def test_a_client_of_rfc_8489_with_sha_256() -> None:
    client = sha256(World().client())
    answer = client.allocate()
    assert code_of(answer) is None
    assert answer.verify_integrity(client.key(), SHA256)
    assert not answer.has_integrity


def test_the_pair_may_choose_md5_and_is_answered_with_sha_256_integrity() -> None:
    client = World().client()
    pair = [(a.PASSWORD_ALGORITHMS, BOTH_ALGORITHMS), (a.PASSWORD_ALGORITHM, MD5_ENTRY)]
    answer = allocate_with(client, [*client.credentials(), *pair])
    assert code_of(answer) is None
    assert answer.verify_integrity(client.key(), SHA256)


def test_without_the_pair_the_answer_has_sha_1_whatever_signed_the_request() -> None:
    client = World().client()
    credentials = client.credentials()
    data = encode_message(
        Method.ALLOCATE,
        MessageClass.REQUEST,
        bytes(12),
        [TRANSPORT, *credentials],
        integrity=Integrity(client.key(), SHA256),
    )
    answer = client.ask(data)
    assert code_of(answer) is None
    assert answer.verify_integrity(client.key(), SHA1)


@pytest.mark.parametrize("sha256", [True, False])
def test_a_userhash_stands_for_the_name(sha256: bool) -> None:
    world = World()
    client = world.client()
    client.sha256 = sha256
    answer = allocate_with(client, client.hashed())
    assert code_of(answer) is None
    (allocation,) = world.state.table
    assert allocation.user == "alice"
    assert code_of(client.request(Method.REFRESH, credentials=client.hashed())) is None
    assert code_of(client.refresh()) is None  # by name again: the same user


def test_an_unknown_userhash_is_401_and_told_as_a_hash() -> None:
    world = World()
    client = world.client(user="nobody")
    client.password = "x"
    assert is_challenge(allocate_with(client, client.hashed()), 401)
    shown = "userhash:" + userhash("nobody", REALM).hex()
    assert failures(world) == [(shown, FailureReason.UNKNOWN_USER)]


@pytest.mark.parametrize("sha256", [True, False])
def test_unknown_users_and_wrong_passwords_get_the_same_answer(sha256: bool) -> None:
    world = World()
    answers = []
    for user in ("alice", "nobody"):
        client = world.client(user=user)
        client.sha256 = sha256
        client.password = "guess"
        answer = client.allocate()
        assert is_challenge(answer, 401)
        assert not answer.has_integrity
        assert not answer.has_integrity_sha256
        answers.append([(number, len(value)) for number, value in answer.attributes])
    assert answers[0] == answers[1]
    assert failures(world) == [
        ("alice", FailureReason.BAD_INTEGRITY),
        ("nobody", FailureReason.UNKNOWN_USER),
    ]


def test_the_same_work_is_done_for_users_with_and_without_a_fitting_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(users={"alice": "wonderland", "carol": "sha256:" + "0" * 64})
    verified: list[bytes] = []

    def verify(_message: Message, key: bytes, _algorithm: IntegrityAlgorithm) -> bool:
        verified.append(key)
        return False

    clients = [world.client(user=user) for user in ("alice", "carol", "nobody")]
    for client in clients:
        client.password = "guess"
        client.challenge()
    monkeypatch.setattr(Message, "verify_integrity", verify)
    for number, client in enumerate(clients, 1):
        assert code_of(client.allocate()) == 401
        assert len(verified) == number


def test_a_decoy_key_lets_nobody_in() -> None:
    world = World()
    client = world.client(user="nobody")
    client.challenge()
    from_the_salt = world.server.decoy_salt
    for key in (from_the_salt, b"", bytes(16)):
        data = encode_message(
            Method.ALLOCATE,
            MessageClass.REQUEST,
            bytes(12),
            [TRANSPORT, *client.credentials()],
            integrity=Integrity(key, SHA1),
        )
        assert code_of(client.ask(data)) == 401


def test_both_integrities_count_by_the_stronger_one() -> None:
    client = World().client()
    credentials = [TRANSPORT, *client.credentials()]
    signed = encode_message(
        Method.ALLOCATE,
        MessageClass.REQUEST,
        bytes(12),
        credentials,
        integrity=Integrity(client.key(), SHA1),
    )
    forged = (a.MESSAGE_INTEGRITY_SHA256, bytes(32))
    body = signed[20:] + b"\x00\x1c\x00\x20" + forged[1]
    data = signed[:2] + len(body).to_bytes(2) + signed[4:20] + body
    assert code_of(client.ask(data)) == 401


def test_a_truncated_sha_256_does_not_verify() -> None:
    client = World().client()
    whole = encode_message(
        Method.ALLOCATE,
        MessageClass.REQUEST,
        bytes(12),
        [TRANSPORT, *client.credentials()],
        integrity=Integrity(client.key(), SHA256),
    )
    body = whole[20:-36] + b"\x00\x1c\x00\x10" + whole[-32:-16]
    data = whole[:2] + len(body).to_bytes(2) + whole[4:20] + body
    assert code_of(client.ask(data)) == 401


@pytest.mark.parametrize("user", WEIRD_NAMES)
@pytest.mark.parametrize("sha256", [True, False])
def test_strange_names_are_unknown_users(user: str, sha256: bool) -> None:
    world = World()
    client = world.client(user=user)
    client.sha256 = sha256
    client.password = "x"
    name = (a.raw(a.USERNAME.number), user.encode())
    answer = allocate_with(client, [name, *client.credentials(without=[a.USERNAME])])
    assert is_challenge(answer, 401)
    assert failures(world) == [(user, FailureReason.UNKNOWN_USER)]


def test_of_several_secrets_each_is_tried() -> None:
    world = World(secrets=["new", SECRET])
    assert code_of(world.rest_client().allocate()) is None
    (allocation,) = world.state.table
    assert allocation.credential.source == "secret 2"
    stranger = world.rest_client(port=9)
    stranger.password = rest_password("other", stranger.user)
    assert code_of(stranger.allocate()) == 401


def test_another_realm_is_401_and_signed_since_the_key_is_known() -> None:
    world = World()
    client = world.client()
    answer = allocate_with(client, client.credentials((a.REALM, "elsewhere.example")))
    assert is_challenge(answer, 401)
    assert answer.verify_integrity(client.key(), SHA1)
    assert failures(world) == [("alice", FailureReason.WRONG_REALM)]


def test_a_store_that_is_away_is_500_and_lets_nobody_in() -> None:
    query = UsernameQuery("dave")
    world = World(store=StoreOfTests(known={query: Unavailable("down")}))
    client = world.client(user="dave")
    client.password = "davit"
    answer = client.allocate()
    assert code_of(answer) == 500
    assert not answer.has_integrity
    assert failures(world) == [("dave", FailureReason.STORE_UNAVAILABLE)]


# Rung 6: the nonce.


def test_an_expired_nonce_is_438_signed_and_the_new_one_works() -> None:
    world = World(nonce_lifetime=60)
    client = world.client()
    client.challenge()
    world.pass_time(60)
    answer = client.allocate()
    assert is_challenge(answer, 438)
    assert answer.verify_integrity(client.key(), SHA1)
    assert not answer.has(a.SOFTWARE)  # the address may be another's all the same
    client.nonce = answer.get(a.NONCE)
    assert code_of(client.allocate()) is None
    assert failures(world) == []


@pytest.mark.parametrize("nonce", ["forged", "obMatJos2", "obMatJos2wAAA" + "x" * 7, "", "é" * 20])
def test_a_forged_nonce_is_438(nonce: str) -> None:
    client = World().client()
    answer = allocate_with(client, client.credentials((a.NONCE, nonce)))
    assert is_challenge(answer, 438)
    assert answer.verify_integrity(client.key(), SHA1)


@pytest.mark.parametrize("value", [b"\xff\xfe", b"n" * 764])
def test_a_nonce_that_is_no_text_is_438(value: bytes) -> None:
    client = World().client()
    credentials = client.credentials(without=[a.NONCE])
    answer = allocate_with(client, [*credentials, (a.raw(a.NONCE.number), value)])
    assert is_challenge(answer, 438)


@pytest.mark.parametrize(("host", "port"), [("203.0.113.5", 4001), ("203.0.113.6", 4000)])
def test_another_ports_or_hosts_nonce_is_438(host: str, port: int) -> None:
    world = World()
    client, other = world.client(), world.client(host, port)
    client.challenge()
    other.nonce = client.nonce
    answer = sha256(other).allocate()
    assert is_challenge(answer, 438)
    assert answer.verify_integrity(other.key(), SHA256)


def test_a_replayed_request_from_another_address_changes_nothing() -> None:
    world = World()
    client, attacker = world.client(), world.client("203.0.113.66")
    data = client.signed(Method.ALLOCATE, (TRANSPORT,))
    assert code_of(attacker.ask(data)) == 438
    assert len(world.state.table) == 0


def test_a_replayed_request_after_the_nonces_end_changes_nothing() -> None:
    world = World(nonce_lifetime=600)
    client = world.client()
    client.allocated((a.LIFETIME, 3600))
    data = client.signed(Method.CREATE_PERMISSION, ((a.XOR_PEER_ADDRESS, PEER),))
    world.pass_time(600)
    assert code_of(client.ask(data)) == 438
    (allocation,) = world.state.table
    assert not allocation.relays[0].permissions


def test_user_and_integrity_come_before_the_nonce() -> None:
    world = World(nonce_lifetime=60)
    client = world.client()
    client.challenge()
    world.pass_time(60)
    client.password = "guess"
    assert is_challenge(client.allocate(), 401)
    client.user = "nobody"
    assert is_challenge(client.allocate(), 401)
    assert failures(world) == []  # without a valid nonce the address may be spoofed: no event


# The allocation's own key.


def test_an_allocations_own_key_goes_on_after_the_user_is_gone() -> None:
    world = World(secrets=[SECRET])
    client = world.rest_client()
    client.allocated()
    world.realm.credentials = CredentialChain(
        REALM, StaticUsers(REALM, {}), RestSecrets(REALM, ["rotated"], lambda: world.wall)
    )
    for answer in (client.refresh(), client.permit(PEER), client.bind(0x4000, PEER)):
        assert code_of(answer) is None
        assert answer.verify_integrity(client.key(), SHA1)
    assert code_of(client.refresh(0)) is None
    assert code_of(client.allocate()) == 401


def test_the_store_is_not_asked_for_whoever_holds_the_allocations_key() -> None:
    query = UsernameQuery("dave")
    dave = Credential("dave", "dave", DerivedKeys("dave", REALM, "davit"))
    store = StoreOfTests(known={query: Found((dave,))})
    world = World(store=store)
    client = world.client(user="dave")
    client.password = "davit"
    client.allocated()
    store.known[query] = Unavailable("away")
    assert code_of(client.refresh()) is None
    del store.known[query]
    assert code_of(client.refresh()) is None
    assert world.pending == []
    client.password = "guess"
    assert client.send(client.signed(Method.REFRESH)) == []
    assert len(world.pending) == 1


def test_the_allocations_key_needs_a_valid_nonce_like_any_other() -> None:
    world = World(nonce_lifetime=60)
    client = world.client()
    client.allocated()
    world.pass_time(60)
    assert is_challenge(client.refresh(), 438)


def test_an_allocation_whose_credential_lacks_the_algorithm() -> None:
    world = World()
    client = world.client()
    client.allocated()
    (allocation,) = world.state.table
    key = long_term_key("alice", REALM, "old", PasswordAlgorithm.MD5)
    allocation.credential = Credential("alice", "alice", {PasswordAlgorithm.MD5: key})
    assert code_of(sha256(client).refresh()) is None  # by the look-up, not by the old key


def test_a_name_that_has_no_hash_is_nobody_by_hash() -> None:
    world = World(secrets=[SECRET])
    client = world.rest_client(user="bell\a")
    client.allocated()
    answer = client.request(
        Method.REFRESH,
        credentials=[(a.USERHASH, bytes(32)), *client.credentials(without=[a.USERNAME])],
    )
    assert code_of(answer) == 401


def test_another_name_with_the_allocations_key_is_another_user() -> None:
    client = World().client()
    client.allocated()
    answer = client.request(Method.REFRESH, credentials=client.credentials((a.USERNAME, "bob")))
    assert code_of(answer) == 401  # bob's key is another


# The budget.


def test_without_a_valid_nonce_answers_are_drawn_from_the_budget() -> None:
    world = World(answers_per_second=2)
    client = world.client()
    client.challenge()
    valid = client.nonce
    client.nonce = "forged"
    assert code_of(client.refresh()) == 438
    assert client.send(client.signed(Method.REFRESH)) == []
    assert world.reported(MessageDropped) == [MessageDropped(client.leg, Dropped.OVER_BUDGET)]
    client.nonce = valid
    assert code_of(client.refresh()) == 437
    assert code_of(decode_untrusted(client.send(client.signed(Method.REFRESH))[0])) == 437


# The same rungs with an access token (RFC 7635 section 7).


def test_a_token_lets_in_and_its_key_signs_the_answer() -> None:
    for mac_key in (b"a key of twenty byte", bytes(range(32))):
        client = token_client(token_world(), mac_key=mac_key)
        answer = client.allocate()
        assert code_of(answer) is None
        assert answer.verify_integrity(*client.integrity())


def test_a_binding_may_be_signed_with_a_token() -> None:
    client = token_client(token_world())
    answer = client.request(Method.BINDING)
    assert code_of(answer) is None
    assert answer.verify_integrity(*client.integrity())


def test_users_and_tokens_come_side_by_side() -> None:
    world = token_world()
    assert code_of(world.client(port=1).allocate()) is None
    assert code_of(token_client(world, port=2).allocate()) is None


def refused_token(client: TokenClient, reason: FailureReason) -> None:
    answer = client.allocate()
    assert is_challenge(answer, 401)
    assert not any((answer.has_integrity, answer.has_integrity_sha256))
    assert failures(client.world) == [(client.user, reason)]
    assert not list(client.world.state.table)


def test_a_kid_that_nobody_knows_is_401() -> None:
    client = token_client(token_world())
    client.user = "west"
    refused_token(client, FailureReason.UNKNOWN_USER)


@pytest.mark.parametrize("token", [b"", b"garbage", bytes(64), bytes(2000)])
def test_a_token_that_does_not_open_is_401(token: bytes) -> None:
    client = token_client(token_world())
    client.token = token
    refused_token(client, FailureReason.BAD_TOKEN)


def test_another_key_than_the_tokens_is_401() -> None:
    client = token_client(token_world())
    client.mac_key = bytes(20)
    refused_token(client, FailureReason.BAD_INTEGRITY)


def test_the_hmac_is_that_of_the_keys_length() -> None:
    client = token_client(token_world(), mac_key=bytes(32))
    message = client.signed(Method.ALLOCATE, (TRANSPORT,))
    sha1 = encode_message(
        Method.ALLOCATE,
        MessageClass.REQUEST,
        decode_untrusted(message).transaction_id,
        (TRANSPORT, *client.credentials()),
        integrity=Integrity(bytes(32), SHA1),
    )
    assert code_of(client.ask(sha1)) == 401
    assert code_of(client.ask(message)) is None


def test_a_token_behind_the_integrity_counts_for_nothing() -> None:
    client = token_client(token_world())
    client.shows = False
    message = client.signed(Method.ALLOCATE, (TRANSPORT,))
    value = client.token
    late = a.ACCESS_TOKEN.number.to_bytes(2) + len(value).to_bytes(2) + value
    size = int.from_bytes(message[2:4]) + len(late)
    assert code_of(client.ask(message[:2] + size.to_bytes(2) + message[4:] + late)) == 401


def test_a_token_needs_the_name_of_its_key() -> None:
    client = token_client(token_world())
    credentials = [(a.USERHASH, bytes(32)), *client.credentials(without=[a.USERNAME])]
    answer = client.request(Method.ALLOCATE, (TRANSPORT,), credentials=credentials)
    assert code_of(answer) == 400


def test_the_key_of_a_token_may_come_from_the_store() -> None:
    store = StoreOfTests()
    world = token_world(store=store)
    client = token_client(world)
    client.user = "west"
    message = client.signed(Method.ALLOCATE, (TRANSPORT,))
    assert client.send(message) == []
    assert [need.query for need in world.pending] == [KeyQuery("west")]
    answer = world.resume(FoundKey(KEY))
    assert answer is not None
    assert code_of(decode_untrusted(answer)) is None
    store.known[KeyQuery("east")] = Unknown()
    other = token_client(world, port=2)
    other.user = "east"
    assert code_of(other.allocate()) == 401
    store.known[KeyQuery("east")] = Unavailable("down")
    assert code_of(other.allocate()) == 500


def test_whoever_holds_an_allocations_token_key_needs_to_show_it_no_more() -> None:
    world = token_world()
    client = token_client(world)
    client.allocated()
    client.shows = False
    assert code_of(client.request(Method.CREATE_PERMISSION, ((a.XOR_PEER_ADDRESS, PEER),))) is None
    assert code_of(client.request(Method.REFRESH)) is None


def test_an_allocations_own_token_is_good_without_its_key() -> None:
    store = StoreOfTests()
    world = token_world(store=store)
    client = token_client(world)
    client.user = "west"
    client.send(client.signed(Method.ALLOCATE, (TRANSPORT,)))
    world.resume(FoundKey(KEY))
    store.known[KeyQuery("west")] = Unknown()
    assert code_of(client.request(Method.REFRESH)) is None
    assert code_of(client.renewed().request(Method.REFRESH)) == 401


def test_an_allocations_own_token_outlives_the_realms_third_party() -> None:
    world = token_world()
    client = token_client(world)
    client.allocated()
    world.realm.credentials = World().realm.credentials
    assert code_of(client.request(Method.REFRESH)) is None
    assert code_of(client.renewed().request(Method.REFRESH)) == 420
    assert code_of(token_client(world, port=2).allocate()) == 420


def test_a_token_with_the_allocations_key_but_another_is_looked_at() -> None:
    client = token_client(token_world())
    client.allocated()
    client.token = b"garbage"
    assert code_of(client.request(Method.REFRESH)) == 401
    user = token_world().client()
    user.allocated()
    credentials = [(a.ACCESS_TOKEN, b"garbage"), *user.credentials()]
    assert code_of(user.request(Method.REFRESH, credentials=credentials)) == 401


def test_a_token_that_no_challenge_asked_for_is_420() -> None:
    client = token_client(World())
    client.challenge()
    answer = client.allocate()
    assert (code_of(answer), answer.get(a.UNKNOWN_ATTRIBUTES)) == (420, (a.ACCESS_TOKEN.number,))
    assert not answer.has_integrity
    user = client.world.client()
    credentials = [(a.ACCESS_TOKEN, client.token), *user.credentials()]
    answer = user.request(Method.ALLOCATE, (TRANSPORT,), credentials=credentials)
    assert (code_of(answer), answer.get(a.UNKNOWN_ATTRIBUTES)) == (420, (a.ACCESS_TOKEN.number,))
    assert answer.verify_integrity(*user.integrity())


def test_a_client_of_coturns_reading_is_answered_in_kind() -> None:
    client = token_client(token_world())
    client.mac_key = client.mac_key[:16]
    assert code_of(client.allocate()) is None
    client.shows = False
    answer = client.request(Method.CREATE_PERMISSION, ((a.XOR_PEER_ADDRESS, PEER),))
    assert code_of(answer) is None
    assert answer.verify_integrity(*client.integrity())
    client.mac_key = client.mac_key[:15]
    assert code_of(client.request(Method.REFRESH)) == 401


def test_a_nonce_with_other_offers_is_stale_where_they_were_for_another_realm() -> None:
    """A man in the middle could have the client sign with MD5, as a weaker realm would have it."""
    world = World()
    strong = world.realm.credentials
    key = long_term_key("bob", REALM, "builder", PasswordAlgorithm.MD5).hex()
    world.realm.credentials = World(users={"bob": f"md5:{key}"}).realm.credentials
    client = world.client()
    weak = client.challenge().get(a.PASSWORD_ALGORITHMS)
    assert weak == (MD5_ENTRY,)
    world.realm.credentials = strong
    answer = allocate_with(
        client,
        [*client.credentials(), (a.PASSWORD_ALGORITHMS, weak), (a.PASSWORD_ALGORITHM, MD5_ENTRY)],
    )
    assert code_of(answer) == 438
    assert answer.get(a.PASSWORD_ALGORITHMS) == BOTH_ALGORITHMS
    client.nonce = answer.get(a.NONCE)
    assert code_of(client.allocate()) is None


def passed(
    client: Client, wall_now: float | None = None, host: str = "", shared: bytes = b""
) -> Client:
    """The client, with a nonce that another server has given it."""
    credential = Credential(client.user, client.user.partition(":")[2] or client.user, {})
    client.nonce = mint_passed_nonce(
        replace(credential, shared=shared),
        client.integrity(),
        host or client.leg.client.host,
        client.world.wall if wall_now is None else wall_now,
    )
    return client


def test_a_nonce_of_a_server_that_redirects_is_good_for_one_allocate() -> None:
    for sha256 in (False, True):
        world = World()
        client = passed(world.client())
        client.sha256 = sha256
        passed(client).allocated()
        answer = client.refresh()
        assert code_of(answer) == 438
        client.nonce = answer.get(a.NONCE)
        assert code_of(client.refresh()) is None


def test_a_retransmission_with_it_gets_the_first_copys_answer() -> None:
    client = passed(World().client())
    data = client.signed(Method.ALLOCATE, (TRANSPORT,))
    (first,) = client.send(data)
    assert client.send(data) == [first]
    assert code_of(decode_untrusted(first)) is None


def test_who_was_given_his_password_cannot_make_one() -> None:
    """He could allocate in the name of addresses that he forges, and fill up what they may have."""
    world = World(secrets=[SECRET])
    assert code_of(passed(world.rest_client()).allocate()) == 438
    assert code_of(passed(world.rest_client(), shared=SECRET.encode()).allocate()) is None


def test_with_a_token_it_is_made_with_the_tokens_key() -> None:
    first, second = token_world(), token_world()
    first.state.draining = True
    first.state.redirection.alternates = (Alternate(TransportAddress("203.0.113.8", 0)),)
    sent, arrived = token_client(first), token_client(second)
    answer = sent.allocate()
    assert code_of(answer) == 300
    arrived.nonce = answer.get(a.NONCE)
    assert code_of(arrived.allocate()) is None


def test_it_is_good_for_nothing_else() -> None:
    world = World()
    client = world.client()
    client.allocated()
    passed(client)
    for method in (Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION):
        assert code_of(client.request(method, ((a.REQUESTED_TRANSPORT, 17),))) == 438
    for method in (Method.REFRESH, Method.CHANNEL_BIND):
        other = passed(world.client(port=2))
        assert code_of(other.request(method)) == 438


def test_it_has_a_date_and_a_host_and_does_not_stand_in_for_the_password() -> None:
    world = World()
    assert code_of(passed(world.client(), world.wall - 300).allocate()) == 438
    elsewhere = world.client(port=2)
    assert code_of(passed(elsewhere, host="203.0.113.77").allocate()) == 438
    stranger = world.client(port=3)
    stranger.password = "wrong"
    assert code_of(passed(stranger).allocate()) == 401
