"""What a gateway reads and how, as a technician writes it down."""

from edge_agent.config.checks import address_of
from edge_agent.config.load import Config, load_config
from edge_agent.config.sections import BusSection, ConfigFile, DeviceSection, ReportSection
from models.document import DocumentMistakes

__all__ = [
    "BusSection",
    "Config",
    "ConfigFile",
    "DeviceSection",
    "DocumentMistakes",
    "ReportSection",
    "address_of",
    "load_config",
]
