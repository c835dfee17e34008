"""The example that the guide prints after the class, with base URL, team and key from the command line."""

import json
import sys

from resume_analyzer import ResumeAnalyzer

base_url, team_id, virtual_key = sys.argv[1:]
analyzer = ResumeAnalyzer(base_url=base_url, team_id=team_id, virtual_key=virtual_key)

result = analyzer.analyze_resume(
    resume_text="John Doe | john@example.com | Software Engineer with 5 years Python...",
    job_requirements=["Python", "REST APIs", "PostgreSQL", "5+ years experience"],
)

print(json.dumps(result))
