"""Puts the collector's web side together: gateways, API, pages, metrics and health in one application."""

import time
from collections.abc import Callable, Mapping
from typing import Final

from fastapi import Depends, FastAPI

from collector.api import (
    alerts,
    commands,
    configurations,
    consumption,
    health,
    inventory,
    metrics,
    readings,
    returns,
    stream,
)
from collector.api.access import reads, writes_alerts, writes_commands, writes_configurations, writes_gateways
from collector.api.answers import DescribedApi
from collector.api.live import LiveHub
from collector.api.metrics import Metrics
from collector.api.parameters import known_parameters_only
from collector.api.problems import UnexpectedErrors, install_problems
from collector.api.security_headers import SecurityHeaders
from collector.control.desk import CommandDesk
from collector.identity.enrolment import Enrolment
from collector.identity.next_key import NextKeys
from collector.identity.strangers import Strangers
from collector.insight.factors import Factors
from collector.intake.routes import router as gateway_routes
from collector.intake.service import Intake
from collector.store.engine import Store
from collector.web.pages import install_pages, problem_page
from models.protocol import Receipt
from models.times import Clock

VERSION: Final = "1"
_DESCRIPTION: Final = """
Everything that gateways brought in: where it came from, what it adds up to, and what is wrong.

* **Tokens.** `collector api-token` makes them; send `Authorization: Bearer ght_…`. A token has scopes
  (`read`, `alerts:write`, `commands:write`, `config:write`, `gateways:write`) and may be restricted to
  sites: of other sites it sees nothing.
* **Times** are ISO 8601 with zone or milliseconds since 1970; answers are in UTC.
* **Lists** come in pages: hand `next_cursor` back as `cursor` until it is null. Nothing that was there
  when you began is left out or repeated, whatever is stored meanwhile.
* **Commands** carry a key of your choice: sent twice with the same key, they are carried out once. Gateways
  carry out what their own configuration allows, and nothing after its time.
* **Configurations** are pushed likewise, where a technician has allowed it. A gateway checks each as a whole,
  and takes it back by itself unless this collector is reached with it.
* **Errors** are problem+json (RFC 9457): `type` is for programs, `hint` says what to do next.
"""


def create_app(
    store: Store,
    clock: Clock,
    *,
    live: LiveHub,
    desk: CommandDesk,
    intake: Intake | None = None,
    enrolment: Enrolment | None = None,
    next_keys: NextKeys | None = None,
    factors: Factors | None = None,
    jobs: Callable[[], Mapping[str, bool]] = dict,
    heartbeat_s: float = stream.HEARTBEAT_S,
    real_now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> FastAPI:
    """The application. Whoever calls this runs `live.run()`, and closes `live` and `desk` before it waits
    for the server to end.

    With `intake`, `enrolment` and `next_keys` gateways are served too. Without `factors` those that come with
    the collector hold. `jobs` says by name which of the jobs still run;
    `real_now_ms` is what tokens expire by, whatever `clock` shows.
    """
    app = DescribedApi(
        title="Gatehouse collector", version=VERSION, description=_DESCRIPTION, docs_url=None, redoc_url=None
    )
    state = app.state
    state.store, state.clock, state.live, state.desk, state.jobs = store, clock, live, desk, jobs
    state.configurations = desk.configurations
    state.factors = factors or Factors()
    state.metrics, state.heartbeat_s, state.real_now_ms = Metrics(), heartbeat_s, real_now_ms

    def on_receipt(receipt: Receipt) -> None:
        state.metrics.count(receipt)
        live.wake()

    install_problems(app, problem_page)
    if intake is not None and enrolment is not None and next_keys is not None:
        state.intake, state.enrolment, state.on_receipt = intake, enrolment, on_receipt
        state.next_keys, state.strangers = next_keys, Strangers(clock.monotonic_s)
        app.include_router(gateway_routes)
    known = Depends(known_parameters_only)
    for module in (inventory, returns, readings, consumption, alerts, commands, configurations, stream):
        app.include_router(module.router, dependencies=[Depends(reads), known])
    app.include_router(alerts.actions, dependencies=[Depends(writes_alerts), known])
    app.include_router(inventory.actions, dependencies=[Depends(writes_gateways), known])
    app.include_router(returns.actions, dependencies=[Depends(writes_gateways), known])
    app.include_router(commands.actions, dependencies=[Depends(writes_commands), known])
    app.include_router(configurations.actions, dependencies=[Depends(writes_configurations), known])
    app.include_router(metrics.router)
    app.include_router(health.router)
    install_pages(app)
    app.add_middleware(UnexpectedErrors, page=problem_page)
    app.add_middleware(SecurityHeaders)
    return app
