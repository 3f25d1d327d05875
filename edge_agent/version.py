"""Which version of the agent this is."""

import importlib.metadata


def agent_version() -> str:
    """As it was installed; "unknown" in a checkout that was not."""
    try:
        return importlib.metadata.version("gatehouse")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
