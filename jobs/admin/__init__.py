"""The admin of jobs, calls and attempts, and of how models do."""

from jobs.admin import calls, checks, health, jobs

__all__ = ["calls", "checks", "health", "jobs"]
