"""A Messages body for a cheaper model of the same vendor: only what that model refuses changes.

The client wrote the body for another model. Fields the new one does not take would be refused with
a 400, so they are left out or brought into its limits, as ``data/traits.toml`` says; everything
else stays byte for byte, which also keeps the prompt cache of the new model warm.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

import msgspec

from providers.neutral import Notes
from providers.protocols import peek
from providers.traits import Traits
from providers.types import Headers

THINKING, EFFORT = "thinking.adaptive", "output_config.effort"
"""What ``Traits.unsupported`` may name beside plain top-level fields."""

_BETA = b"anthropic-beta"


def adapt(body: bytes, model: str, traits: Traits) -> tuple[bytes, Notes]:
    """``body`` as ``model`` takes it, and what that cost; raises ``BadRequest`` without a model."""
    fields = peek.read_object(body)
    changes: dict[str, bytes | None] = {
        name: None for name in traits.unsupported if name in fields and name != "model"
    }
    changes["model"] = msgspec.json.encode(model)
    asked = peek.int_of(fields.get("max_tokens"))
    if asked is not None and traits.max_output is not None and asked > traits.max_output:
        changes["max_tokens"] = str(traits.max_output).encode()
    thinking = peek.read_fields(fields.get("thinking"))
    if THINKING in traits.unsupported and peek.text_of(thinking.get("type")) == "adaptive":
        changes["thinking"] = None
    if EFFORT in traits.unsupported and "output_config" in fields:
        changes["output_config"] = _without_effort(fields["output_config"])
    dropped = sorted(name for name, value in changes.items() if value is None)
    degraded = sorted(name for name, value in changes.items() if value and name != "model")
    return peek.edit(body, changes), Notes(tuple(dropped), tuple(degraded))


def _without_effort(raw: msgspec.Raw) -> bytes | None:
    left = peek.edit(bytes(raw), {"effort": None})
    return None if not peek.read_fields(msgspec.Raw(left)) else left


def adapt_headers(headers: Headers, traits: Traits) -> Headers:
    """``headers`` without the betas that are bound to other models."""
    if not traits.refused_betas:
        return headers
    out: Headers = []
    for name, value in headers:
        if name.lower() != _BETA:
            out.append((name, value))
            continue
        betas = [beta.strip() for beta in value.decode("latin-1").split(",")]
        kept = [beta for beta in betas if not _is_refused(beta, traits)]
        if kept == betas:
            out.append((name, value))
        elif kept:
            out.append((name, ",".join(kept).encode("latin-1")))
    return out


def _is_refused(beta: str, traits: Traits) -> bool:
    return any(fnmatchcase(beta, pattern) for pattern in traits.refused_betas)
