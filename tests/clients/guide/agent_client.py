from openai import OpenAI
import requests

class AgentModelClient:
    def __init__(self, saas_api_url, llm_proxy_url, team_id, virtual_key):
        self.saas_api_url = saas_api_url
        self.team_id = team_id
        self.virtual_key = virtual_key

        # Initialize OpenAI client with LiteLLM proxy
        self.openai = OpenAI(
            api_key=virtual_key,
            base_url=llm_proxy_url
        )

        # Cache for resolved models (per session)
        self.model_cache = {}

    def get_model_for_agent(self, agent_type: str) -> str:
        """
        Resolve agent type to actual model name.
        Caches result for session duration.
        """
        if agent_type not in self.model_cache:
            response = requests.get(
                f"{self.saas_api_url}/api/model-groups/{agent_type}/resolve",
                params={"team_id": self.team_id}
            )
            response.raise_for_status()
            data = response.json()

            if not data.get("team_has_access"):
                raise PermissionError(f"Team doesn't have access to {agent_type}")

            self.model_cache[agent_type] = data["primary_model"]

        return self.model_cache[agent_type]

    def chat(self, agent_type: str, messages: list):
        """
        Make a chat completion using the agent's resolved model.
        """
        model = self.get_model_for_agent(agent_type)

        return self.openai.chat.completions.create(
            model=model,  # Actual model name from API
            messages=messages
        )

