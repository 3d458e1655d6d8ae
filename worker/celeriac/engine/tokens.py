"""Tokens: who holds the one of an attempt may say how it ended, from outside.

Owns: what a token is made of, how one is given out and recognised, and what is written when a
result comes.  Refuses to know: whether that result still counts (`machine`), how it reached us, and
what type it must be of.

A token names its run, step and attempt, and ends with 256 random bits.  Only a digest of these is
kept, with the payloads of the run: nothing that is stored, logged or shown makes a token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from celeriac.engine.committing import Committer
from celeriac.errors import (
    CommandRefused,
    TokenRefused,
    TokenSettled,
    TokenUnknown,
    TokenVoid,
)
from celeriac.machine import (
    CheckAttempt,
    Complete,
    Event,
    EventKind,
    Fail,
    Transition,
    as_visited,
    in_any_visit,
    transition,
    try_of,
)
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.engine.attempts import Attempt
    from celeriac.machine import Node, Plan, Run
    from celeriac.store import Snapshot

T = TypeVar("T")

_LONGEST = 4_096  # characters of a token that are looked at
_NOBODY = ("", 1, "", 0)  # what a text names that is no token


class Named(NamedTuple):
    """The attempt that a token is of."""

    run_id: str
    epoch: int
    step: str
    attempt: int


class Said(NamedTuple):
    """How an attempt ended, as somebody outside says: its result, or how it failed."""

    text: str  # JSON
    error: str = ""  # the kind of failure; empty: it succeeded
    code: str | None = None
    effect: bool | None = None
    again: bool = False  # the step may be tried again
    by: str = ""  # who says so; the same from another is the same

    @property
    def digest(self) -> str:
        """What tells one from another."""
        canonical = json.dumps(
            [bool(self.error), self.again, json.loads(self.text)], sort_keys=True
        )
        return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()


class Brought(NamedTuple):
    """What became of a result from outside."""

    plan: Plan
    done: Transition
    now: int  # ms
    refused: TokenRefused | None = (
        None  # it does not count; what follows is to be sent all the same
    )


def written(named: Named, secret: str) -> str:
    """Return a token as text that may stand in an address."""
    text = json.dumps(list(named), ensure_ascii=False, separators=(",", ":"))
    return f"{base64.urlsafe_b64encode(text.encode()).decode().rstrip('=')}.{secret}"


def read(token: object) -> tuple[Named, str]:
    """Return what a token names, and its secret; of anything else, what no run has."""
    text = token if isinstance(token, str) and len(token) <= _LONGEST else ""
    front, _, secret = text.partition(".")
    try:
        padded = front + "=" * (-len(front) % 4)
        run_id, epoch, step, attempt = json.loads(base64.urlsafe_b64decode(padded))
        named = Named(str(run_id), int(epoch), str(step), int(attempt))
        f"{named.run_id}{named.step}".encode()  # or no store could be asked for it
    except (ValueError, TypeError, OverflowError, binascii.Error, RecursionError):
        return Named(*_NOBODY), secret
    return named, secret


def digest_of(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "backslashreplace")).hexdigest()[:32]


class TokenWork(Committer):
    """Giving out tokens, and taking results."""

    def give_token(self, attempt: Attempt) -> str:
        """Return a token of an attempt that is at work, and keep its digest.

        Raises CommandRefused if the attempt no longer counts, or its run has turned round.
        """
        d, secret = attempt.delivery, secrets.token_urlsafe(32)
        command = CheckAttempt(d.step, d.phase, d.attempt, attempt.holder, d.epoch)
        fields = {payloads.token_field(d.step, d.attempt): digest_of(secret)}
        self.command(d.run_id, command, fields=fields)
        return written(Named(d.run_id, d.epoch, d.step, d.attempt), secret)

    def bring(self, token: str, say: Callable[[Node], Said]) -> Brought:
        """Take a result from outside; *say* makes it, for the step that the token is of.

        Raises TokenUnknown; TokenVoid if the attempt no longer counts (what it may have done is on
        record then); TokenSettled if it has ended in another way; and whatever *say* raises.
        """
        named, secret = read(token)
        # Each try of a run has payloads of its own.
        kept_in = payloads.in_try(payloads.token_field(named.step, named.attempt), named.epoch)

        def once() -> Brought:
            found = self.store.read(named.run_id, (kept_in,))
            kept, _, before = found.fields.get(kept_in, "").partition(" ")
            # One read and one digest for each: what costs more would tell of what there is.
            known = hmac.compare_digest(kept, digest_of(secret))
            if found.run is None or not known:
                raise TokenUnknown
            of_token = try_of(found.run, named.step, named.epoch) or found.run
            plan = as_visited(self.store.plan(named.run_id, found.run.plan), of_token)
            # A life of the run that nobody knows any more may have visited other groups.
            node = plan.find(named.step) or plan.whole.node(in_any_visit(named.step))
            said = say(node)
            if before and before != said.digest:
                raise TokenSettled("another result came with it before, and that one counts")
            if before:
                return Brought(plan, Transition(found.run, (), ()), found.now)
            return self._brought(plan, found, named, said, f"{kept} {said.digest}")

        return self._until_committed(once)

    def _brought(
        self, plan: Plan, found: Snapshot, named: Named, said: Said, known: str
    ) -> Brought:
        run = found.run
        assert run is not None  # it was looked for before
        command = _command(run, named, said)
        try:
            decided = transition(plan, run, command, found.now)
        except CommandRefused:
            raise TokenVoid("its run began anew") from None
        fields = fields_of_result(decided.events, named.step, said)
        if fields:
            fields[payloads.token_field(named.step, named.attempt)] = known
        self._commit(plan, found, command, decided, fields)
        return Brought(plan, decided, found.now, _refusal(decided, named))


def _refusal(done: Transition, named: Named) -> TokenRefused | None:
    """The error that tells what became of a result that does not count; None if it does."""
    of_token = try_of(done.run, named.step, named.epoch)
    if of_token is None or (of_token is not done.run and not done.events):
        return TokenVoid("its run has begun anew")
    direction = of_token.step(named.step).do
    if named.attempt in direction.late:
        if any(event.kind is EventKind.COMPLETED for event in done.events) and not of_token.why:
            return None  # no other attempt was begun yet
        return TokenVoid("its attempt was given up; what came late is on record")
    if not done.events and not direction.kept:
        return TokenSettled("the step has ended in another way")
    return None


def _command(run: Run, named: Named, said: Said) -> Complete | Fail:
    holder = (try_of(run, named.step, named.epoch) or run).step(named.step).do.holder
    token = (named.step, "do", named.attempt, holder, named.epoch)
    if not said.error:
        return Complete(*token, outside=True, by=said.by)  # type: ignore[arg-type]  # a literal
    return Fail(
        *token,  # type: ignore[arg-type]
        kind="error" if said.again else "abort",
        error=said.error,
        code=said.code,
        effect=said.effect,
        outside=True,
        by=said.by,
    )


def fields_of_result(events: Sequence[Event], step: str, said: Said) -> dict[str, str]:
    """What is written of a result: what counts now, or is kept until its attempt has ended."""
    for event in events:
        if event.step != step or event.phase != "do":
            continue
        if event.kind is EventKind.KEPT:
            return {payloads.kept_field(step): said.text}
        if event.kind is EventKind.COMPLETED:
            return {payloads.output_field(step): said.text}
        if event.kind is EventKind.FAILED:
            return {payloads.error_field(step, "do"): said.text}
    return {}
