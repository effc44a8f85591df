"""The HTTP surface of the engine."""
