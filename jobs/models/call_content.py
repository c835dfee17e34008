"""What was asked and answered in a call, where it is kept at all."""

from django.db import models

from jobs.models.call import Call


class CallContent(models.Model):
    """The prompt and the answer of a call, both encrypted (`config.foundation.encryption`).

    An asynchronous call has a row from its admission: its request is what a worker starts from, and its answer waits
    to be fetched. Other calls have one only where their team wants its content kept.
    """

    call = models.OneToOneField(Call, primary_key=True, on_delete=models.CASCADE, related_name="content")
    #: JSON: {"messages": […], "parameters": {…}}. Null from the call's end, where it is not to be kept.
    request = models.BinaryField(null=True)
    #: A `jobs.callpath.replies.Reply`. Null until the call has succeeded.
    answer = models.BinaryField(null=True)
    #: When it was last handed to the broker, for calls that wait for a worker.
    published_at = models.DateTimeField(null=True)
    #: From then on the sweeper erases it. Null while the call is open.
    erase_at = models.DateTimeField(null=True, db_index=True)

    def __str__(self) -> str:
        return f"content of {self.call_id}"
