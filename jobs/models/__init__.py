"""One model per file."""

from jobs.models.attempt import Attempt
from jobs.models.call import Call
from jobs.models.call_content import CallContent
from jobs.models.call_day import CallDay
from jobs.models.call_process import CallProcess
from jobs.models.credit_day import CreditDay
from jobs.models.job import Job
from jobs.models.job_day import JobDay
from jobs.models.late_change import LateChange
from jobs.models.model_check import ModelCheck
from jobs.models.model_day import ModelDay
from jobs.models.rollup_day import RollupDay

__all__ = [
    "Attempt",
    "Call",
    "CallContent",
    "CallDay",
    "CallProcess",
    "CreditDay",
    "Job",
    "JobDay",
    "LateChange",
    "ModelCheck",
    "ModelDay",
    "RollupDay",
]
