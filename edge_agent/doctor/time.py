"""The clock: whether it is set, and who keeps it."""

from collections.abc import Iterator
from typing import Final

from edge_agent.doctor.finding import Finding, ok, problem, warning
from edge_agent.doctor.scene import Host, Scene
from models.times import DAY_MS, utc_text

EARLIEST_MS: Final = 1_767_225_600_000  # 2026-01-01: before this program was written
LATEST_MS: Final = 4_102_444_800_000  # 2100-01-01: where readings end too
TIME_SERVICES: Final = {
    "chronyd": "chrony",
    "ntpd": "ntpd",
    "openntpd": "OpenNTPD",
    "systemd-timesyn": "systemd-timesyncd",  # the kernel keeps 15 characters of a name
}
SECOND_MS: Final = 1000
MINUTE_MS: Final = 60_000  # by so much more a command is late, see `models.statement.MAX_AHEAD_MS`


def clock(scene: Scene) -> Iterator[Finding]:
    """Whether the clock can be right at all."""
    now_ms = scene.host.now_ms()
    begins_ms = [
        int(enrolled.identity.certificate.not_valid_before_utc.timestamp() * 1000)
        for enrolled in scene.enrolled()
        if enrolled.identity is not None
    ]
    shown = f"shows {utc_text(now_ms)}"
    set_it = "set it: timedatectl set-time 'YYYY-MM-DD HH:MM:SS'; if it forgets it, change its battery"
    if now_ms < EARLIEST_MS:
        yield problem("clock.set", f"{shown}: it was never set", set_it, facts={"now_ms": now_ms})
    elif now_ms >= LATEST_MS:
        yield problem(
            "clock.set", f"{shown}: that is too late for any reading", set_it, facts={"now_ms": now_ms}
        )
    elif begins_ms and now_ms < min(begins_ms) - DAY_MS:
        seen = f"{shown}, and this gateway was enrolled at {utc_text(min(begins_ms))}"
        yield problem("clock.set", seen, set_it, facts={"now_ms": now_ms})
    else:
        yield ok("clock.set", shown, facts={"now_ms": now_ms})


def time_service(scene: Scene) -> Iterator[Finding]:
    """Whether something on this machine keeps the clock."""
    services = sorted(running_services(scene.host))
    told = " and ".join(services) or "no time service"
    status = scene.status()
    source = status.time_from if status is not None else ""
    if scene.host.is_synchronised():
        yield ok("clock.service", f"synchronised; {told} runs", facts={"services": services})
        return
    seen = f"not synchronised; {told} runs"
    if source == "collector":
        seen += "; the agent takes the time from the collector"
    hint = (
        "it may need minutes after a start; else check that it reaches its server (UDP port 123)"
        if services
        else "apt-get install chrony, or: systemctl enable --now systemd-timesyncd"
    )
    yield warning("clock.service", seen, hint, facts={"services": services, "time_from": source})


def judged_offset(offset_ms: int, *, synchronised: bool, subject: str) -> Finding:
    """What the clock is off the collector's by; before it when above 0."""
    size_ms = abs(offset_ms)
    side = "ahead of" if offset_ms > 0 else "behind"
    seen = f"{size_ms / 1000:.1f} s {side} the collector"
    facts = {"offset_ms": offset_ms}
    if size_ms <= SECOND_MS:
        return ok("clock.offset", f"within {max(0.1, size_ms / 1000):.1f} s", subject=subject, facts=facts)
    if not synchronised:
        hint = "the agent goes by the collector's time; logs do not: set the clock, or start a time service"
        return warning("clock.offset", seen, hint, subject=subject, facts=facts)
    hint = "a time service keeps this clock: one of the two has a wrong source; compare with a third clock"
    if size_ms <= MINUTE_MS:
        return warning("clock.offset", seen, hint, subject=subject, facts=facts)
    return problem("clock.offset", seen, hint, subject=subject, facts=facts)


def running_services(host: Host) -> set[str]:
    """The time services among the processes."""
    names = (host.text(folder / "comm") for folder in host.proc.glob("[0-9]*"))
    return {TIME_SERVICES[name] for name in names if name in TIME_SERVICES}
