"""Figures for Prometheus: what was accepted and refused, what waits, and who is silent."""

from collections.abc import Iterator, Sequence
from typing import Final

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client import generate_latest as render
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Row, func, select
from starlette.responses import Response

from collector.api.access import Reads
from collector.api.answers import answers
from collector.api.problems import refuse
from collector.store.engine import Store
from collector.store.schema import alert, dirty_hour, envelope, forward, gateway, outbox, refusal, site
from models.protocol import Receipt

router = APIRouter(tags=["health"])

_EXAMPLE: Final = """# HELP gatehouse_batches_accepted_total Batches stored since the start.
# TYPE gatehouse_batches_accepted_total counter
gatehouse_batches_accepted_total 1204.0
"""


class Metrics:
    """The figures of one app, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._batches = Counter(
            "gatehouse_batches_accepted", "Batches stored since the start.", registry=self.registry
        )
        self._items = Counter(
            "gatehouse_items_accepted", "Readings and events stored since the start.", registry=self.registry
        )
        self._repeats = Counter(
            "gatehouse_batches_repeated",
            "Batches that had been stored before, since the start.",
            registry=self.registry,
        )
        self._refused = _Refused()
        self.registry.register(self._refused)
        self._waiting = Gauge(
            "gatehouse_outbox_messages", "Messages to people.", ["state"], registry=self.registry
        )
        self._dirty = Gauge(
            "gatehouse_hours_to_compute",
            "Hours whose consumption waits to be computed.",
            registry=self.registry,
        )
        self._alerts = Gauge(
            "gatehouse_alerts_open", "Alerts that are not resolved.", ["severity"], registry=self.registry
        )
        self._forward = Gauge(
            "gatehouse_forward_envelopes",
            "Envelopes for a higher collector that are not there yet.",
            ["state"],
            registry=self.registry,
        )
        self._forward_age = Gauge(
            "gatehouse_forward_oldest_age_seconds",
            "Seconds since the oldest of them that waits came here; 0 when none does.",
            registry=self.registry,
        )
        self._silence = Gauge(
            "gatehouse_gateway_last_batch_age_seconds",
            "Seconds since the last accepted batch.",
            ["site", "gateway"],
            registry=self.registry,
        )

    def count(self, receipt: Receipt) -> None:
        """A batch that was stored before is not counted again."""
        if receipt.already:
            self._repeats.inc()
        else:
            self._batches.inc()
            self._items.inc(receipt.stored)

    async def render(self, store: Store, now_ms: int) -> bytes:
        refused = select(refusal.c.code, func.sum(refusal.c.count)).group_by(refusal.c.code)
        waiting = (
            select(outbox.c.state, func.count()).where(outbox.c.state != "sent").group_by(outbox.c.state)
        )
        dirty = select(func.count()).select_from(dirty_hour)
        open_alerts = (
            select(alert.c.severity, func.count())
            .where(alert.c.state.in_(("firing", "acknowledged")))
            .group_by(alert.c.severity)
        )
        waits = forward.c.sent_ms.is_(None) & forward.c.refused.is_(None)
        to_forward = select(
            select(func.count()).select_from(forward).where(waits).scalar_subquery(),
            select(func.count()).select_from(forward).where(forward.c.refused.is_not(None)).scalar_subquery(),
            select(func.min(envelope.c.received_ms))
            .join_from(
                forward,
                envelope,
                (envelope.c.site_id == forward.c.site_id)
                & (envelope.c.epoch_id == forward.c.epoch_id)
                & (envelope.c.number == forward.c.number),
            )
            .where(waits)
            .scalar_subquery(),
        )
        seen = (
            select(site.c.code, gateway.c.id, gateway.c.last_seen_ms)
            .join_from(gateway, site, gateway.c.site_id == site.c.id)
            .where(gateway.c.state == "active", gateway.c.last_seen_ms.is_not(None))
        )
        async with store.read() as connection:
            refusals = (await connection.execute(refused)).all()
            messages = (await connection.execute(waiting)).all()
            hours = (await connection.execute(dirty)).scalar_one()
            severities = (await connection.execute(open_alerts)).all()
            gateways = (await connection.execute(seen)).all()
            forwarding, set_aside, oldest_ms = (await connection.execute(to_forward)).one()
        self._refused.counts = {row[0]: row[1] for row in refusals}
        self._set_all(self._waiting, _counted(messages, "waiting", "dead"))
        self._dirty.set(hours)
        self._set_all(self._alerts, _counted(severities, "warning", "critical"))
        self._set_all(self._forward, {"waiting": forwarding, "refused": set_aside})
        self._forward_age.set(0 if oldest_ms is None else max(0, now_ms - oldest_ms) / 1000)
        self._silence.clear()  # a revoked gateway is silent by right
        for code, gateway_id, last_seen_ms in gateways:
            self._silence.labels(code, gateway_id).set(max(0, now_ms - last_seen_ms) / 1000)
        return render(self.registry)

    @staticmethod
    def _set_all(gauge: Gauge, values: dict[str, int]) -> None:
        for label, value in values.items():
            gauge.labels(label).set(value)


class _Refused(Collector):
    """A counter whose values are in the database, so that they outlive a restart."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(
            "gatehouse_requests_refused", "Requests of gateways refused, ever.", labels=["code"]
        )
        for code, count in self.counts.items():
            family.add_metric([code], count)
        yield family


def _counted(rows: Sequence[Row[str, int]], *always: str) -> dict[str, int]:
    """Counts by name; a name that did not occur counts 0 and does not vanish from the graph."""
    return dict.fromkeys(always, 0) | {row[0]: row[1] for row in rows}


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses=answers(_EXAMPLE, media_type="text/plain"),
)
async def metrics(request: Request, caller: Reads) -> Response:
    """For a token with the scope `read` and without a restriction to sites: the figures are of all."""
    if not caller.all_sites:
        raise refuse(
            403,
            "needs-all-sites",
            "The token may not do this",
            detail=f"The token {caller.name!r} is restricted to some sites; these figures are of all.",
            hint="Make one without --site: `collector api-token --name prometheus --scope read`.",
        )
    state = request.app.state
    figures = await state.metrics.render(state.store, state.clock.now_ms())
    return Response(figures, headers={"content-type": CONTENT_TYPE_LATEST})
