"""Seeds for the fault lab: another in each run of soak, always the same in the suite, never a secret."""

import os
import secrets
import sys

import pytest

SUITE_SEED = 20
SEED_VARIABLE = "SEED"


def seed_of(request: pytest.FixtureRequest) -> int:
    """From the environment, or random for tests of soak; says how to run this test again."""
    given = os.environ.get(SEED_VARIABLE)
    if given is not None:
        seed = int(given)
    elif request.node.get_closest_marker("soak") is None:
        seed = SUITE_SEED
    else:
        seed = secrets.randbelow(1 << 31)
    again = f"{SEED_VARIABLE}={seed} python -m pytest -m 'soak or not soak' '{request.node.nodeid}'"
    sys.stdout.write(f"to repeat: {again}\n")
    return seed
