"""Runs comparisons in the background, after the real answer is out; nothing waits for it.

    planned   is it a turn to learn from? then its answer is overheard (a copy, never a change)
    finished  the answer is out, whole and recorded: wait for a free place, then ask and compare

Whoever is asked is paid with our own key, never with a client's credential. What a turn teaches
without asking (did a candidate that really served give a usable answer?) needs no consent, because
nothing leaves for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from providers.neutral import Answer, CannotCarry, Request
from providers.profiles import ProviderSettings
from providers.protocols.dialects import DIALECTS
from providers.types import Delivery, Payer, UsageSource
from providers.upstream import Upstream
from server.classify.outline import outline
from server.config import VerificationSettings
from server.credentials import Credential
from server.exchange import Exchange
from server.ledger_scores import Scored, score_row
from server.limits import plans
from server.planning import Planner
from server.policy import Plan, Target, may_verify
from server.record import Status, Turn
from server.services import Services
from server.tasks import spawn
from server.verification import checks
from server.verification.ask import Reply, Unaskable, ask, read_answer, write
from server.verification.book import Ladder
from server.verification.budget import Budget, Share
from server.verification.checks import Score
from server.verification.job import Copy, Job
from server.verification.ladder import Key, Outcome
from server.verification.masking import has_media, masked
from server.verification.redos import HUMAN, Redos
from server.verification.sampling import draw, is_sampled

_log = logging.getLogger("sbgw.verification")

AT_ONCE: Final = 2
MOST_WAITING: Final = 16
"""Turns that wait for a free place, with their texts; of more, none is taken."""
MOST_OUTPUT: Final = 4096
"""Tokens of an answer that are reckoned with where the client names no limit."""

_UNUSABLE: Final = frozenset({"http_400", "http_422"})
"""Outcomes of an attempt that say it cannot serve such a request; failures that come and go are
the breaker's."""


