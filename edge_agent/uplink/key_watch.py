"""Notices that the collector has another key for content keys, and takes it when its CA vouches for it."""

import asyncio
import logging
from typing import Final

from edge_agent.identity.certificates import CertificateUnusable
from edge_agent.identity.folder import Identity, adopt_collector_key
from edge_agent.uplink.questions import CollectorRefused, Questions
from models.errors import RetryLater
from models.protocol import Receipt, collector_key_name

_log = logging.getLogger(__name__)


class KeyWatch:
    """For one identity. When another key is on disk, the part that sends starts anew with it.

    Until then the old key is as good: the collector opens what was sealed to any of its keys.
    """

    def __init__(self, identity: Identity, questions: Questions) -> None:
        self._identity, self._questions = identity, questions
        self._settled: Final = {"", collector_key_name(identity.collector.collector_key)}

    async def look_at(self, receipt: Receipt) -> None:
        """Act on the name of the key in it, once for each name. Never raises what could end the sending."""
        if receipt.collector_key in self._settled:
            return
        try:
            offer = await self._questions.ask_collector_key()
            await asyncio.to_thread(adopt_collector_key, self._identity, offer)
        except (RetryLater, OSError) as err:
            _log.warning("the collector has another key, which comes with a later receipt: %s", err)
            return
        except (CertificateUnusable, CollectorRefused) as err:
            _log.error("the collector names another key, which is not taken: %s", err)
        else:
            _log.info("content keys are sealed to another key of the collector from now on")
        self._settled.add(receipt.collector_key)
