"""Request classification: route class, kind, offload, confidence and reasons; pure."""

from server.classify.client import ClientFacts, client_facts
from server.classify.entries import AnyRequest
from server.classify.intent import (
    CLASSIFIER_VERSION,
    LONG_CONTEXT_TOKENS,
    ROUTES,
    Intent,
    classify,
)
from server.classify.kinds import KINDS, NATIVE_KINDS
from server.classify.score import Score, Scorer
from server.classify.trained import warm

__all__ = [
    "CLASSIFIER_VERSION",
    "KINDS",
    "LONG_CONTEXT_TOKENS",
    "NATIVE_KINDS",
    "ROUTES",
    "AnyRequest",
    "ClientFacts",
    "Intent",
    "Score",
    "Scorer",
    "classify",
    "client_facts",
    "warm",
]
