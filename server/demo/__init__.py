"""The demo: a simulated vendor and scripted sessions; relay, ledger and prices are the real ones."""
