"""One example of each list item, as OpenAPI shows them."""

from typing import Any

SITE = {"code": "hq", "name": "1号院办公楼", "timezone": "Asia/Shanghai"}

GATEWAY: dict[str, Any] = {
    "id": "gw-4f1d2c9a7b30",
    "site": "hq",
    "name": "配电室网关",
    "state": "active",
    "online": True,
    "enrolled_at": "2025-11-01T02:10:00.000Z",
    "revoked_at": None,
    "last_seen_at": "2025-11-03T00:00:58.120Z",
    "clock_skew_ms": -12,
    "suite": "standard",
}

RETURN: dict[str, Any] = {
    "code": "HWQE-DP24-COAR",
    "gateway_id": "gw-4f1d2c9a7b30",
    "site": "hq",
    "name": "配电室网关",
    "state": "waiting",
    "asked_at": "2026-11-03T00:00:58.120Z",
    "last_asked_at": "2026-11-03T00:02:58.120Z",
    "last_seen_at": "2025-08-03T00:00:58.120Z",
}

DEVICE: dict[str, Any] = {
    "site": "hq",
    "id": 1,
    "gateway_id": "gw-4f1d2c9a7b30",
    "device_id": "meter-01",
    "name": "1号楼总表",
    "profile": "eastron-sdm630",
    "profile_version": "1",
    "period_s": 60.0,
    "unauthenticated": False,
}

POINT: dict[str, Any] = {
    "site": "hq",
    "id": 12,
    "device": 1,
    "name": "energy_import_kwh",
    "unit": "kWh",
    "kind": "counter",
    "item_code": "01000",
    "decimals": 2,
    "modulus": 1000000.0,
    "max_rate_per_h": 400.0,
}

READING: dict[str, Any] = {
    "measured_at": "2025-11-03T00:00:00.040Z",
    "received_at": "2025-11-03T00:00:00.085Z",
    "value": 48213.25,
    "quality": "good",
    "reason": None,
    "provenance": {
        "gateway_id": "gw-4f1d2c9a7b30",
        "epoch": "8d1c6f0a52e44f0fa0f0a3d6c1b2e9f7",
        "seq": 981,
        "envelope": 16,
    },
}

LATEST: dict[str, Any] = {
    "site": "hq",
    "point": 12,
    "device": 1,
    "name": "energy_import_kwh",
    "unit": "kWh",
    "measured_at": "2025-11-03T00:00:00.040Z",
    "received_at": "2025-11-03T00:00:00.085Z",
    "value": 48213.25,
    "quality": "good",
    "reason": None,
}

EVENT: dict[str, Any] = {
    "site": "hq",
    "gateway_id": "gw-4f1d2c9a7b30",
    "device_id": "@gateway",
    "kind": "clock.jumped",
    "data": {"by_ms": 5200},
    "measured_at": "2025-11-03T00:00:00.000Z",
    "received_at": "2025-11-03T00:00:00.000Z",
    "epoch": "8d1c6f0a52e44f0fa0f0a3d6c1b2e9f7",
    "seq": 977,
}

CONSUMPTION: dict[str, Any] = {
    "site": "hq",
    "point": 12,
    "hour": "2025-11-03T00:00:00.000Z",
    "value": 41.75,
    "unit": "kWh",
    "coverage": 1.0,
    "state": "measured",
    "computed_at": "2025-11-03T01:00:05.000Z",
}

ALERT: dict[str, Any] = {
    "site": "hq",
    "id": 7,
    "condition": "excess:point:12",
    "detector": "excess",
    "state": "firing",
    "severity": "warning",
    "data": {"title": {"zh": "用电异常偏高", "en": "Unusually high use"}},
    "opened_at": "2025-11-03T00:00:00.000Z",
    "acknowledged_by": None,
    "acknowledged_at": None,
    "resolved_by": None,
    "resolved_at": None,
}

STREAM_ALERT: dict[str, Any] = {
    "site": "hq",
    "alert": 7,
    "state": "firing",
    "by": "insight",
    "at": "2025-11-03T00:05:00.000Z",
    "condition": "excess:point:12",
    "detector": "excess",
    "severity": "warning",
    "data": {"title": {"zh": "用电异常偏高", "en": "Unusually high use"}},
}

