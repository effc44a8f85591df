"""OpenAI Responses: reading requests, responses and event streams."""
