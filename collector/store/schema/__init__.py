"""Every table of the collector, once, for all databases.

The key of each table that grows with the readings begins with `site_id`, so that one batch touches one
site's rows only and a distributed database can keep a site together. All times are milliseconds since
1970, UTC.
"""

from collector.store.schema.columns import metadata
from collector.store.schema.control import (
    active_configuration,
    command,
    command_change,
    configuration,
    configuration_change,
)
from collector.store.schema.envelopes import (
    content_key,
    envelope,
    epoch,
    forward,
    forward_gateway,
    forward_rule,
    sequence_gap,
)
from collector.store.schema.gateways import (
    enrollment_token,
    gateway,
    gateway_change,
    gateway_key,
    gateway_return,
    refusal,
    site,
)
from collector.store.schema.people import alert, alert_change, api_token, outbox
from collector.store.schema.readings import (
    consumption_hour,
    device,
    dirty_hour,
    event,
    finding,
    latest,
    point,
    quarantine,
    reading,
    reading_revision,
    unscored,
)

__all__ = [
    "active_configuration",
    "alert",
    "alert_change",
    "api_token",
    "command",
    "command_change",
    "configuration",
    "configuration_change",
    "consumption_hour",
    "content_key",
    "device",
    "dirty_hour",
    "enrollment_token",
    "envelope",
    "epoch",
    "event",
    "finding",
    "forward",
    "forward_gateway",
    "forward_rule",
    "gateway",
    "gateway_change",
    "gateway_key",
    "gateway_return",
    "latest",
    "metadata",
    "outbox",
    "point",
    "quarantine",
    "reading",
    "reading_revision",
    "refusal",
    "sequence_gap",
    "site",
    "unscored",
]
