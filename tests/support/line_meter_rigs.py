"""Rigs of the driver contract for meters on lines: on a serial port, and behind a serial server."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from drivers.cjt188.driver import make_driver as make_cjt188
from drivers.contract import TracedDriver
from drivers.dlt645.driver import make_driver as make_dlt645
from drivers.line import Line, SerialLine, StreamLine
from models.profile.cjt188 import Cjt188Point, Cjt188Profile, Cjt188Section, Read
from models.profile.dlt645 import Dlt645Point, Dlt645Profile, Dlt645Section
from simulators.line.pty import PtyPort
from simulators.line.tcp import TcpPort
from tests.support.clocks import VirtualClock
from tests.support.scripted_line import ScriptedLine

ALIKE: dict[str, Any] = {"unit": "V", "kind": "gauge", "decimals": 0}
SWITCH: dict[str, Any] = {"unit": "", "kind": "state", "decimals": 0}
ABOUT: dict[str, Any] = {
    "profile": "test-meter",
    "version": "1",
    "title": "Test meter",
    "verified": True,
    "source": "a test",
}


def bcd(number: int, length: int) -> bytes:
    return bytes.fromhex(f"{number:0{2 * length}d}")[::-1]


class LineRig:
    """A driver before a scripted port. Each family says what an honest answer is, a refusal, and neither."""

    driver: TracedDriver

    def __init__(self, port: PtyPort | TcpPort, length_at: int, overhead: int, time: VirtualClock) -> None:
        self.port, self.time = port, time
        self.scripted = ScriptedLine(length_at, overhead, port)
        self.number = 0
        self.recover()

    def honest(self, request: bytes) -> bytes:
        raise NotImplementedError

    def refusal(self, request: bytes) -> bytes:
        raise NotImplementedError

    def foreign(self, request: bytes) -> bytes:
        raise NotImplementedError

    def show(self, number: int) -> None:
        self.number = number

    def fall_silent(self) -> None:
        self.scripted.script = lambda request: []

    def refuse(self) -> None:
        self.scripted.script = lambda request: [self.refusal(request)]

    def babble(self) -> None:
        self.scripted.script = lambda request: [self.foreign(request), b"\xff" * 9]

    def recover(self) -> None:
        def in_pieces(request: bytes) -> Iterable[bytes]:
            reply = self.honest(request)
            return [b"\xfe\xfe", reply[:5], reply[5:]]

        self.scripted.script = in_pieces

    async def disappear(self) -> None:
        await self.port.close()
        for _ in range(3):
            await asyncio.sleep(0)

    async def come_back(self) -> None:
        await self.port.open()
        await self.time.advance(60)


class Dlt645Rig(LineRig):
    def __init__(self, port: PtyPort | TcpPort, line: Line, time: VirtualClock) -> None:
        super().__init__(port, 9, 12, time)
        points = (
            Dlt645Point(name="second", di=0x02010200, length=2, min=0, max=1000, **ALIKE),
            Dlt645Point(name="first", di=0x02010100, length=2, **ALIKE),
            Dlt645Point(name="far_away", di=0x00010000, length=4, **ALIKE),
            Dlt645Point(name="switch", di=0x04000503, length=2, type="bit", bit=4, **SWITCH),
        )
        section = Dlt645Section(edition="2007", reply_timeout_s=0.2)
        profile = Dlt645Profile(family="dlt645", dlt645=section, points=points, **ABOUT)
        self.driver = make_dlt645(
            device_id="d", profile=profile, address="000000000161", line=line, parameters={}, clock=time.clock
        )

    def honest(self, request: bytes) -> bytes:
        di = bytes((byte - 0x33) % 256 for byte in request[10:14])
        data = bytes(2) if di[3] == 4 else bcd(self.number, 4 if di[3] == 0 else 2)
        return self._frame(request, 0x91, di + data)

    def refusal(self, request: bytes) -> bytes:
        return self._frame(request, 0xD1, b"\x02")

    def foreign(self, request: bytes) -> bytes:
        return self._frame(request, 0x91, b"\0\0\0\0" + bcd(self.number, 4))

    def _frame(self, request: bytes, control: int, data: bytes) -> bytes:
        head = request[:8] + bytes((control, len(data))) + bytes((byte + 0x33) % 256 for byte in data)
        return head + bytes((sum(head) % 256, 0x16))


class Cjt188Rig(LineRig):
    def __init__(self, port: PtyPort | TcpPort, line: Line, time: VirtualClock) -> None:
        super().__init__(port, 10, 13, time)
        points = (
            Cjt188Point(name="second", at=2, length=2, min=0, max=1000, **ALIKE),
            Cjt188Point(name="first", at=0, length=2, **ALIKE),
            Cjt188Point(name="far_away", di=0xD120, at=0, length=4, **ALIKE),
            Cjt188Point(name="switch", at=4, length=1, type="bits", bit=2, bits=1, **SWITCH),
        )
        reads = (Read(di=0x901F, length=5), Read(di=0xD120, length=4))
        section = Cjt188Section(edition="2004", meter_type=0x10, reads=reads, reply_timeout_s=0.2)
        profile = Cjt188Profile(family="cjt188", cjt188=section, points=points, **ABOUT)
        self.driver = make_cjt188(
            device_id="d",
            profile=profile,
            address="78330011223344",
            line=line,
            parameters={},
            clock=time.clock,
        )

    def honest(self, request: bytes) -> bytes:
        shown = bcd(self.number, 2)
        is_first = request[11:13] == b"\x1f\x90"
        return self._frame(
            request, 0x81, request[11:14] + (shown * 2 + b"\0" if is_first else shown + b"\0\0")
        )

    def refusal(self, request: bytes) -> bytes:
        return self._frame(request, 0xC1, request[13:14] + b"\x02\x00")

    def foreign(self, request: bytes) -> bytes:
        other = bytes((request[13] ^ 1,))
        return self._frame(request, 0x81, request[11:13] + other + bytes(5))

    def _frame(self, request: bytes, control: int, data: bytes) -> bytes:
        head = request[:9] + bytes((control, len(data))) + data
        return head + bytes((sum(head) % 256, 0x16))


Built = Callable[[], AbstractAsyncContextManager[LineRig]]


Rigged = Callable[[PtyPort | TcpPort, Line, VirtualClock], LineRig]


def on_a_serial_port(rig: Rigged) -> Built:
    @asynccontextmanager
    async def built() -> AsyncIterator[LineRig]:
        with tempfile.TemporaryDirectory() as folder:
            time = VirtualClock()
            port = PtyPort(link=Path(folder) / "meter")
            await port.open()
            line = SerialLine(str(Path(folder) / "meter"), baud=115_200, parity="even", clock=time.clock)
            yield rig(port, line, time)
            await line.shut()
            await port.close()

    return built


def behind_a_serial_server(rig: Rigged) -> Built:
    @asynccontextmanager
    async def built() -> AsyncIterator[LineRig]:
        time = VirtualClock()
        port = TcpPort()
        await port.open()
        line = StreamLine("127.0.0.1", port.port, clock=time.clock)
        yield rig(port, line, time)
        await line.shut()
        await port.close()

    return built
