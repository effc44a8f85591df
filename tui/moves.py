"""The movements of the key table, as distances; the same in every list."""

from __future__ import annotations


def distance(step: str, height: int, whole: int) -> int:
    """Lines that a movement goes down (or, negative, up) in a view of ``height`` lines.

    ``whole``: at least as many as there are.
    """
    page = max(1, height - 1)
    return {
        "up": -1,
        "down": 1,
        "page_up": -page,
        "page_down": page,
        "half_up": -(page // 2 or 1),
        "half_down": page // 2 or 1,
        "top": -whole,
        "bottom": whole,
    }[step]
