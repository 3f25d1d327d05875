"""Who is told of alerts: the section `receivers` of the settings."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from collector.alerts.message import Language

MIN_SECRET: Final = 16


class _Receiver(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=100)
    language: Language = Field(default="zh", description="the one that comes first; both are sent")
    ca_file: Path | None = Field(
        default=None, description="certificate of a private authority; without it those of the system count"
    )


class EmailReceiver(_Receiver):
    """Alerts as mail."""

    kind: Literal["email"]
    host: str = Field(min_length=1, description="the mail server")
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password: SecretStr | None = None
    sender: str = Field(min_length=3, description="From:")
    to: list[str] = Field(min_length=1)

    @model_validator(mode="after")
    def _no_password_in_clear(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together; give both or none")
        if self.password is not None and self.security == "none":
            raise ValueError("security: none would send the password in clear; use starttls or tls")
        return self

    @field_validator("sender", "to")
    @classmethod
    def _is_address(cls, value: str | list[str]) -> str | list[str]:
        for address in [value] if isinstance(value, str) else value:
            if "@" not in address or not address.isprintable():
                raise ValueError(f"{address!r} is no mail address, such as duty@example.org")
        return value


class WebhookReceiver(_Receiver):
    """Alerts as signed JSON, posted to another program."""

    kind: Literal["webhook"]
    url: SecretStr = Field(max_length=2000, description="whoever knows it can post: never shown or logged")
    secret: SecretStr = Field(min_length=MIN_SECRET, description="signs what is posted")

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("is no address, such as https://platform.example/hook")
        return value


Receiver = Annotated[EmailReceiver | WebhookReceiver, Field(discriminator="kind")]
