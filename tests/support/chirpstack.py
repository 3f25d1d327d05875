"""Messages of a ChirpStack network server, written by hand from its documentation."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

from tests.support.clocks import START_MS

EUI = "0101010101010101"
APPLICATION = "17c82e96-be03-4f38-aef3-f83d48582d97"
ADDRESS = "00189440"


def rfc3339(ms: int) -> str:
    """With nanoseconds, as ChirpStack writes it."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "123+00:00"


def topic(event: str, eui: str = EUI) -> str:
    return f"application/{APPLICATION}/device/{eui}/event/{event}"


def message(eui: str = EUI, *, id_: str | None = None, at_ms: int | None = START_MS, **body: Any) -> bytes:
    """Any event: what every one of them has, and `body`."""
    whole: dict[str, Any] = {"deviceInfo": {"tenantId": "52f14cd4", "deviceName": "bay", "devEui": eui}}
    if id_ is not None:
        whole["deduplicationId"] = id_
    if at_ms is not None:
        whole["time"] = rfc3339(at_ms)
    return json.dumps(whole | body).encode()


def an_uplink(
    count: int,
    payload: str = "01",
    *,
    port: int = 1,
    eui: str = EUI,
    address: str = ADDRESS,
    at_ms: int | None = START_MS,
    id_: str | None = None,
) -> bytes:
    """`payload` in hex. A counter of 0 is left out, as the server leaves it out."""
    counter = {"fCnt": count} if count else {}
    return message(
        eui,
        id_=id_ or f"{eui}-{address}-{count}",
        at_ms=at_ms,
        devAddr=address,
        fPort=port,
        data=base64.b64encode(bytes.fromhex(payload)).decode(),
        rxInfo=[{"gatewayId": "0016c001f153a14c", "rssi": -97, "snr": 7.5}, {"rssi": -36, "snr": 10.5}],
        **counter,
    )


def a_join(address: str, *, at_ms: int | None = START_MS, id_: str = "join") -> bytes:
    return message(id_=f"{id_}-{address}", at_ms=at_ms, devAddr=address)
