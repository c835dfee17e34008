import requests
from typing import Dict, List

class ResumeAnalyzer:
    def __init__(self, base_url: str, team_id: str, virtual_key: str):
        self.base_url = base_url
        self.team_id = team_id
        self.virtual_key = virtual_key
        self.headers = {
            "Authorization": f"Bearer {virtual_key}",
            "Content-Type": "application/json"
        }

    def analyze_resume(self, resume_text: str, job_requirements: List[str]) -> Dict:
        """
        Complete resume analysis workflow: parse → compare → summarize
        3 LLM calls = 1 Job = 1 Credit
        """
        # Step 1: Create job
        job_response = requests.post(
            f"{self.base_url}/api/jobs/create",
            headers=self.headers,
            json={
                "team_id": self.team_id,
                "job_type": "resume_analysis",
                "metadata": {
                    "resume_length": len(resume_text),
                    "num_requirements": len(job_requirements)
                }
            }
        )
        job_id = job_response.json()["job_id"]
        print(f"✓ Created job: {job_id}")

        try:
            # Step 2: Parse resume (LLM Call #1)
            parse_response = requests.post(
                f"{self.base_url}/api/jobs/{job_id}/llm-call",
                headers=self.headers,
                json={
                    "model_group": "ResumeAgent",
                    "messages": [
                        {
                            "role": "system",
                            "content": "You are a resume parser. Extract: name, email, skills, experience."
                        },
                        {
                            "role": "user",
                            "content": f"Parse this resume:\n\n{resume_text}"
                        }
                    ],
                    "purpose": "parsing"
                }
            )
            parsed_data = parse_response.json()["response"]["content"]
            print(f"✓ Parsed resume (Call 1/3)")

            # Step 3: Compare requirements (LLM Call #2)
            compare_response = requests.post(
                f"{self.base_url}/api/jobs/{job_id}/llm-call",
                headers=self.headers,
                json={
                    "model_group": "ResumeAgent",
                    "messages": [
                        {
                            "role": "system",
                            "content": "Compare candidate qualifications against job requirements."
                        },
                        {
                            "role": "user",
                            "content": f"Candidate: {parsed_data}\n\nRequirements: {', '.join(job_requirements)}\n\nDo they meet requirements?"
                        }
                    ],
                    "purpose": "requirements_comparison"
                }
            )
            comparison_result = compare_response.json()["response"]["content"]
            print(f"✓ Compared requirements (Call 2/3)")

            # Step 4: Generate executive summary (LLM Call #3)
            summary_response = requests.post(
                f"{self.base_url}/api/jobs/{job_id}/llm-call",
                headers=self.headers,
                json={
                    "model_group": "ResumeAgent",
                    "messages": [
                        {
                            "role": "system",
                            "content": "Create a concise executive summary for hiring managers."
                        },
                        {
                            "role": "user",
                            "content": f"Resume: {parsed_data}\n\nFit Analysis: {comparison_result}\n\nCreate 3-sentence summary."
                        }
                    ],
                    "purpose": "executive_summary"
                }
            )
            exec_summary = summary_response.json()["response"]["content"]
            print(f"✓ Generated summary (Call 3/3)")

            # Step 5: Complete job (triggers 1 credit deduction)
            completion_response = requests.post(
                f"{self.base_url}/api/jobs/{job_id}/complete",
                headers=self.headers,
                json={
                    "status": "completed",
                    "metadata": {
                        "result": "success",
                        "summary_length": len(exec_summary)
                    }
                }
            )
            completion_data = completion_response.json()

            print(f"\n✅ Job completed!")
            print(f"   Total calls: {completion_data['costs']['total_calls']}")
            print(f"   Total USD cost: ${completion_data['costs']['total_cost_usd']:.4f}")
            print(f"   Credit charged: {completion_data['costs']['credit_applied']}")
            print(f"   Credits remaining: {completion_data['costs']['credits_remaining']}")

            return {
                "parsed_data": parsed_data,
                "comparison": comparison_result,
                "executive_summary": exec_summary,
                "costs": completion_data["costs"]
            }

        except Exception as e:
            # If anything fails, mark job as failed (no credit charge)
            requests.post(
                f"{self.base_url}/api/jobs/{job_id}/complete",
                headers=self.headers,
                json={
                    "status": "failed",
                    "error_message": str(e)
                }
            )
            print(f"❌ Job failed: {e} (no credit charged)")
            raise

