"""A command is what the collector gave, for this gateway, now; anything else is refused."""

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from models.actions import ACTIONS, HIDDEN, ArgumentsWrong, checked_arguments, shown_arguments
from models.command import (
    LONGEST_LIFE_MS,
    MAX_COMMAND_BYTES,
    Command,
    CommandKey,
    verify_command,
)
from models.sealing import CannotUnseal, is_usable, seal_text, unseal_text
from models.statement import MAX_AHEAD_MS, StatementInvalid

NOW_MS = 1_790_000_000_000
KEY = CommandKey.from_bytes(bytes(range(32)))
PASS: dict[str, Any] = {
    "pass": "visitor-7",
    "doors": [1, 2],
    "from_ms": NOW_MS,
    "to_ms": NOW_MS + 3_600_000,
    "card": "12345678",
}


def a_command(**changed: Any) -> Command:
    fields: dict[str, Any] = {
        "id": "open-1",
        "gateway_id": "gw-1",
        "device_id": "door-01",
        "action": "open_once",
        "arguments": {"door": 1},
        "issued_ms": NOW_MS,
        "expires_ms": NOW_MS + 60_000,
        "issued_by": "duty desk",
    }
    return Command(**fields | changed)


def verified(signed: bytes, *, gateway_id: str = "gw-1", now_ms: int = NOW_MS) -> Command:
    return verify_command(signed, gateway_id=gateway_id, public_key=KEY.public_bytes(), now_ms=now_ms)


def refusal(signed: bytes, **here: Any) -> str:
    with pytest.raises(StatementInvalid) as refused:
        verified(signed, **here)
    return refused.value.code


def test_a_command_arrives_as_it_was_given() -> None:
    command = a_command(arguments={"point": "setpoint_c", "value": 21.5}, issued_by="后勤值班")
    assert verified(KEY.sign(command)) == command


def test_the_same_command_is_the_same_bytes_whatever_the_order_of_its_arguments() -> None:
    one = KEY.sign(a_command(arguments={"point": "a", "value": 1.0}))
    assert KEY.sign(a_command(arguments={"value": 1.0, "point": "a"})) == one


