"""The figures that the gateway shows to Prometheus."""

from collections.abc import Callable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from edge_agent.buffer.contract import Batch, Counts
from edge_agent.buses import Bus
from models.reading import Quality, Reading, Reason

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """One registry for one agent, so that two in one process do not mix."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"gatehouse_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"gatehouse_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(f"gatehouse_{name}", text, labels, buckets=_SECONDS, registry=registry)

        readings = counter("readings", "Readings taken", "quality")
        self._by_quality = [readings.labels(quality.name.lower()) for quality in Quality]
        self._bad = counter("bad_readings", "Readings without a value", "bus", "reason")
        self._poll_seconds = histogram("poll_seconds", "From the first request of a poll to its end", "bus")
        self._rtt_seconds = histogram("bus_rtt_seconds", "From a request to its reply", "bus")
        self._of_bus: dict[str, tuple[Histogram, Histogram]] = {}
        self.missed_polls = counter("missed_polls", "Polls skipped because their time had passed", "bus")
        self.certificate_ends = gauge(
            "certificate_expires_timestamp_seconds", "When the certificate ends, since 1970", "collector"
        )
        self._devices = gauge("devices", "Configured devices", "bus", "state")
        self._held = gauge("held_items", "Items in memory because the disk refuses them")
        self._lost = gauge("lost_items", "Items lost because disk and memory were full")
        self._items = gauge("buffer_items", "Items ever appended, by where they are", "collector", "state")
        self._batches = gauge("buffer_batches", "Batches in the buffer", "collector", "state")
        self._bytes = gauge("buffer_bytes", "Bytes that the buffer uses")
        self._conserved = gauge(
            "buffer_conserved", "1 when produced = delivered + pending + quarantined + dropped", "collector"
        )
        self._lag = gauge(
            "buffer_oldest_pending_seconds", "Age of the oldest item that is not delivered", "collector"
        )
        self._delivered = counter("batches_delivered", "Batches with a receipt", "collector")
        self._sent_bytes = counter("sent_bytes", "Bytes of delivered envelopes", "collector")
        self._upload_seconds = histogram(
            "upload_seconds", "From sending an envelope to its receipt", "collector"
        )
        self._upload_failures = gauge("upload_failures", "Failed attempts to send", "collector", "kind")

    def polled(self, bus: str, seconds: float, readings: Sequence[Reading]) -> None:
        """Count the outcome of one poll."""
        poll_seconds, rtt_seconds = self._of_bus.get(bus) or self._add_bus(bus)
        poll_seconds.observe(seconds)
        qualities = [reading.quality for reading in readings]
        good = qualities.count(Quality.GOOD)
        if good:
            self._by_quality[Quality.GOOD].inc(good)
            first = readings[qualities.index(Quality.GOOD)]  # in the middle of its own request, and after it
            rtt_seconds.observe(2 * (first.received_ms - first.measured_ms) / 1000)
        if good == len(qualities):
            return
        for quality in (Quality.SUSPECT, Quality.BAD):
            self._by_quality[quality].inc(qualities.count(quality))
        for reading in readings:
            if reading.quality is Quality.BAD:
                self._bad.labels(bus, Reason(reading.reason).name.lower()).inc()

    def _add_bus(self, bus: str) -> tuple[Histogram, Histogram]:
        """To look labels up once and not at each poll."""
        self._of_bus[bus] = self._poll_seconds.labels(bus), self._rtt_seconds.labels(bus)
        return self._of_bus[bus]

    def outbox_is(
        self, collector: str, counts: Counts, *, now_ms: int, real_ms: Callable[[int], int]
    ) -> None:
        """Show the state of the buffer, as one collector has it."""
        for state in ("produced", "delivered", "pending", "quarantined", "dropped"):
            self._items.labels(collector, state).set(getattr(counts, state))
        self._batches.labels(collector, "pending").set(counts.batches_pending)
        self._batches.labels(collector, "kept").set(counts.batches_kept)
        self._bytes.set(counts.bytes_used)
        self._conserved.labels(collector).set(counts.conserved)
        oldest_ms = counts.oldest_pending_ms
        lag_s = 0 if oldest_ms is None else max(0, now_ms - real_ms(oldest_ms)) / 1000
        self._lag.labels(collector).set(lag_s)

    def delivered(self, collector: str, batch: Batch, seconds: float) -> None:
        """Count a batch that has its receipt."""
        self._delivered.labels(collector).inc()
        self._sent_bytes.labels(collector).inc(len(batch.body))
        self._upload_seconds.labels(collector).observe(seconds)

    def failures_are(self, collector: str, failures: Mapping[str, int]) -> None:
        """Show how often sending failed, by kind of failure."""
        for kind, count in failures.items():
            self._upload_failures.labels(collector, kind).set(count)

    def memory_is(self, *, held: int, lost: int) -> None:
        """Show what waits for a disk that refuses, and what was lost to it."""
        self._held.set(held)
        self._lost.set(lost)

    def buses_are(self, buses: Sequence[Bus]) -> None:
        """Show how many devices of each bus answer."""
        self._devices.clear()
        for bus in buses:
            lost = sum(state.lost_since_ms is not None for state in bus.states)
            self._devices.labels(bus.bus, "answering").set(len(bus.states) - lost)
            self._devices.labels(bus.bus, "lost").set(lost)

    def text(self) -> bytes:
        """In the text format of Prometheus."""
        return generate_latest(self._registry)
