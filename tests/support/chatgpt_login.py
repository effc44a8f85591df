"""A ChatGPT login that nobody issued: Codex takes it as real, no server would."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from providers.types import Headers

ACCOUNT = b"acct-0000-made-up"
_CLAIMS = "https://api.openai.com/auth"
_FAR_OFF = 4_102_444_800
"""The year 2100: it is never refreshed, which would need the network."""


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def token() -> str:
    """A JSON Web Token with the claims Codex looks for, and no true signature."""
    claims = {
        "email": "somebody@example.com",
        "exp": _FAR_OFF,
        _CLAIMS: {
            "chatgpt_account_id": ACCOUNT.decode(),
            "chatgpt_plan_type": "pro",
            "chatgpt_user_id": "user-made-up",
        },
    }
    return ".".join([_part({"alg": "RS256", "typ": "JWT"}), _part(claims), "c2lnbmF0dXJl"])


def login_headers() -> Headers:
    """The fields in which Codex sends it."""
    return [
        (b"authorization", f"Bearer {token()}".encode()),
        (b"chatgpt-account-id", ACCOUNT),
    ]


def seed(codex_home: Path) -> None:
    """Put the login where Codex keeps it."""
    stored = {
        "OPENAI_API_KEY": None,
        "auth_mode": "chatgpt",
        "tokens": {
            "id_token": token(),
            "access_token": token(),
            "refresh_token": "made-up",
            "account_id": ACCOUNT.decode(),
        },
        "last_refresh": "2099-01-01T00:00:00Z",
    }
    (codex_home / "auth.json").write_text(json.dumps(stored))
