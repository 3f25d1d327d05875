"""The description of the API is whole: a programmer needs nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from collector.api import examples, shapes


def operations(app: FastAPI) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_every_operation_has_words_and_an_example(app: FastAPI) -> None:
    for name, operation in operations(app):
        assert operation.get("summary"), name
        assert operation.get("description"), name
        assert operation.get("tags"), name
        [content] = operation["responses"]["200"]["content"].values()
        assert "example" in content, name


def test_every_operation_with_a_token_describes_its_refusals(app: FastAPI) -> None:
    for name, operation in operations(app):
        if "/healthz" in name or "/readyz" in name:
            continue
        assert operation["security"] == [{"API token": []}], name
        assert {"401", "403", "422", "503"} <= set(operation["responses"]), name
        for status in ("401", "403", "422"):
            content = operation["responses"][status]["content"]
            assert list(content) == ["application/problem+json"], (name, status)
            assert content["application/problem+json"]["example"]["status"] == int(status)


def test_every_parameter_is_described(app: FastAPI) -> None:
    for name, operation in operations(app):
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), (name, parameter["name"])


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (shapes.SiteItem, examples.SITE),
        (shapes.GatewayItem, examples.GATEWAY),
        (shapes.DeviceItem, examples.DEVICE),
        (shapes.PointItem, examples.POINT),
        (shapes.ReadingItem, examples.READING),
        (shapes.LatestItem, examples.LATEST),
        (shapes.EventItem, examples.EVENT),
        (shapes.ConsumptionItem, examples.CONSUMPTION),
        (shapes.AlertItem, examples.ALERT),
        (shapes.StreamAlert, examples.STREAM_ALERT),
        (shapes.CommandItem, examples.COMMAND),
        (shapes.CommandRecord, examples.COMMAND_RECORD),
        (shapes.FindingItem, examples.FINDING),
        (shapes.QuarantineItem, examples.QUARANTINE),
    ],
)
def test_an_example_is_what_is_really_answered(model: type[BaseModel], example: dict[str, Any]) -> None:
    assert model.model_validate(example, extra="forbid").model_dump() == example
