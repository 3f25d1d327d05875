"""How a question and its answer travel over MQTT 5, which gateway and collector agree on.

The gateway publishes to its own topic; the answer comes to the response topic that the question names, with
the correlation data of the question. The body is the payload. All else are user properties, named as in
HTTP/2: `:method` and `:path`, `:status`, and headers in lower case.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

METHOD: Final = ":method"
PATH: Final = ":path"
STATUS: Final = ":status"

ALL_QUESTIONS: Final = "gatehouse/v1/+/ask"

CORRELATION_BYTES: Final = 16
"""Random: an answer cannot be to another question, whenever that was asked."""

_ASKED = re.compile(r"gatehouse/v1/([A-Za-z0-9-]{1,64})/ask", re.ASCII)
_LAST_LEVEL = re.compile(r"[0-9a-f]{1,64}", re.ASCII)


def question_topic(gateway_id: str) -> str:
    """The only topic that a gateway publishes to."""
    return f"gatehouse/v1/{gateway_id}/ask"


def answer_topic(gateway_id: str, connection: str) -> str:
    """Of one connection of a gateway, so that a later one never hears what an earlier one asked."""
    return f"gatehouse/v1/{gateway_id}/answer/{connection}"


def sender_of(topic: str) -> str | None:
    """The gateway whose topic for questions this is; only it may publish there."""
    found = _ASKED.fullmatch(topic)
    return found[1] if found else None


def may_answer_at(topic: str, gateway_id: str) -> bool:
    """Whether the response topic that a question names is of the gateway that asks, and of nobody else."""
    own = answer_topic(gateway_id, "")
    return topic.startswith(own) and _LAST_LEVEL.fullmatch(topic.removeprefix(own)) is not None


class Told(NamedTuple):
    """User properties in order: those of the protocol itself by name, and the headers."""

    pseudo: Mapping[str, str]
    headers: Mapping[str, str]


def told(properties: Iterable[tuple[str, str]]) -> Told:
    """The last of several of one name holds."""
    pairs = [(name.lower(), value) for name, value in properties]
    return Told(
        {name: value for name, value in pairs if name.startswith(":")},
        {name: value for name, value in pairs if not name.startswith(":")},
    )
