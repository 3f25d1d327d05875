"""Makes the carrier that the configuration asks for."""

from collections.abc import Callable

from edge_agent.config.collectors import CollectorSettings
from edge_agent.identity.folder import Identity
from edge_agent.proxy import Proxy, proxy_from
from edge_agent.secret_files import read_secret
from edge_agent.uplink.carrier import Carrier
from edge_agent.uplink.https import HttpsCarrier


def make_carrier(
    identity: Identity, settings: CollectorSettings, certificates_at_s: Callable[[], float | None] | None
) -> Carrier:
    """`certificates_at_s` is as in `edge_agent.tls`. Raise SecretUnusable."""
    proxy = proxy_of(settings)
    if settings.carrier == "mqtt" and settings.broker is not None:
        from edge_agent.uplink.mqtt import MqttCarrier  # few gateways have a broker, and little memory

        return MqttCarrier(identity, settings.broker, certificates_at_s=certificates_at_s, proxy=proxy)
    return HttpsCarrier(identity, certificates_at_s=certificates_at_s, proxy=proxy)


def proxy_of(settings: CollectorSettings) -> Proxy | None:
    """Raise SecretUnusable."""
    if settings.proxy is None:
        return None
    login = settings.proxy_login_file
    return proxy_from(settings.proxy, None if login is None else read_secret(login))
