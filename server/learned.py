"""What providers' models were seen to refuse, so that it is refused only once.

Kept for the life of the process and a day at most: models change, and one request is a small
price for finding out. Resetting a provider forgets what was learned about it.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from providers.faults import Fault
from providers.refusals import NOTHING, Refusals, refused
from providers.traits import Traits, traits_of
from server.clock import Clock

REMEMBERED_S: Final = 86_400.0
MOST_MODELS: Final = 256
"""Of more, what was learned first is forgotten; names of models may come from clients."""

_log = logging.getLogger("sbgw.learned")


@dataclass(frozen=True, slots=True)
class _Lesson:
    refusals: Refusals
    until: float


class Learned:
    """By provider and model; belongs to the loop's thread, ``traits`` may be asked on any."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lessons: OrderedDict[tuple[str, str], _Lesson] = OrderedDict()

    def traits(self, provider: str, model: str) -> Traits:
        """What the tables say of a model, less what it was seen to refuse."""
        return self._of(provider, model).applied(traits_of(provider, model))

    def learn(
        self, provider: str, model: str, fault: Fault, sent: Mapping[str, Any]
    ) -> tuple[str, ...] | None:
        """Take in a refusal of a request with the fields ``sent``; what is new, in words.

        Nothing is new to a request that was under way when another one was refused; ``None`` when
        there is nothing to be learned.
        """
        lesson = refused(fault, sent)
        if lesson == NOTHING:
            return None
        known = self._of(provider, model)
        found = known | lesson
        news = tuple(word for word in found.words() if word not in known.words())
        if not news:
            return ()
        key = (provider, model)
        self._lessons[key] = _Lesson(found, self._clock.monotonic() + REMEMBERED_S)
        self._lessons.move_to_end(key)
        if len(self._lessons) > MOST_MODELS:
            self._lessons.popitem(last=False)
        _log.warning("%s/%s: learned: %s", provider, model, ", ".join(news))
        return news

    def forget(self, provider: str) -> None:
        """Take everything about a provider for unknown again."""
        for key in [key for key in self._lessons if key[0] == provider]:
            del self._lessons[key]

    def as_json(self, provider: str) -> dict[str, list[str]]:
        """What was learned about each of a provider's models, in words."""
        return {
            model: list(self._of(provider, model).words())
            for name, model in list(self._lessons)
            if name == provider and self._of(provider, model) is not NOTHING
        }

    def _of(self, provider: str, model: str) -> Refusals:
        lesson = self._lessons.get((provider, model))
        if lesson is None or lesson.until <= self._clock.monotonic():
            return NOTHING
        return lesson.refusals