class Verifier:
    """One for an engine; belongs to the loop's thread. ``refuses`` as ``Health.refuses``."""

    def __init__(
        self,
        services: Services,
        planner: Planner,
        ladder: Ladder,
        refuses: Callable[[str, str | None], str | None],
    ) -> None:
        self._services = services
        self._planner = planner
        self._ladder = ladder
        self._refuses = refuses
        self.budget = Budget(services.clock)
        self._share = Share(services.clock, plans(services.settings.providers), services.windows)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._jobs: dict[str, Job] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._skipped: Counter[str] = Counter()
        self._redos = Redos()

    # ------------------------------------------------------------------ called by the dispatcher

    def planned(self, exchange: Exchange, readable: bytes, plan: Plan) -> None:
        """A request is about to be tried; never raises."""
        try:
            self._listen(exchange)
            found = self._job(exchange, readable, plan)
        except Exception:
            _log.exception("turn %s cannot be looked at", exchange.turn.id)
            return
        if found is not None:
            exchange.sink.overhear(found.copy.hear)
            self._jobs[exchange.turn.id] = found

    def finished(self, exchange: Exchange) -> None:
        """The exchange is over and recorded; never raises and never waits."""
        job = self._jobs.pop(exchange.turn.id, None)
        if job is None or self._services.is_draining():
            return
        if len(self._running) >= MOST_WAITING:
            self._skipped["too many are waiting"] += 1
            return
        task = spawn("verify", self._look(job))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def aclose(self) -> None:
        """End what runs."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def as_json(self) -> dict[str, Any]:
        """``snapshot["verifier"]``."""
        settings = self._settings
        return {
            "consent": settings.consent,
            "sample_percent": settings.sample_percent,
            "live_percent": settings.live_percent,
            "quota_share": settings.quota_share,
            "daily_budget_usd": float(settings.daily_budget_usd),
            "spent_today_usd": round(self.budget.spent_usd, 9),
            "waiting": len(self._running),
            "skipped": dict(self._skipped.most_common()),
            "leases": [lease.as_json() for lease in self._ladder.leases],
        }

    # ------------------------------------------------------------------ which turns

    @property
    def _settings(self) -> VerificationSettings:
        return self._services.settings.verification

    def _job(self, exchange: Exchange, readable: bytes, plan: Plan) -> Job | None:
        turn, proposal = exchange.turn, plan.proposal
        if proposal is None or proposal.model is None:
            return None
        candidate = Target(proposal.provider, proposal.model)
        if proposal.state == "moved":
            home = self._home(exchange, plan)
            return Job(exchange, readable, candidate, home, Copy())
        if proposal.state not in ("would_move", "observed") or not self._may_ask(turn, plan):
            return None
        standing = self._ladder.standing(Key(turn.kind, candidate.provider, proposal.model))
        percent = self._settings.sample_percent
        if not is_sampled(turn.id, standing, percent, self._services.clock.time()):
            return None
        return Job(exchange, readable, candidate, candidate, Copy())

    def _may_ask(self, turn: Turn, plan: Plan) -> bool:
        if not self._settings.consent:
            return False
        base = plan.targets[0]
        is_downgrade = plan.proposal is not None and plan.proposal.provider == base.provider
        routing = self._services.settings.routing
        return may_verify(routing, turn.route, turn.kind, is_downgrade=is_downgrade)

    def _home(self, exchange: Exchange, plan: Plan) -> Target | None:
        """Its own vendor, where a moved turn is compared with it: on a key of ours alone."""
        settings, turn, home = self._settings, exchange.turn, plan.targets[-1]
        if not settings.consent or draw(turn.id) >= settings.live_percent:
            return None
        inbound = exchange.inbound
        paid: Credential | None = self._planner.credential(
            turn.protocol, inbound.access, inbound.headers, home.provider
        )
        if paid is None or paid.payer is not Payer.GATEWAY_KEY:
            return None
        model = home.model or turn.model_asked
        return None if model is None else Target(home.provider, model)

    # ------------------------------------------------------------------ after the last byte

    async def _look(self, job: Job) -> None:
        turn = job.turn
        if job.candidate != job.asked:
            self._judge_attempt(job)
        if not _is_delivered(turn, job):
            return
        async with self._slots:
            try:
                request = _read(job)
                real = _real(job, request)
                if job.candidate != job.asked:
                    self._judge_alone(job, request, real)
                if job.asked is not None:
                    await self._compare(job, job.asked, request, real)
            except Unaskable as reason:
                self._skipped[str(reason)] += 1

    def _judge_attempt(self, job: Job) -> None:
        """A candidate that was to serve and gave nothing usable."""
        tried = [
            attempt
            for attempt in job.turn.attempts
            if attempt.provider == job.candidate.provider and attempt.model == job.model
        ]
        if tried and tried[-1].outcome in _UNUSABLE:
            self._moved(job, is_hard=True)

    def _judge_alone(self, job: Job, request: Request, real: Answer) -> None:
        """A candidate that served: nobody compares it, so whatever fails makes it unusable."""
        turn = job.turn
        if turn.provider == job.candidate.provider and turn.attempts[-1].model == job.model:
            score = checks.alone(request, turn.kind, real)
            self._moved(job, is_hard=not score.passed)
            self._wait_for_words(job)

    def _wait_for_words(self, job: Job) -> None:
        """What its user says within the next minute may count against the answer."""
        turn, request = job.turn, job.exchange.request
        if turn.session is None or request is None or turn.kind not in HUMAN:
            return
        key = Key(turn.kind, job.candidate.provider, job.model)
        now = self._services.clock.monotonic()
        self._redos.answered(turn.session, outline(request).human, key, turn.route, now)

    def _listen(self, exchange: Exchange) -> None:
        """Whether this request shows that the session's last moved answer was poor."""
        turn, request, now = exchange.turn, exchange.request, self._services.clock.monotonic()
        if (
            turn.kind not in HUMAN
            or request is None
            or not self._redos.waits_for(turn.session, now)
        ):
            return
        said = outline(request)
        poor = self._redos.asked(
            turn.session or "", said.human, interrupted=said.interrupted, now=now
        )
        if poor is not None:
            at = self._services.clock.time()
            self._ladder.moved(poor.key, poor.route, at=at, hard=True)

    def _moved(self, job: Job, *, is_hard: bool) -> None:
        turn = job.turn
        key = Key(turn.kind, job.candidate.provider, job.model)
        self._ladder.moved(key, turn.route, at=self._services.clock.time(), hard=is_hard)

    async def _compare(self, job: Job, asked: Target, request: Request, real: Answer) -> None:
        turn = job.turn
        if job.is_reverse and turn.provider != job.candidate.provider:
            # The candidate failed and its own vendor answered: there is nothing to compare.
            return
        upstream, provider = self._where(asked)
        tokens = sum(turn.estimates.values())
        model = asked.model or ""
        outgoing = write(
            masked(request, job.exchange.inbound.access.redact), provider, model, tokens
        )
        reserved = self._admit(turn, asked, upstream, tokens)
        cost = 0.0
        try:
            reply = await ask(upstream, provider, outgoing, request, self._services.clock)
            self._services.windows.note(reply.limits)
            known = self._cost(asked, reply)
            # What is not known is not shown, but it is not spent twice either.
            cost = reserved if known is None else known
        finally:
            self.budget.settle(reserved, cost)
        self._score(job, request, real, reply, known)

    def _where(self, asked: Target) -> tuple[Upstream, ProviderSettings]:
        upstream = self._services.upstreams.get(asked.provider)
        if upstream is None or upstream.own_credential is None:
            raise Unaskable("its key is not set")
        if self._refuses(asked.provider, asked.model) is not None:
            raise Unaskable("it takes nothing now")
        if not self._settings.consent or self._services.is_draining():
            raise Unaskable("it was taken back while it waited")
        return upstream, self._services.settings.provider(asked.provider)

    def _admit(self, turn: Turn, asked: Target, upstream: Upstream, tokens: int) -> float:
        """Room in money and quota, booked; the money that is reserved."""
        settings = self._settings
        usd = self._most(turn, asked, upstream, tokens)
        if not self.budget.reserve(usd, float(settings.daily_budget_usd)):
            raise Unaskable("the day's budget is spent")
        if self._share.refuses(
            asked.provider, settings.quota_share, tokens_in=tokens, max_tokens=turn.max_tokens
        ):
            self.budget.settle(usd, 0.0)
            raise Unaskable("its share of the quota is used up")
        return usd

    def _most(self, turn: Turn, asked: Target, upstream: Upstream, tokens: int) -> float:
        now = datetime.fromtimestamp(self._services.clock.time(), UTC)
        rates = self._services.prices.rates(provider=asked.provider, model=asked.model, at=now)
        if rates is None or rates.input is None or rates.output is None:
            if not upstream.own_credential:
                # A server that asks for no key sends no bill.
                return 0.0
            raise Unaskable("its price is not known")
        output = min(turn.max_tokens or MOST_OUTPUT, MOST_OUTPUT)
        total = rates.input.at(tokens) * tokens + rates.output.at(tokens) * output
        return float(total) / 1e6

    def _cost(self, asked: Target, reply: Reply) -> float | None:
        if not isinstance(reply.answer, Answer):
            return None
        now = datetime.fromtimestamp(self._services.clock.time(), UTC)
        cost = self._services.prices.cost(
            provider=asked.provider,
            model=asked.model,
            usage=reply.usage,
            at=now,
            source=UsageSource.FINAL if reply.usage.is_known else UsageSource.NONE,
        )
        return None if cost.usd is None else float(cost.usd)

    def _score(
        self, job: Job, request: Request, real: Answer, reply: Reply, cost: float | None
    ) -> None:
        turn, now = job.turn, self._services.clock.time()
        if job.is_reverse:
            if not isinstance(reply.answer, Answer) or not checks.is_whole(reply.answer):
                raise Unaskable("its own vendor gave no whole answer")
            score = checks.compare(request, turn.kind, reply.answer, real)
        else:
            score = checks.compare(request, turn.kind, real, reply.answer)
        key = Key(turn.kind, job.candidate.provider, job.model)
        self._services.ledger.add(score_row(_scored(job, now, score, reply, cost)))
        outcome = Outcome(now, score.passed, score.hard_failed)
        self._ladder.scored(key, turn.route, outcome, score.failed, turn.id)


