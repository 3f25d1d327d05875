"""The rig of the driver contract for a Modbus unit on a line."""

from drivers.line import Line
from drivers.modbus.driver import make_driver
from drivers.modbus.rtu_link import RtuLink
from simulators.line.pty import PtyPort
from simulators.line.tcp import TcpPort
from tests.support.clocks import VirtualClock
from tests.support.line_meter_rigs import LineRig
from tests.support.profiles import a_point, a_profile
from tests.support.rtu_bus import sealed


class ModbusLineRig(LineRig):
    def __init__(self, port: PtyPort | TcpPort, line: Line, time: VirtualClock) -> None:
        super().__init__(port, 4, 8, time)  # a request to read has 8 bytes; the fifth, of its count, is 0
        profile = a_profile(
            a_point("second", 11, min=0, max=1000),
            a_point("first", 10),
            a_point("far_away", 500, "uint32", table="input"),
            a_point("switch", 3, table="coil"),
            reply_timeout_s=0.2,
        )
        self.driver = make_driver(
            device_id="d", profile=profile, unit=1, link=RtuLink(line), parameters={}, clock=time.clock
        )

    def honest(self, request: bytes) -> bytes:
        function, count = request[1], request[5]
        number = self.number.to_bytes(2, "big")
        data = (
            b"\0" if function == 1 else number * count if function == 3 else (b"\0\0" + number)[-2 * count :]
        )
        return sealed(request[:2] + bytes((len(data),)) + data)

    def refusal(self, request: bytes) -> bytes:
        return sealed(bytes((request[0], request[1] | 0x80, 2)))

    def foreign(self, request: bytes) -> bytes:
        return sealed(b"\2" + self.honest(request)[1:-2])
