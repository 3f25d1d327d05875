"""Setting a point of a device."""

from pathlib import Path

from edge_agent.commands.answer import Answer
from edge_agent.commands.telling import tell


def write(path: Path, device_id: str, point: str, value: float) -> Answer:
    """Bad news when it is not certain that the point has the value."""
    return tell(path, device_id, "write", {"point": point, "value": value})
