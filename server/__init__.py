"""The engine: settings, routing, relay, ledger and the HTTP surface; never imports a UI."""

__version__ = "0.1.0"
