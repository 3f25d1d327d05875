"""One real meter with planted faults, and buildings made of arithmetic."""

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data" / "cambridge_b82.csv.gz"


@dataclass(frozen=True)
class Labelled:
    """A meter with what is known of its faults."""

    seconds: NDArray[np.int64]
    values: NDArray[np.float64]
    label: NDArray[np.int64]
    event: NDArray[np.int64]


@pytest.fixture(scope="session")
def labelled() -> Labelled:
    with gzip.open(DATA, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    return Labelled(
        seconds=np.array([int(row["seconds"]) for row in rows]),
        values=np.array([float(row["value"] or "nan") for row in rows]),
        label=np.array([int(row["label"]) for row in rows]),
        event=np.array([int(row["event"]) for row in rows]),
    )
