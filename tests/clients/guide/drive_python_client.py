"""The workflow that the guide prints after the class, with base URL, team and key from the command line."""

import json
import sys

from python_client import SaasLLMClient

base_url, team_id, virtual_key, model_group = sys.argv[1:]
client = SaasLLMClient(base_url=base_url, team_id=team_id, virtual_key=virtual_key)

job_id = client.create_job(job_type="document_analysis", user_id="user_123", metadata={"document_id": "doc_456"})
parse_result = client.llm_call(
    job_id=job_id,
    model_group=model_group,
    messages=[
        {"role": "system", "content": "You are a resume parser."},
        {"role": "user", "content": "John Doe, Python"},
    ],
    purpose="parsing",
)
client.llm_call(
    job_id=job_id,
    model_group=model_group,
    messages=[{"role": "user", "content": f"Analyze: {parse_result['response']['content']}"}],
    purpose="analysis",
)
completion = client.complete_job(job_id=job_id, status="completed", metadata={"result": "success"})

failed_job_id = client.create_job(job_type="document_analysis")
failure = client.complete_job(job_id=failed_job_id, status="failed", error_message="no document")

print(
    json.dumps(
        {
            "parsed": parse_result["response"]["content"],
            "completion": completion,
            "failure": failure,
            "credits": client.get_credits(),
        }
    )
)
