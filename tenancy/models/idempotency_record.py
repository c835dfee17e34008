"""What was answered to a request that carried an `Idempotency-Key`."""

from django.db import models


class IdempotencyRecord(models.Model):
    """Unique by (scope, key), and bound to the request by a hash, so that a reused key is noticed.

    `reply` is the answer's body, encrypted because a body may hold a virtual key or a model's answer. It is
    null while the request is in flight, which only an LLM call's record ever is for longer than a transaction.
    """

    #: The caller: "key:<uuid>" of a virtual key, "operator:<uuid>", or "open" for the guide's keyless mode.
    scope = models.CharField(max_length=64)
    key = models.CharField(max_length=255)
    request_hash = models.BinaryField(max_length=32)
    reply = models.BinaryField(null=True)
    #: The LLM call that the key was claimed for, before it was admitted. Where a process died between, or the call's
    #: worker did, the sweeper finds by it that nobody will ever store a reply. Or the job that the reply tells of: both
    #: so that the replies are found that tell of somebody who is to be forgotten.
    claimed_for = models.UUIDField(null=True)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["created_at"],
                name="calls_keys_in_flight",
                condition=models.Q(reply=None, claimed_for__isnull=False),
            ),
            models.Index(
                fields=["claimed_for"], name="replies_by_job_or_call", condition=models.Q(claimed_for__isnull=False)
            ),
        ]
        constraints = [models.UniqueConstraint(fields=["scope", "key"], name="idempotency_key_is_unique_per_caller")]

    def __str__(self) -> str:
        return f"{self.scope} {self.key}"
