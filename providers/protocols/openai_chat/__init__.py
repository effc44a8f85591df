"""OpenAI Chat Completions: reading requests, responses and event streams."""
