"""What a ChirpStack v4 network server publishes of one device, written from its protocol files.

JSON of Protocol Buffers: names in camel case, bytes as base64, and nothing that is 0, false or empty.
"""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from simulators.noise import chance, key_of

TENANT: Final = "52f14cd4-c6f1-4fbd-8f87-4025e1d49242"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Publication(NamedTuple):
    """One message."""

    topic: str
    body: bytes
    signal_dbm: float | None = None  # of an uplink, where it was heard best


class NetworkServer:
    """The side of one device, which counts its uplinks in sessions."""

    def __init__(self, device: str, dev_eui: str, application: str, seed: int) -> None:
        self._device, self._eui, self._application = device, dev_eui, application
        self._key = key_of(seed, "network", device)
        self._messages = self._joins = 0
        self.count = -1  # of the last uplink in this session
        self.address = self._new_address()

    def join(self, at_ms: int) -> Publication:
        """A new session: another address, and the counter from 0."""
        self._joins += 1
        self.address, self.count = self._new_address(), -1
        return self._event("join", at_ms, {"devAddr": self.address})

    def reset(self, at_ms: int) -> Publication:
        """A device without joins begins again at 0, and the server has noticed."""
        self.count = -1
        log = {
            "level": "WARNING",
            "code": "UPLINK_F_CNT_RESET",
            "description": "Frame-counter reset or rollover detected",
            "context": {"deduplication_id": self._id()},
        }
        return self._event("log", at_ms, log, has_id=False)

    def uplink(self, at_ms: int, port: int, payload: bytes, *, time_ms: int | None = None) -> Publication:
        """`time_ms`: what its clock shows, when that is not right."""
        self.count += 1
        roll = chance(self._key, self._messages)
        body: dict[str, Any] = {
            "devAddr": self.address,
            "adr": True,
            "dr": 5,
            "fCnt": self.count,
            "fPort": port,
            "data": base64.b64encode(payload).decode(),
            "rxInfo": [
                {"gatewayId": "0016c001f153a14c", "rssi": -120 + int(60 * roll), "snr": round(10 * roll, 1)},
                {"gatewayId": "0016c001f153a14d", "rssi": -121, "snr": -11.5},
            ],
            "txInfo": {"frequency": 470_300_000, "modulation": {"lora": {"bandwidth": 125_000}}},
        }
        heard = self._event("up", at_ms if time_ms is None else time_ms, body)
        return heard._replace(signal_dbm=float(body["rxInfo"][0]["rssi"]))

    def status(self, at_ms: int, battery_pct: float, margin_db: int = 10) -> Publication:
        return self._event("status", at_ms, {"margin": margin_db, "batteryLevel": battery_pct})

    def _event(self, kind: str, at_ms: int, body: dict[str, Any], *, has_id: bool = True) -> Publication:
        told = (_EPOCH + timedelta(milliseconds=at_ms)).isoformat(timespec="milliseconds")
        message: dict[str, Any] = {"deduplicationId": self._id()} if has_id else {}
        message |= {"time": told.replace("+00:00", "123456+00:00"), "deviceInfo": self._info(), **body}
        self._messages += 1
        said = {key: value for key, value in message.items() if value not in (0, "", [], {}, False)}
        topic = f"application/{self._application}/device/{self._eui}/event/{kind}"
        return Publication(topic, json.dumps(said).encode())

    def _info(self) -> dict[str, Any]:
        return {
            "tenantId": TENANT,
            "tenantName": "ChirpStack",
            "applicationId": self._application,
            "applicationName": "car park",
            "deviceProfileName": "parking",
            "deviceName": self._device,
            "devEui": self._eui,
            "tags": {},
        }

    def _id(self) -> str:
        high, low = key_of(self._key, "id", self._messages, 1), key_of(self._key, "id", self._messages, 2)
        return str(UUID(int=high << 64 | low))

    def _new_address(self) -> str:
        return f"{key_of(self._key, 'address', self._joins) & 0x01FFFFFF:08x}"
