"""Keeps note of what is to be forwarded, in the transaction that stores it: nothing can be forgotten."""

import sqlite3

from collector.intake.sequence import Epoch


def share(connection: sqlite3.Connection, epoch: Epoch, gateway_id: str, number: int) -> None:
    """Note an envelope that has just been stored, if its gateway is shared (`collector.forward`)."""
    connection.execute(
        "INSERT OR IGNORE INTO forward (upstream, site_id, epoch_id, number, gateway_id) "
        "SELECT upstream, ?, ?, ?, gateway_id FROM forward_gateway WHERE gateway_id = ?",
        (epoch.site_id, epoch.id, number, gateway_id),
    )
