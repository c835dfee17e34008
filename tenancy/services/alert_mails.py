"""Sending the mails about alerts.

A mail is put off before it is sent and marked afterwards, each in a statement of its own. Where a process dies in
between, it is sent again when that time is over: twice rather than never, and with the same Message-ID.
"""

import json
import logging
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import F
from django.utils import timezone

from config.foundation.failpoints import failpoint
from tenancy.models import AlertMail

logger = logging.getLogger(__name__)

#: After so many the mail is given up: half a day.
MAX_ATTEMPTS = 12
FIRST_PAUSE_S = 60
MAX_PAUSE_S = 3600
#: More than a mail server may take.
SENDING_S = 120


def send_due_mails(*, batch: int = 100) -> int:
    """Send what is due; returns how many mails were sent."""
    due = AlertMail.objects.filter(state=AlertMail.State.PENDING, next_try_at__lte=timezone.now())
    return sum(_send(mail_id) for mail_id in list(due.order_by("next_try_at").values_list("id", flat=True)[:batch]))


def _send(mail_id: UUID) -> int:
    now = timezone.now()
    taken = AlertMail.objects.filter(id=mail_id, state=AlertMail.State.PENDING, next_try_at__lte=now)
    if not taken.update(next_try_at=now + timedelta(seconds=SENDING_S), attempts=F("attempts") + 1):
        return 0
    mail = AlertMail.objects.select_related("alert__team").get(id=mail_id)
    failpoint("mails.sending")
    try:
        _message(mail).send()
    except OSError as error:  # smtplib's own errors are OSErrors, too.
        logger.warning("mail %s was not sent: %s", mail_id, error)
        _put_off(mail)
        return 0
    failpoint("mails.sent")
    AlertMail.objects.filter(id=mail_id).update(state=AlertMail.State.SENT, next_try_at=None, sent_at=timezone.now())
    return 1


def _put_off(mail: AlertMail) -> None:
    if mail.attempts >= MAX_ATTEMPTS:
        AlertMail.objects.filter(id=mail.id).update(state=AlertMail.State.FAILED, next_try_at=None)
    else:
        pause_s = min(FIRST_PAUSE_S * 2 ** (mail.attempts - 1), MAX_PAUSE_S)
        AlertMail.objects.filter(id=mail.id).update(next_try_at=timezone.now() + timedelta(seconds=pause_s))


def _message(mail: AlertMail) -> EmailMessage:
    alert = mail.alert
    about = f"{alert.get_rule_display()}: {alert.subject}\nSince {alert.opened_at:%Y-%m-%d %H:%M:%S} UTC"
    figures = "\n".join(f"{name}: {json.dumps(value)}" for name, value in sorted(alert.data.items()))
    return EmailMessage(
        subject=f"[Job credits] {alert}",
        body=f"{about}\n\n{figures}\n",
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[mail.recipient],
        headers={"Message-ID": f"<{mail.id}@job-credits>", "Auto-Submitted": "auto-generated"},
    )
