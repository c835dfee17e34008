"""The admin of jobs, calls and attempts, of sums by day, and of how models do."""

from jobs.admin import calls, checks, health, jobs, rollups

__all__ = ["calls", "checks", "health", "jobs", "rollups"]
