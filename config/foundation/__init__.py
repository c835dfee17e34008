"""What every app stands on: the error base, the asyncio database pool, encryption, strict JSON, the API kit.

Imports none of the apps and nothing else of `config` (an import-linter contract holds that).
"""
