"""A Modbus TCP endpoint: one port, the meters behind it, and what goes wrong there."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from models.errors import NeedsAHuman
from models.times import Clock
from simulators.faults import OUTAGES, Fault, FaultSet
from simulators.ledger import LedgerWriter
from simulators.modbus import misbehave
from simulators.modbus.answering import Answering, Reply
from simulators.modbus.frames import (
    DEVICE_BUSY,
    NO_TARGET,
    NotModbus,
    Request,
    exception,
    frame,
    take_requests,
)
from simulators.modbus.meter import ModbusMeter
from simulators.modbus.outages import Outages
from simulators.noise import chance, key_of

_CLOSE_LIMIT_S = 1.0  # for a peer that does not take what was sent to it
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s

Sleep = Callable[[float], Awaitable[None]]


class CannotListen(NeedsAHuman):
    """The port is taken, or the address is not this machine's."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {why}; choose another port, or 0 for a free one")
        self.host, self.port = host, port


class Endpoint:
    """Serves its meters from `listen` to `close`; `run` keeps its outages and belongs in a task."""

    def __init__(
        self,
        meters: Sequence[ModbusMeter],
        *,
        host: str,
        port: int,
        name: str,
        seed: int,
        origin_ms: int,
        clock: Clock,
        ledger: LedgerWriter | None,
        wire_sleep: Sleep,
    ) -> None:
        self.host, self.port, self.meters = host, port, tuple(meters)
        self.faults = FaultSet(name, seed=seed, origin_ms=origin_ms, now_ms=clock.now_ms)
        self.requests = 0  # that came, whatever became of them
        self._units = {meter.unit: meter for meter in meters}
        self._clock, self._ledger, self._wire_sleep = clock, ledger, wire_sleep
        self._key = key_of(seed, "endpoint", name)
        self._answering = Answering(ledger)
        self._connections: set[_Connection] = set()
        self._deserted = asyncio.Event()
        self._deserted.set()
        self._server: asyncio.Server | None = None
        self._stopped = False
        self._late: set[asyncio.Task[None]] = set()
        fault_sets = [self.faults, *(meter.faults for meter in meters)]
        self._outages = Outages(fault_sets, clock, go=self._go, come=self.listen)

    async def listen(self) -> None:
        """Take connections; with port 0 a free one is chosen, once. Raises CannotListen."""
        if self._server is not None:
            return
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port)
        except OSError as err:
            why = err.strerror or str(err)
            raise CannotListen(self.host, self.port, why.split("] ")[-1]) from err
        self.port = self._server.sockets[0].getsockname()[1]

    async def run(self) -> None:
        """Goes away and comes back as its faults say, until cancelled."""
        await self._outages.run()

    def drop_connections(self) -> None:
        """Break every open connection, as a cut of the power does."""
        for connection in tuple(self._connections):
            connection.reset()

    def stop(self) -> None:
        """Take nothing more; what was sent is still delivered."""
        self._stopped = True
        self._stop_listening()
        for connection in tuple(self._connections):
            connection.transport.close()
        for late in self._late:
            late.cancel()

    async def close(self) -> None:
        """When it returns, nothing of this endpoint is open or running."""
        self.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_LIMIT_S):
                await self._deserted.wait()
        for connection in tuple(self._connections):
            connection.transport.abort()
        await self._deserted.wait()
        await asyncio.gather(*self._late, return_exceptions=True)

    def joined(self, connection: "_Connection") -> int:
        if self._stopped:  # accepted just before that
            connection.transport.abort()
        self._connections.add(connection)
        self._deserted.clear()
        return self._ledger.connection() if self._ledger else len(self._connections)

    def left(self, connection: "_Connection") -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._deserted.set()
        if self._ledger:
            self._ledger.closed(self._clock.now_ms(), connection.number)

    def serve(self, connection: "_Connection", request: Request) -> None:
        """Answer one request, or do what a fault wants instead."""
        self.requests += 1
        at_ms = self._clock.now_ms()
        meter = self._units.get(request.unit)
        fault = self.faults.strike(at_ms)
        if fault is None and meter is not None:
            fault = meter.faults.strike(at_ms)
        if meter is None:  # what a gateway says when nobody answers it on the line
            reply = self._answering.refusal(request.pdu, NO_TARGET, at_ms)
        else:
            is_done = fault is None or fault.is_after_the_deed
            reply = self._answering.reply(meter, request.pdu, at_ms, is_done=is_done)
        whole = frame(request.transaction, request.unit, reply.pdu)
        if fault is None:
            self._send(connection, reply, whole)
        elif fault.kind == "late":
            self._send_late(connection, reply, whole, fault, meter)
        elif fault.kind == "duplicate":
            self._send(connection, reply, whole)
            connection.transport.write(whole)
        else:
            self._answering.spoil(reply, connection.number, fault.kind)
            self._misbehave(connection, request, whole, fault)

    def _send(self, connection: "_Connection", reply: Reply, whole: bytes) -> None:
        if not connection.transport.is_closing():
            connection.transport.write(whole)
            self._answering.show(reply, connection.number)

    def _send_late(
        self,
        connection: "_Connection",
        reply: Reply,
        whole: bytes,
        fault: Fault,
        meter: ModbusMeter | None,
    ) -> None:
        """After a pause; the connection serves other requests meanwhile. Within the timeout it counts."""
        delay_s = (fault.delay_ms or 0) / 1000
        on_time = meter is not None and delay_s < meter.reply_timeout_s
        if not on_time:
            self._answering.spoil(reply, connection.number, fault.kind)

        async def send() -> None:
            await self._wire_sleep(delay_s)
            if on_time:
                self._send(connection, reply, whole)
            elif not connection.transport.is_closing():
                connection.transport.write(whole)

        task = asyncio.get_running_loop().create_task(send(), name="late reply")
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def _misbehave(self, connection: "_Connection", request: Request, whole: bytes, fault: Fault) -> None:
        write = connection.transport.write
        match fault.kind:
            case "foreign_unit":
                write(misbehave.foreign_unit(whole))
            case "foreign_transaction":
                write(misbehave.foreign_transaction(whole))
            case "garbled":
                write(misbehave.garbled(whole, chance(self._key, self.requests)))
            case "truncated":
                write(misbehave.truncated(whole))
            case "echo":
                write(request.frame)
            case "exception" | "busy":
                code = fault.code or DEVICE_BUSY
                write(frame(request.transaction, request.unit, exception(request.function, code)))
            case "reset":
                write(misbehave.truncated(whole))
                connection.reset()
            case _ if fault.kind in OUTAGES:
                self._outages.strike(fault)
            case _:
                pass  # silence, lost

    def _go(self, *, breaks: bool) -> None:
        self._stop_listening()
        if breaks:
            self.drop_connections()

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


class _Connection(asyncio.Protocol):
    """One client."""

    transport: asyncio.Transport

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._stream = bytearray()
        self.number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.number = self._endpoint.joined(self)

    def data_received(self, data: bytes) -> None:
        self._stream += data
        try:
            requests = take_requests(self._stream)
        except NotModbus:
            self.transport.close()
            return
        for request in requests:
            if self.transport.is_closing():
                return
            self._endpoint.serve(self, request)

    def pause_writing(self) -> None:
        """The client does not read what it asked for: let it ask no more, so that nothing piles up."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._endpoint.left(self)

    def reset(self) -> None:
        """Break the connection so that the client sees a reset and no orderly end."""
        if not self.transport.is_closing():
            peer = self.transport.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()
