"""Takes signed commands: what is not for here and now, or not allowed here, is refused and told of."""

import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from drivers.contract import Sink
from edge_agent.control.executor import Executor
from edge_agent.control.orders import Order
from edge_agent.identity.folder import Identity
from models.actions import ACTIONS, ArgumentsWrong, Group, checked_arguments
from models.command import Command, verify_command
from models.configuration import is_configuration
from models.reading import GATEWAY, Event
from models.sealing import CannotUnseal, unseal_text
from models.statement import StatementInvalid
from models.times import Clock

_log = logging.getLogger(__name__)


class Inbox:
    """For one identity. What the collector may have done is `allowed`, at the moment."""

    def __init__(
        self,
        identity: Identity,
        allowed: Callable[[], Collection[Group]],
        executor: Executor,
        sink: Sink,
        clock: Clock,
        configurations: Callable[[bytes], Awaitable[str | None]],
    ) -> None:
        """`configurations` takes those that come beside commands, as `take` does."""
        self._configurations = configurations
        self._identity, self._allowed, self._executor = identity, allowed, executor
        self._sink, self._clock = sink, clock
        self._said: set[str] = set()

    async def take(self, signed: bytes) -> str | None:
        """The id of a command that the collector has certainly given to us; None for anything else.

        It is under way then, or refused, or was known. The same goes for a configuration.
        """
        if is_configuration(signed):
            return await self._configurations(signed)
        try:
            command = verify_command(
                signed,
                gateway_id=self._identity.gateway_id,
                public_key=self._identity.collector.command_key,
                now_ms=self._clock.now_ms(),
            )
        except StatementInvalid as err:
            if err.statement is None:
                await self._tell(err)
                return None
            late: Command = err.statement
            await self._executor.refuse(_order(late, late.arguments), err.code, err.detail)
            return late.id
        await self._pass_on(command)
        return command.id

    async def _pass_on(self, command: Command) -> None:
        as_given = _order(command, command.arguments)
        action = ACTIONS.get(command.action)
        if action is None:
            detail = f"this gateway knows no action {command.action[:60]!r}; update edge-agent"
            await self._executor.refuse(as_given, "unknown-action", detail)
        elif action.group not in self._allowed():
            detail = f"gateway.yaml does not allow it: commands.allow lacks {action.group}"
            await self._executor.refuse(as_given, "not-allowed", detail)
        else:
            try:
                arguments = checked_arguments(command.action, self._unsealed(command))
            except (ArgumentsWrong, CannotUnseal) as err:
                await self._executor.refuse(as_given, "arguments", str(err))
            else:
                await self._executor.submit(_order(command, arguments))

    def _unsealed(self, command: Command) -> dict[str, Any]:
        """The arguments in clear. A secret that travelled in clear is refused: whoever sent it must learn."""
        secret = ACTIONS[command.action].secret
        return {
            name: unseal_text(
                str(value),
                private_key=self._identity.seal_key,
                gateway_id=command.gateway_id,
                command_id=command.id,
            )
            if name in secret
            else value
            for name, value in command.arguments.items()
        }

    async def _tell(self, err: StatementInvalid) -> None:
        """Once for each reason: whoever sends such a thing might send it a thousand times."""
        if err.code in self._said:
            return
        self._said.add(err.code)
        _log.error("a command was not accepted: %s", err)
        now_ms = self._clock.now_ms()
        facts = {"code": err.code, "detail": err.detail}
        event = Event(
            device_id=GATEWAY, kind="command.rejected", data=facts, measured_ms=now_ms, received_ms=now_ms
        )
        await self._sink.put([event])


def _order(command: Command, arguments: dict[str, Any]) -> Order:
    return Order(
        id=command.id,
        device_id=command.device_id,
        action=command.action,
        arguments=arguments,
        by=command.issued_by,
        origin="collector",
        expires_ms=command.expires_ms,
    )
