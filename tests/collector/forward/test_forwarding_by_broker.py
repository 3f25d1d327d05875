"""By the area's broker a county forwards as it does by HTTPS."""

from pathlib import Path

import yaml

from tests.support.brokers import shipped_broker
from tests.support.needs import needs_mosquitto
from tests.support.tiers import books, gateways_at, new_tiers


@needs_mosquitto
async def test_a_county_forwards_by_the_broker_of_the_area(tmp_path: Path) -> None:
    tiers = await new_tiers(tmp_path)
    async with shipped_broker(tiers.area, tmp_path / "broker") as broker:
        settings = tiers.area.folder / "collector.yaml"
        said = yaml.safe_load(settings.read_text())
        settings.write_text(yaml.safe_dump({**said, "mqtt": {"broker": broker.url}}))
        tiers.settle(carrier="mqtt", broker=broker.url, share={"sites": ["hall"]})
        async with tiers.serving_area() as area:
            await tiers.belong(area)
            async with tiers.serving_county() as county:
                [hall] = await gateways_at(county, tmp_path, "hall")
                await hall.send(3)
                await tiers.until_all_is_there(hall)
        assert await books(tiers.area, hall, prefix="cx:") == await books(tiers.county, hall)
