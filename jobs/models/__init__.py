"""One model per file."""

from jobs.models.attempt import Attempt
from jobs.models.call import Call
from jobs.models.call_content import CallContent
from jobs.models.call_process import CallProcess
from jobs.models.job import Job
from jobs.models.model_check import ModelCheck

__all__ = ["Attempt", "Call", "CallContent", "CallProcess", "Job", "ModelCheck"]