FINDING: dict[str, Any] = {
    "site": "hq",
    "id": 3,
    "detector": "excess",
    "subject": "point:12",
    "start_at": "2025-11-02T18:00:00.000Z",
    "end_at": "2025-11-02T19:00:00.000Z",
    "score": 6.2,
    "data": {"expected": 8.1, "seen": 41.75, "unit": "kWh"},
    "found_at": "2025-11-02T19:05:00.000Z",
}

WISH: dict[str, Any] = {"action": "open_once", "arguments": {"door": 1}, "expires_in_s": 30}

COMMAND: dict[str, Any] = {
    "site": "hq",
    "id": "open-4711",
    "gateway_id": "gw-4f1d2c9a7b30",
    "device": 9,
    "device_id": "door-01",
    "action": "open_once",
    "arguments": {"door": 1},
    "origin": "collector",
    "issued_by": "front desk",
    "issued_at": "2025-11-03T00:00:00.000Z",
    "expires_at": "2025-11-03T00:00:30.000Z",
    "state": "done",
    "result": {"door": 1},
    "code": None,
    "detail": None,
}

COMMAND_RECORD: dict[str, Any] = COMMAND | {
    "history": [
        {"state": "waiting", "by": "front desk", "at": "2025-11-03T00:00:00.000Z", "detail": ""},
        {"state": "sent", "by": "gw-4f1d2c9a7b30", "at": "2025-11-03T00:00:00.120Z", "detail": ""},
        {"state": "done", "by": "gw-4f1d2c9a7b30", "at": "2025-11-03T00:00:01.420Z", "detail": ""},
    ]
}

PUSH_WISH: dict[str, Any] = {
    "files": {"gateway.yaml": "buses: [{id: rack, modbus_tcp: {host: 192.168.1.20}}]\ndevices: []\n"},
    "why": "the converter has another address",
}

PUSH: dict[str, Any] = {
    "site": "hq",
    "id": "converter-2",
    "gateway_id": "gw-4f1d2c9a7b30",
    "files": ["gateway.yaml"],
    "base": "9a0f2c4b6d8e1a3c5f7092b4d6e8fa1c3e5072946b8dafc1e3052749b6d8fa1c",
    "why": "the converter has another address",
    "issued_by": "platform",
    "issued_at": "2025-11-03T00:00:00.000Z",
    "expires_at": "2025-11-04T00:00:00.000Z",
    "confirm_within_s": 120.0,
    "state": "applied",
    "code": None,
    "detail": None,
    "problems": None,
}

PUSH_RECORD: dict[str, Any] = PUSH | {
    "history": [
        {"state": "waiting", "by": "platform", "at": "2025-11-03T00:00:00.000Z", "detail": ""},
        {"state": "sent", "by": "gw-4f1d2c9a7b30", "at": "2025-11-03T00:00:00.150Z", "detail": ""},
        {"state": "tried", "by": "gw-4f1d2c9a7b30", "at": "2025-11-03T00:00:00.420Z", "detail": ""},
        {"state": "applied", "by": "gw-4f1d2c9a7b30", "at": "2025-11-03T00:00:01.420Z", "detail": ""},
    ]
}

ACTIVE: dict[str, Any] = {
    "version": 4,
    "digest": "1c3e5072946b8dafc1e3052749b6d8fa1c9a0f2c4b6d8e1a3c5f7092b4d6e8fa",
    "origin": "collector",
    "by": "platform",
    "why": "the converter has another address",
    "push_id": "converter-2",
    "active_at": "2025-11-03T00:00:00.400Z",
}

ACTIVE_RECORD: dict[str, Any] = ACTIVE | {"gateway_id": "gw-4f1d2c9a7b30", "files": PUSH_WISH["files"]}

QUARANTINE: dict[str, Any] = {
    "site": "hq",
    "gateway_id": "gw-4f1d2c9a7b30",
    "epoch": "8d1c6f0a52e44f0fa0f0a3d6c1b2e9f7",
    "seq": 412,
    "reason": "future",
    "item": {"device_id": "meter-01", "point": "power_w", "value": 1250.0},
    "quarantined_at": "2025-11-03T00:00:01.000Z",
}


def page(item: dict[str, Any]) -> dict[str, Any]:
    return {"items": [item], "next_cursor": None}
