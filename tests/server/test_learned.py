"""What is remembered of providers' refusals, and for how long."""

from __future__ import annotations

from fake_clock import FakeClock

from providers.faults import Fault, FaultKind
from providers.traits import traits_of
from server.learned import MOST_MODELS, REMEMBERED_S, Learned

SENT = {"seed": 1, "max_tokens": 5_000}


def refusal(name: str = "seed") -> Fault:
    return Fault(FaultKind.UNSUPPORTED, f"{name} is not supported", 400, param=name)


def test_each_model_is_its_own() -> None:
    learned = Learned(FakeClock())
    assert learned.learn("groq", "a", refusal(), SENT) == ("no seed",)
    assert "seed" in learned.traits("groq", "a").unsupported
    assert learned.traits("groq", "b") == traits_of("groq", "b")
    assert learned.traits("cerebras", "a") == traits_of("cerebras", "a")
    assert learned.as_json("groq") == {"a": ["no seed"]}
    assert learned.as_json("cerebras") == {}


def test_only_what_is_new_is_told() -> None:
    learned = Learned(FakeClock())
    learned.learn("groq", "a", refusal(), SENT)
    assert learned.learn("groq", "a", refusal(), SENT) == ()
    assert learned.learn("groq", "a", refusal("tools"), SENT) is None
    more = Fault(FaultKind.INVALID, "max_tokens: 5000 > 400, the maximum", 400)
    assert learned.learn("groq", "a", more, SENT) == ("at most 400 tokens of output",)
    assert learned.as_json("groq") == {"a": ["no seed", "at most 400 tokens of output"]}


async def test_a_day_later_it_is_asked_again() -> None:
    clock = FakeClock()
    learned = Learned(clock)
    learned.learn("groq", "a", refusal(), SENT)
    await clock.advance(REMEMBERED_S - 1)
    assert "seed" in learned.traits("groq", "a").unsupported
    await clock.advance(1)
    assert learned.traits("groq", "a") == traits_of("groq", "a")
    assert learned.as_json("groq") == {}
    assert learned.learn("groq", "a", refusal(), SENT) == ("no seed",)


def test_a_reset_forgets_one_provider() -> None:
    learned = Learned(FakeClock())
    learned.learn("groq", "a", refusal(), SENT)
    learned.learn("cerebras", "a", refusal(), SENT)
    learned.forget("groq")
    assert (learned.as_json("groq"), learned.as_json("cerebras")) == ({}, {"a": ["no seed"]})


def test_names_from_clients_do_not_pile_up() -> None:
    learned = Learned(FakeClock())
    for number in range(MOST_MODELS + 5):
        learned.learn("groq", f"m{number}", refusal(), SENT)
    assert len(learned.as_json("groq")) == MOST_MODELS
    assert "m0" not in learned.as_json("groq")
