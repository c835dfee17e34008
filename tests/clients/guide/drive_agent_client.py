"""What the guide prints after the class, with URL, team and key from the command line."""

import json
import sys

from agent_client import AgentModelClient

base_url, team_id, virtual_key, agent_type = sys.argv[1:]
client = AgentModelClient(
    saas_api_url=base_url, llm_proxy_url=base_url, team_id=team_id, virtual_key=virtual_key
)
response = client.chat(
    agent_type=agent_type,
    messages=[
        {"role": "system", "content": "You are a resume analyzer."},
        {"role": "user", "content": "Analyze this resume..."},
    ],
)
response2 = client.chat(agent_type, [{"role": "user", "content": "And this one."}])
print(json.dumps({"texts": [one.choices[0].message.content for one in (response, response2)], "model": response.model}))
