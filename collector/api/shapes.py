"""What the API answers: the models of every list item, and the words for what the tables hold as numbers."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field, WithJsonSchema

from models.reading import Quality, Reason
from models.times import utc_text

Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
QualityWord = Literal["good", "suspect", "bad"]
Item = TypeVar("Item")


def quality_word(quality: int) -> QualityWord:
    return _QUALITIES[Quality(quality)]


def reason_word(reason: int) -> str | None:
    """None when there is nothing to explain."""
    return None if reason == Reason.NONE else Reason(reason).name.lower().replace("_", "-")


def moment(ms: int) -> Moment:
    return utc_text(ms)


def moment_or_none(ms: int | None) -> Moment | None:
    return None if ms is None else utc_text(ms)


_QUALITIES: dict[Quality, QualityWord] = {
    Quality.GOOD: "good",
    Quality.SUSPECT: "suspect",
    Quality.BAD: "bad",
}


class PageOf(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next_cursor: str | None = Field(description="give it as `cursor` to get the next page; null on the last")


class SiteItem(BaseModel):
    code: str
    name: str
    timezone: str = Field(description="IANA name; days and months of this site begin by it")


class GatewayItem(BaseModel):
    id: str
    site: str = Field(description="code of the site")
    name: str
    state: Literal["active", "revoked"]
    online: bool = Field(description="it delivered within three of its reading periods, at least 3 minutes")
    enrolled_at: Moment
    revoked_at: Moment | None
    last_seen_at: Moment | None = Field(description="when its last batch was accepted")
    clock_skew_ms: int | None = Field(description="the gateway's clock minus the collector's")
    suite: Literal["standard", "gm"] = Field(description="how it seals its batches")


class ReturnItem(BaseModel):
    code: str = Field(description="of the key that it has made; the gateway shows the same")
    gateway_id: str
    site: str = Field(description="code of the site")
    name: str
    state: Literal["waiting", "approved", "rejected"]
    asked_at: Moment
    last_asked_at: Moment
    last_seen_at: Moment | None = Field(description="when its last batch was accepted")


class ReturnList(BaseModel):
    items: list[ReturnItem]


class ReturnDecision(BaseModel):
    gateway_id: str
    state: Literal["approved", "rejected"]


class DeviceItem(BaseModel):
    site: str
    id: int = Field(description="number of the device in its site")
    gateway_id: str
    device_id: str = Field(description="its name in the gateway's configuration")
    name: str
    profile: str | None = Field(description="null until its gateway has described it")
    profile_version: str | None
    period_s: float | None = Field(description="how often it is read")
    unauthenticated: bool = Field(description="nothing proves who sends its values, as of some radios")


class PointItem(BaseModel):
    site: str
    id: int = Field(description="number of the point in its site")
    device: int = Field(description="number of its device")
    name: str
    unit: str
    kind: Literal["gauge", "counter", "state"]
    item_code: str | None = Field(description="energy item, such as 01000 for electricity")
    decimals: int
    modulus: float | None = Field(description="a counter starts again from 0 at this value")
    max_rate_per_h: float | None


class Provenance(BaseModel):
    """Which sealed envelope of which gateway brought a reading."""

    gateway_id: str
    epoch: str = Field(description="hex; names one life of the gateway's buffer")
    seq: int = Field(description="number of the reading in its epoch")
    envelope: int | None = Field(description="number of the envelope that carried it")


class ReadingItem(BaseModel):
    measured_at: Moment = Field(description="by the device's clock, or the middle of its request")
    received_at: Moment = Field(description="when the gateway had the answer")
    value: float | None = Field(description="null exactly when quality is bad")
    quality: QualityWord
    reason: str | None = Field(description="why it is not good, such as no-reply; null when there is nothing")
    provenance: Provenance


class LatestItem(BaseModel):
    site: str
    point: int
    device: int
    name: str
    unit: str
    measured_at: Moment
    received_at: Moment
    value: float | None
    quality: QualityWord
    reason: str | None


class EventItem(BaseModel):
    site: str
    gateway_id: str
    device_id: str = Field(description="@gateway when it concerns the gateway itself")
    kind: str
    data: dict[str, Any]
    measured_at: Moment
    received_at: Moment
    epoch: str
    seq: int


class ConsumptionItem(BaseModel):
    """One hour of one counter. Hours that nothing was ever measured for do not appear."""

    site: str
    point: int
    hour: Moment = Field(description="the beginning of the hour")
    value: float | None = Field(description="null exactly when state is missing: a gap is never 0")
    unit: str
    coverage: float = Field(ge=0, le=1, description="the share of the hour between usable readings")
    state: Literal["measured", "estimated", "suspect", "missing"]
    computed_at: Moment


class AlertItem(BaseModel):
    site: str
    id: int
    condition: str = Field(description="what it is about; at most one alert of a condition is open")
    detector: str
    state: Literal["firing", "acknowledged", "resolved"]
    severity: Literal["warning", "critical"]
    data: dict[str, Any] = Field(description="title and text in zh and en, what was expected and seen")
    opened_at: Moment = Field(description="when the condition began to hold")
    acknowledged_by: str | None
    acknowledged_at: Moment | None
    resolved_by: str | None = Field(description="a person's token, or `recovered`")
    resolved_at: Moment | None


class StreamAlert(BaseModel):
    """The data of an event `alert`: one change of one alert."""

    site: str
    alert: int
    state: Literal["firing", "acknowledged", "resolved"]
    by: str
    at: Moment
    condition: str
    detector: str
    severity: Literal["warning", "critical"]
    data: dict[str, Any]


class CommandItem(BaseModel):
    """What a device was told to do, and what came of it."""

    site: str
    id: str = Field(description="the key that it was given with")
    gateway_id: str
    device: int | None = Field(description="number of the device in its site; null when it is not known")
    device_id: str = Field(description="its name in the gateway's configuration")
    action: str
    arguments: dict[str, Any] = Field(description="without card numbers and PINs")
    origin: Literal["collector", "on-site", "unknown"] = Field(
        description="on-site: a technician at the gateway; unknown: reported by a gateway, and not kept here"
    )
    issued_by: str = Field(description="name of the token, or of the person")
    issued_at: Moment
    expires_at: Moment
    state: Literal["waiting", "sent", "done", "refused", "failed", "expired"] = Field(
        description="refused and expired: nothing was done; failed: not known to have been done"
    )
    result: dict[str, Any] | None = Field(description="what the device showed when it was done")
    code: str | None = Field(description="why it was not done, such as not-allowed")
    detail: str | None = Field(description="the same for people")


class CommandChangeItem(BaseModel):
    state: Literal["waiting", "sent", "done", "refused", "failed", "expired"]
    by: str = Field(description="a token or person, a gateway's id, or collector")
    at: Moment
    detail: str


class CommandRecord(CommandItem):
    """A command with every change of its state."""

    history: list[CommandChangeItem]


PushState = Literal["waiting", "sent", "tried", "expired", "refused", "reverted", "applied"]


class PushItem(BaseModel):
    """A configuration that was pushed to a gateway, and what came of it."""

    site: str
    id: str = Field(description="the key that it was pushed with")
    gateway_id: str
    files: list[str] = Field(description="names of its files")
    base: str | None = Field(description="digest of what it is a change of; null: whatever the gateway has")
    why: str
    issued_by: str = Field(description="name of the token, or of the person")
    issued_at: Moment
    expires_at: Moment
    confirm_within_s: float
    state: PushState = Field(
        description="tried: it runs, and is kept once this collector is reached with it; refused and "
        "expired: it never ran; reverted: it was taken back"
    )
    code: str | None = Field(description="why it is not kept, such as not-allowed, mistakes or not-reached")
    detail: str | None = Field(description="the same for people")
    problems: list[str] | None = Field(description="mistakes with file, line and hint")


class PushChangeItem(BaseModel):
    state: PushState
    by: str = Field(description="a token or person, a gateway's id, or collector")
    at: Moment
    detail: str


class PushRecord(PushItem):
    """A pushed configuration with every change of its state."""

    history: list[PushChangeItem]


class ActiveItem(BaseModel):
    """A configuration that was active at a gateway, as it told."""

    version: int = Field(description="in the gateway's own history")
    digest: str = Field(description="of all its files, SHA-256 in hex")
    origin: Literal["on-site", "collector", "gateway"] = Field(
        description="who has made it so; the gateway itself, when it took another one back"
    )
    by: str
    why: str
    push_id: str | None = Field(description="of the pushed configuration, if it is one")
    active_at: Moment


class ActiveRecord(ActiveItem):
    """What runs at a gateway now."""

    gateway_id: str
    files: dict[str, str] | None = Field(description="null when they were too much for the gateway to tell")


class FindingItem(BaseModel):
    site: str
    id: int
    detector: str
    subject: str = Field(description="point:NUMBER or gateway:ID")
    start_at: Moment
    end_at: Moment
    score: float
    data: dict[str, Any]
    found_at: Moment


class QuarantineItem(BaseModel):
    """What a gateway delivered and the collector keeps aside, because it cannot be right."""

    site: str
    gateway_id: str
    epoch: str
    seq: int
    reason: str
    item: Any
    quarantined_at: Moment