def _is_delivered(turn: Turn, job: Job) -> bool:
    is_whole = turn.status is Status.COMPLETED and turn.delivery is Delivery.FULL
    return is_whole and job.copy.status == 200 and not job.copy.is_too_long


def _read(job: Job) -> Request:
    try:
        parsed = msgspec.json.decode(job.readable)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Unaskable("its request cannot be read") from error
    request = DIALECTS[job.turn.protocol].read_request(parsed)
    if isinstance(request, CannotCarry):
        raise Unaskable("it cannot be carried there")
    if has_media(request):
        raise Unaskable("a picture or a document is in it")
    return replace(request, stream=False)


def _real(job: Job, request: Request) -> Answer:
    copy = job.copy
    answer = read_answer(job.turn.protocol, copy.headers, bytes(copy.body), request)
    if not isinstance(answer, Answer) or not checks.is_whole(answer):
        raise Unaskable("the real answer is not whole, or cannot be read")
    return answer


def _scored(job: Job, now: float, score: Score, reply: Reply, cost: float | None) -> Scored:
    turn = job.turn
    return Scored(
        turn_id=turn.id,
        at=now,
        kind=turn.kind,
        route=turn.route,
        provider=job.candidate.provider,
        model=job.model,
        source="reverse" if job.is_reverse else "shadow",
        passed=score.passed,
        hard=score.hard_failed,
        checks=score.checks,
        figures=score.figures,
        note=reply.note,
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        cost_usd=cost,
        duration_s=round(reply.duration_s, 3),
        demo=turn.demo,
    )
