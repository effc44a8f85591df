"""Request classification: route class, kind, offload, confidence and reasons; pure."""
