"""The way of an LLM call: web admits and dispatches it, a worker runs it, web answers.

dispatch (web)   admit → publish → wait for the reply
runner (worker)  claim → try the group's models in order → record the outcome → send the reply
statements       the three SQL statements of it, one round trip each
replies          how a reply travels from worker to web through Redis
pool             the Celery worker pool that runs calls as coroutines
"""
