"""Vocabulary, wire formats and upstreams; knows nothing of serving, policy or UI."""
