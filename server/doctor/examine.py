"""Judges the facts; pure."""

from __future__ import annotations

from server.doctor import (
    check_clients,
    check_features,
    check_gateway,
    check_machine,
    check_providers,
    check_settings,
)
from server.doctor.facts import Facts
from server.doctor.finding import Finding

_CHECKS = (
    check_machine.check,
    check_settings.check,
    check_gateway.check,
    check_providers.check,
    check_clients.check,
    check_features.check,
)


def examine(facts: Facts) -> list[Finding]:
    """Every finding, theme by theme, in the order in which to mend them."""
    return [finding for check in _CHECKS for finding in check(facts)]
