#!/usr/bin/env python3
"""The integration guide's résumé workflow: one job, three LLM calls, one credit.

TEAM_KEY=sk-… python scripts/resume_workflow.py --team team_hr [--base-url http://127.0.0.1:8000]
"""

import argparse
import os
import sys
from typing import Any

import httpx

RESUME = "John Doe | john@example.com | Software Engineer with 5 years Python, Django, REST APIs and PostgreSQL"
REQUIREMENTS = "Python, REST APIs, PostgreSQL, 5+ years experience"
MODEL_GROUP = "ResumeAgent"
#: A call may wait for a slow model and its fallbacks; the service itself gives up after two minutes.
TIMEOUT_S = 150


class WorkflowError(Exception):
    """The service answered with an error, or not at all."""


def post(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer, or an error that says all the service said."""
    try:
        response = client.post(path, json=body)
    except httpx.HTTPError as error:
        raise WorkflowError(f"POST {path}: {error or type(error).__name__}") from error
    if response.is_error:
        raise WorkflowError(f"POST {path}: {response.status_code} {response.text}")
    answer: dict[str, Any] = response.json()
    return answer


def ask(client: httpx.Client, job_id: str, purpose: str, instruction: str, content: str) -> str:
    """One LLM call of the job; returns what the model said."""
    messages = [{"role": "system", "content": instruction}, {"role": "user", "content": content}]
    body = {"model_group": MODEL_GROUP, "messages": messages, "purpose": purpose}
    return str(post(client, f"/api/jobs/{job_id}/llm-call", body)["response"]["content"])


def analyze(client: httpx.Client, job_id: str) -> str:
    """Parse, compare, summarize; returns the summary."""
    parsed = ask(
        client,
        job_id,
        "parsing",
        "You are a resume parser. Extract: name, email, skills, experience.",
        f"Parse this resume:\n\n{RESUME}",
    )
    print("✓ Parsed resume (Call 1/3)", flush=True)
    comparison = ask(
        client,
        job_id,
        "requirements_comparison",
        "Compare candidate qualifications against job requirements.",
        f"Candidate: {parsed}\n\nRequirements: {REQUIREMENTS}\n\nDo they meet requirements?",
    )
    print("✓ Compared requirements (Call 2/3)", flush=True)
    summary = ask(
        client,
        job_id,
        "executive_summary",
        "Create a concise executive summary for hiring managers.",
        f"Resume: {parsed}\n\nFit Analysis: {comparison}\n\nCreate 3-sentence summary.",
    )
    print("✓ Generated summary (Call 3/3)", flush=True)
    return summary


def run(client: httpx.Client, team: str) -> None:
    """Create the job, analyze, complete; a job that fails is completed as failed, and costs nothing."""
    job = {"team_id": team, "job_type": "resume_analysis", "metadata": {"resume_length": len(RESUME)}}
    job_id = post(client, "/api/jobs/create", job)["job_id"]
    print(f"✓ Created job: {job_id}", flush=True)
    completion = f"/api/jobs/{job_id}/complete"
    try:
        summary = analyze(client, job_id)
    except WorkflowError as error:
        post(client, completion, {"status": "failed", "error_message": str(error)})
        raise WorkflowError(f"{error}\n  Job failed, no credit charged.") from error
    costs = post(client, completion, {"status": "completed", "metadata": {"result": "success"}})["costs"]
    print("\n✅ Job completed!")
    print(f"   Total calls: {costs['total_calls']}")
    print(f"   Total USD cost: ${costs['total_cost_usd']:.4f}")
    print(f"   Credit charged: {costs['credit_applied']}")
    print(f"   Credits remaining: {costs['credits_remaining']}")
    print(f"\n{'=' * 50}\nEXECUTIVE SUMMARY\n{'=' * 50}\n{summary}", flush=True)


def main() -> int:
    """Exit code 1, and the error, when the workflow failed."""
    parser = argparse.ArgumentParser(description="Run the integration guide's résumé workflow.")
    parser.add_argument("--base-url", default="http://127.0.0.1:8000")
    parser.add_argument("--team", required=True, help="the team's id; its virtual key is read from TEAM_KEY")
    arguments = parser.parse_args()
    key = os.environ.get("TEAM_KEY")
    if not key:
        parser.error("TEAM_KEY is not set: it holds the team's virtual key")
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=arguments.base_url, headers=headers, timeout=TIMEOUT_S) as client:
        try:
            run(client, arguments.team)
        except WorkflowError as error:
            print(f"✗ {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