def test_every_flipped_bit_is_refused() -> None:
    signed = KEY.sign(a_command())
    for place in range(len(signed) * 8):
        changed = bytearray(signed)
        changed[place // 8] ^= 1 << place % 8
        assert refusal(bytes(changed)) in {"malformed", "unknown-version", "bad-signature"}


@given(st.data())
def test_every_piece_cut_off_or_put_in_is_refused(data: st.DataObject) -> None:
    signed = KEY.sign(a_command())
    at = data.draw(st.integers(0, len(signed) - 1))
    assert refusal(signed[:at]) in {"malformed", "bad-signature", "unknown-version"}
    put_in = data.draw(st.binary(min_size=1, max_size=8))
    assert refusal(signed[:at] + put_in + signed[at:]) in {"malformed", "bad-signature", "unknown-version"}


@given(st.binary(max_size=400))
def test_bytes_of_no_command_are_refused(noise: bytes) -> None:
    refusal(noise)
    refusal(b"GHC\x01" + noise)


@dataclass(frozen=True)
class Wrong:
    """A signed command that is not for here and now."""

    code: str
    command: Command
    gateway_id: str = "gw-1"
    now_ms: int = NOW_MS


@pytest.mark.parametrize(
    "wrong",
    [
        Wrong("foreign-gateway", a_command(), gateway_id="gw-2"),
        Wrong("expired", a_command(), now_ms=NOW_MS + 60_000),
        Wrong("expired", a_command(), now_ms=NOW_MS + 10**9),
        Wrong("from-the-future", a_command(), now_ms=NOW_MS - MAX_AHEAD_MS - 1),
        Wrong("from-the-future", a_command(), now_ms=0),
        Wrong("malformed", a_command(expires_ms=NOW_MS + LONGEST_LIFE_MS + 1)),
        Wrong("malformed", a_command(expires_ms=NOW_MS)),
        Wrong("malformed", a_command(expires_ms=2**63 - 1)),
        Wrong("malformed", a_command(id="a/b")),
        Wrong("malformed", a_command(id="")),
        Wrong("malformed", a_command(id="a" * 65)),
        Wrong("malformed", a_command(arguments={"door": "x" * MAX_COMMAND_BYTES})),
    ],
    ids=lambda wrong: wrong.code,
)
def test_a_signed_command_that_is_not_for_here_and_now_is_refused(wrong: Wrong) -> None:
    signed = KEY.sign(wrong.command)
    assert refusal(signed, gateway_id=wrong.gateway_id, now_ms=wrong.now_ms) == wrong.code


def test_a_command_is_good_up_to_its_last_millisecond_and_by_a_clock_that_is_a_little_behind() -> None:
    signed = KEY.sign(a_command())
    for now_ms in (NOW_MS - MAX_AHEAD_MS, NOW_MS + 59_999):
        assert verified(signed, now_ms=now_ms) == a_command()


def test_a_command_of_another_collector_is_refused() -> None:
    assert refusal(CommandKey.generate().sign(a_command())) == "bad-signature"


def test_what_the_key_signs_elsewhere_is_no_command() -> None:
    """The signature is over a prefix of its own: nobody can have these bytes signed as something else."""
    signed = KEY.sign(a_command())
    raw = Ed25519PrivateKey.from_private_bytes(KEY.to_bytes())
    assert refusal(signed[:-64] + raw.sign(signed[:-64])) == "bad-signature"


def test_a_later_version_is_named_as_such() -> None:
    signed = bytearray(KEY.sign(a_command()))
    signed[3] = 2
    assert refusal(bytes(signed)) == "unknown-version"


def test_a_signed_body_of_another_shape_is_refused() -> None:
    raw = Ed25519PrivateKey.from_private_bytes(KEY.to_bytes())
    for body in (
        msgspec.msgpack.encode([1, 2]),
        msgspec.msgpack.encode([*msgspec.to_builtins(a_command()), "more"]),
        b"\x91" * 5000,
        msgspec.msgpack.encode(a_command(arguments={"b": 1, "a": 2}), order=None),
    ):
        signed = b"GHC\x01" + body
        assert refusal(signed + raw.sign(b"gatehouse command\x00" + signed)) == "malformed"


def test_no_repr_shows_arguments_or_keys() -> None:
    command = a_command(action="put_pass", arguments=PASS)
    assert "12345678" not in repr(command)
    assert bytes(range(32)).hex() not in repr(KEY)


# arguments


@pytest.mark.parametrize(
    ("action", "arguments", "where"),
    [
        ("explode", {}, "action"),
        ("write", {"point": "a"}, "arguments"),
        ("write", {"point": "a", "value": "1"}, "arguments.value"),
        ("write", {"point": "a", "value": True}, "arguments.value"),
        ("write", {"point": "a", "value": float("nan")}, "arguments.value"),
        ("write", {"point": "a", "value": float("inf")}, "arguments.value"),
        ("write", {"point": "", "value": 1}, "arguments.point"),
        ("open_once", {"door": 0}, "arguments.door"),
        ("open_once", {"door": 1, "dor": 1}, "arguments"),
        ("put_pass", PASS | {"to_ms": NOW_MS}, "arguments.to_ms"),
        ("put_pass", {k: v for k, v in PASS.items() if k != "card"}, "arguments.card"),
        ("put_pass", PASS | {"pin": "4711"}, "arguments.card"),
        ("put_pass", PASS | {"pin": "12 34", "card": None}, "arguments.pin"),
        ("put_pass", PASS | {"doors": []}, "arguments.doors"),
        ("put_pass", PASS | {"card": "12345678\n"}, "arguments.card"),
        ("put_pass", {k: v for k, v in PASS.items() if k != "card"} | {"pin": "4711\n"}, "arguments.pin"),
        ("take_pass", {"pass": "../x"}, "arguments.pass"),
        ("take_pass", {"pass": "visitor-1\n"}, "arguments.pass"),
    ],
)
def test_what_an_action_cannot_be_done_with_is_named_by_its_place(
    action: str, arguments: dict[str, Any], where: str
) -> None:
    with pytest.raises(ArgumentsWrong) as wrong:
        checked_arguments(action, arguments)
    assert wrong.value.where == where
    assert "12345678" not in str(wrong.value)


def test_defaults_are_filled_in() -> None:
    assert checked_arguments("open_once", {}) == {"door": 1}
    assert checked_arguments("write", {"point": "a", "value": 3}) == {"point": "a", "value": 3.0}


def test_only_a_door_that_lets_one_person_in_may_not_be_told_twice() -> None:
    assert [name for name, action in ACTIONS.items() if not action.is_idempotent] == ["open_once"]


def test_secret_arguments_are_shown_nowhere() -> None:
    shown = shown_arguments("put_pass", PASS | {"pin": "4711"})
    assert shown == PASS | {"card": HIDDEN, "pin": HIDDEN}
    assert shown_arguments("unknown", PASS) == {}
    assert shown_arguments("take_pass", {"pass": "a", "card": "12345678"}) == {"pass": "a"}


# secrets on their way


def test_a_sealed_argument_opens_at_its_gateway_and_in_its_command_alone() -> None:
    key = X25519PrivateKey.generate()
    sealed = seal_text(
        "12345678",
        public_key=key.public_key().public_bytes_raw(),
        gateway_id="gw-1",
        command_id="c-1",
    )
    assert "12345678" not in sealed
    assert unseal_text(sealed, private_key=key, gateway_id="gw-1", command_id="c-1") == "12345678"
    for wrong in (
        {"private_key": X25519PrivateKey.generate(), "gateway_id": "gw-1", "command_id": "c-1"},
        {"private_key": key, "gateway_id": "gw-2", "command_id": "c-1"},
        {"private_key": key, "gateway_id": "gw-1", "command_id": "c-2"},
    ):
        with pytest.raises(CannotUnseal):
            unseal_text(sealed, **wrong)  # type: ignore[arg-type]  # three keywords of two types


def test_bytes_that_are_no_key_are_told_from_a_key() -> None:
    assert is_usable(X25519PrivateKey.generate().public_key().public_bytes_raw())
    for wrong in (bytes(32), bytes([1]) + bytes(31), bytes(31), b""):
        assert not is_usable(wrong)


@given(st.text(max_size=200))
def test_a_text_that_was_never_sealed_does_not_open(text: str) -> None:
    key = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    for tried in (text, "sealed:" + text):
        with pytest.raises(CannotUnseal):
            unseal_text(tried, private_key=key, gateway_id="gw-1", command_id="c-1")
