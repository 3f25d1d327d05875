"""What `upstream` in collector.yaml says: how the higher collector is reached, and what it may have."""

from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Share(_Section):
    """Whole gateways, since an envelope is signed as a whole. What is not named is not shared."""

    sites: list[str] = Field(default=[], description="codes; every gateway there, also later ones")
    gateways: list[str] = Field(default=[], description="ids")
    leave_out: list[str] = Field(default=[], alias="except", description="ids of gateways that stay here")

    @property
    def rules(self) -> list[str]:
        """As the table `forward_rule` has them."""
        return [*(f"site:{code}" for code in self.sites), *(f"gateway:{each}" for each in self.gateways)]


class UpstreamSection(_Section):
    """A higher collector, at which `collector upstream enroll` has enrolled this one."""

    carrier: Literal["https", "mqtt"] = "https"
    broker: str | None = Field(
        default=None, pattern=r"^mqtts://[^/?#@\s]+:[0-9]{1,5}$", description="mqtts://host:port"
    )
    proxy: str | None = Field(
        default=None, pattern=r"^http://[^/?#@\s]+:[0-9]{1,5}$", description="http://host:port"
    )
    proxy_login_file: Path | None = Field(default=None, description="holds user:password")
    share: Share = Share()
    since: AwareDatetime | None = Field(
        default=None,
        description="share also what came before it was named here, back to then; such as "
        "2026-01-01T00:00:00+08:00",
    )

    @model_validator(mode="after")
    def _broker_where_it_is_used(self) -> "UpstreamSection":
        if (self.carrier == "mqtt") != (self.broker is not None):
            raise ValueError("carrier: mqtt needs a broker, and https has none")
        return self
