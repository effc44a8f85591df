"""Anthropic Messages: reading requests, responses and event streams."""
