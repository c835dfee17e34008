# Create organization
curl -X POST https://llm-saas.usegittie.com/api/organizations/create \
  -H "Content-Type: application/json" \
  -d '{
    "organization_id": "org_your_company",
    "name": "Your Company",
    "metadata": {"tier": "premium"}
  }'

# Create model groups
curl -X POST https://llm-saas.usegittie.com/api/model-groups/create \
  -H "Content-Type: application/json" \
  -d '{
    "group_name": "ChatAgent",
    "display_name": "Chat Agent",
    "description": "General purpose chat",
    "models": [
      {"model_name": "gpt-3.5-turbo", "priority": 0},
      {"model_name": "gpt-4", "priority": 1}
    ]
  }'

# Create team with credits
curl -X POST https://llm-saas.usegittie.com/api/teams/create \
  -H "Content-Type: application/json" \
  -d '{
    "organization_id": "org_your_company",
    "team_id": "team_engineering",
    "team_alias": "Engineering Team",
    "model_groups": ["ChatAgent"],
    "credits_allocated": 1000,
    "metadata": {"department": "engineering"}
  }'
