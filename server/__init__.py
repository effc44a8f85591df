"""The engine: settings, routing, relay, ledger and the HTTP surface; never imports a UI."""
