"""Tells people by mail."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Final

import aiosmtplib

from collector.alerts.message import subject_of, text_of
from collector.alerts.receivers import EmailReceiver
from collector.alerts.sender import TIMEOUT_S, NotDelivered, tls_context

_log = logging.getLogger(__name__)

_OF_ONE_MAIL: Final = frozenset({450, 451, 452, 501, 550, 551, 552, 553, 554})
"""Replies about this mail or mailbox; after any other failure the next mail would fare no better."""


class EmailSender:
    """One connection for each mail: alerts are rare, and mail servers close idle connections."""

    def __init__(self, receiver: EmailReceiver) -> None:
        self._receiver = receiver
        self._tls = None if receiver.security == "none" else tls_context(receiver.ca_file)

    async def send(self, message: Mapping[str, Any], *, key: str, now_ms: int) -> None:
        receiver = self._receiver
        mail = EmailMessage()
        mail["Subject"] = subject_of(message, receiver.language)
        mail["From"] = receiver.sender
        mail["To"] = ", ".join(receiver.to)
        mail["Date"] = format_datetime(datetime.fromtimestamp(now_ms // 1000, UTC))
        mail["Message-ID"] = f"<{key}@{receiver.sender.rpartition('@')[2].rstrip('>')}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(text_of(message, receiver.language))
        try:
            refused, _ = await aiosmtplib.send(
                mail,
                hostname=receiver.host,
                port=receiver.port,
                username=receiver.user,
                password=receiver.password.get_secret_value() if receiver.password else None,
                use_tls=receiver.security == "tls",
                start_tls=receiver.security == "starttls",
                tls_context=self._tls,
                timeout=TIMEOUT_S,
            )
        except aiosmtplib.SMTPRecipientsRefused as err:
            codes = sorted({recipient.code for recipient in err.recipients})
            raise NotDelivered(f"the mail server refused every recipient: {codes}", down=False) from err
        except aiosmtplib.SMTPResponseException as err:
            # The server's own words may repeat what we logged in with.
            raise NotDelivered(
                f"the mail server answered {err.code}", down=err.code not in _OF_ONE_MAIL
            ) from err
        except (aiosmtplib.SMTPException, OSError, ValueError) as err:
            raise NotDelivered(f"no mail server: {type(err).__name__}", down=True) from err
        if refused:
            # The others have it. Sending it again would only repeat it to them.
            _log.warning(
                "%s: the mail server refused %d of %d recipients",
                receiver.name,
                len(refused),
                len(receiver.to),
            )

    async def close(self) -> None:
        """Nothing is kept open."""
