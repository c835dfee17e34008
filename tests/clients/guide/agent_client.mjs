import OpenAI from 'openai';

class AgentModelClient {
  constructor(saasApiUrl, llmProxyUrl, teamId, virtualKey) {
    this.saasApiUrl = saasApiUrl;
    this.teamId = teamId;
    this.virtualKey = virtualKey;

    // Initialize OpenAI client with LiteLLM proxy
    this.openai = new OpenAI({
      apiKey: virtualKey,
      baseURL: llmProxyUrl
    });

    // Cache for resolved models
    this.modelCache = {};
  }

  async getModelForAgent(agentType) {
    if (!this.modelCache[agentType]) {
      const response = await fetch(
        `${this.saasApiUrl}/api/model-groups/${agentType}/resolve?team_id=${this.teamId}`
      );

      if (!response.ok) throw new Error(`Failed to resolve ${agentType}`);

      const data = await response.json();

      if (!data.team_has_access) {
        throw new Error(`Team doesn't have access to ${agentType}`);
      }

      this.modelCache[agentType] = data.primary_model;
    }

    return this.modelCache[agentType];
  }

  async chat(agentType, messages) {
    const model = await this.getModelForAgent(agentType);

    return await this.openai.chat.completions.create({
      model,  // Actual model name from API
      messages
    });
  }
}

