"""Who the gateway is: its identity at each collector, and how long its certificate is good."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from edge_agent.doctor.finding import Finding, ok, problem, skipped, warning
from edge_agent.doctor.scene import Enrolled, Scene
from edge_agent.identity.folder import EXPIRED, MAIN, NotEnrolled
from edge_agent.identity.keeper import RENEWED_FROM

LATE_AT: Final = 0.80  # so much later than due means that renewal does not work


def identity(scene: Scene) -> Iterator[Finding]:
    """Whether the gateway is enrolled."""
    for enrolled in scene.enrolled():
        found, name = enrolled.identity, enrolled.name
        if found is not None:
            seen = f"{found.gateway_id}, site {found.collector.site_code}, at {found.collector.url}"
            yield ok("identity.enrolled", seen, subject=name, facts={"gateway_id": found.gateway_id})
        elif isinstance(enrolled.error, NotEnrolled):
            option = "" if name == MAIN else f" --collector {name}"
            hint = f"get a token (collector enrollment-token), then: edge-agent enroll TOKEN{option}"
            yield problem("identity.enrolled", "this gateway is not enrolled", hint, subject=name)
        elif "Permission denied" in str(enrolled.error):
            yield skipped("identity.enrolled", "only root and the agent's user can read it", subject=name)
        else:
            hint = "enrol again with a new token, as it says"
            yield problem("identity.enrolled", str(enrolled.error), hint, subject=name)


def certificate(scene: Scene) -> Iterator[Finding]:
    """How long the certificate is good, and when it is renewed."""
    now = datetime.fromtimestamp(scene.host.now_ms() / 1000, UTC)
    for enrolled in scene.enrolled():
        yield judged_certificate(enrolled, now)


def judged_certificate(enrolled: Enrolled, now: datetime) -> Finding:
    """Of one identity."""
    name = enrolled.name
    if enrolled.identity is None:
        return skipped("identity.certificate", "there is no identity that can be used", subject=name)
    begins = enrolled.identity.certificate.not_valid_before_utc
    ends = enrolled.identity.expires
    life = ends - begins
    renewal = begins + RENEWED_FROM * life
    days = (ends - now).total_seconds() / 86_400
    facts = {"ends": ends.isoformat(), "renewal": renewal.isoformat(), "days_left": round(days, 2)}
    until = f"good until {ends:%Y-%m-%d %H:%M} UTC"
    if now >= ends:
        return problem(
            "identity.certificate", f"ended {-days:.0f} days ago", EXPIRED, subject=name, facts=facts
        )
    if now < begins:
        seen = f"begins only at {begins:%Y-%m-%d %H:%M} UTC"
        return problem(
            "identity.certificate", seen, "set the clock of this gateway", subject=name, facts=facts
        )
    if now >= begins + LATE_AT * life:
        seen = f"{until}, {days:.1f} days; it should have been renewed since {renewal:%Y-%m-%d}"
        hint = "the collector must be reached for that; see the checks of it below"
        return warning("identity.certificate", seen, hint, subject=name, facts=facts)
    return ok("identity.certificate", f"{until}, renewed from {renewal:%Y-%m-%d}", subject=name, facts=facts)
