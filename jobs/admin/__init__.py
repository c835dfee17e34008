"""The admin of jobs, calls and attempts, of sums by day, of how models do, and of teams' users."""

from jobs.admin import calls, checks, health, jobs, rollups, users

__all__ = ["calls", "checks", "health", "jobs", "rollups", "users"]
