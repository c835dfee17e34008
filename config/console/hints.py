"""What an empty list says: what would be in it, and what to do next."""

#: By "app.model".
HINTS: dict[str, str] = {
    "tenancy.organization": (
        "An organization is a customer. Open the first one here, by POST /api/organizations/create, or by "
        "manage.py create_organization."
    ),
    "tenancy.team": (
        "A team holds keys, credits and model groups. It needs an organization; then open it here, by POST "
        "/api/teams/create, or by manage.py create_team. Its first key is shown once."
    ),
    "tenancy.virtualkey": ("Keys come with teams. Open a team, and hand its first key to the app that is to use it."),
    "tenancy.teamuser": (
        "Users appear when an app names one: as user_id of a job, or as user in a call of an OpenAI client."
    ),
    "tenancy.userlimit": ("No user is limited. Limits are set on a user's page, or by PATCH …/users/{user_id}."),
    "tenancy.operatorkey": (
        "Operators' programs need a key for the API: manage.py create_operator_key NAME prints one."
    ),
    "tenancy.webhookendpoint": (
        "Nobody is told of anything yet. Teams and operators add endpoints by POST /api/webhooks."
    ),
    "tenancy.webhookdelivery": ("Deliveries appear once there is an endpoint and something has happened to its teams."),
    "tenancy.webhookevent": (
        "Events are written where an endpoint subscribes to them. There is none yet, or it is quiet."
    ),
    "tenancy.alert": ("Nothing has needed attention so far. Alerts open by themselves, and close when they are over."),
    "tenancy.auditentry": ("Nothing has been changed yet. From the first organization on, every change is here."),
    "modelgroups.modelgroup": (
        "A model group is what apps ask instead of a model: models in the order in which they are tried. Make "
        "the first here, or by POST /api/model-groups/create, then assign it to a team."
    ),
    "modelgroups.groupmodel": ("Models come with their group: make a model group first."),
    "modelgroups.groupassignment": ("No team may use a group yet. Assign groups on the team's page."),
    "modelgroups.providercredential": (
        "Without one, providers' keys come from the environment. Add one to keep it here, encrypted."
    ),
    "jobs.job": (
        "No job has been opened. Give a team credits and a model group; then its app opens one by POST "
        "/api/jobs/create with the team's key."
    ),
    "jobs.call": (
        "Calls are made in a job, by POST /api/jobs/{job_id}/llm-call, or on OpenAI's paths, such as "
        "POST /v1/chat/completions, where they may be direct: without a job."
    ),
    "jobs.attempt": ("Each call tries the group's models in their order. There has been no call yet."),
    "jobs.callprocess": ("No web process or worker has reported. Start them (Procfile), and look at /health."),
    "billing.ledgerentry": (
        "No credit has moved. Top up a team's credits on its page, or by POST /api/credits/teams/{team_id}/add."
    ),
    "billing.creditaccount": ("Accounts come with teams: open a team first."),
    "billing.credithold": ("Every open job holds one credit. There is none."),
    "billing.creditgrant": (
        "Grants are credits with a kind, a priority and perhaps an end. Top up a team to make one."
    ),
    "billing.refill": (
        "Nobody has been refilled. Upload a CSV file, run manage.py refill_credits, or set a refill policy."
    ),
    "billing.refillupload": (
        "Upload a CSV file with the header team,amount,reason. It is shown first, and carried out when you say so."
    ),
    "billing.refillpolicy": (
        "No team is refilled by itself. PUT /api/credits/teams/{team_id}/refill-policy sets a policy."
    ),
    "billing.ledgercheck": ("The books are checked every night. The button above checks them now."),
    "billing.proxyteam": ("Teams are kept in step with a LiteLLM Proxy where LITELLM_PROXY_URL names one."),
    "billing.proxydrift": ("Nothing has been found to differ at the LiteLLM Proxy."),
    "billing.proxyspend": (
        "What teams spend at the LiteLLM Proxy with their own keys is read from it, some minutes late."
    ),
}
