"""A barrier in a participant's own Redis: the mark of a key in the same MULTI as the effect.

Owns: the marks, and that mark and effect are written together or not at all.  Refuses to know:
the effect, and the state Redis, which holds runs and nothing of participants.

What is atomic here is what is queued in one MULTI: nobody sees half of it, and if the mark was
touched since it was read (WATCH), nothing of it happens.  What Redis does not have is a rollback:
a command that is refused *while* EXEC runs (a wrong type, an overflow) leaves the others done.
The mark then says `broken`: `do` gives up for good, and `undo` is called for what may stand.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from redis.exceptions import ResponseError, WatchError

from celeriac.barrier.remembered import busy, check_direction, dump, key_of, load, undone
from celeriac.errors import Abort, CommandRefused
from celeriac.machine import Duration, duration_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import redis
    from redis.client import Pipeline
    from redis.cluster import RedisCluster

    from celeriac.context import StepContext

T = TypeVar("T")

# Each failed try means that somebody else's transaction went through.
_TRIES = 100


class RedisBarrier:
    """Makes an effect in Redis happen once for each idempotency key, and never after its undo.

    ::

        barrier = RedisBarrier(redis.Redis(...))

        @sagas.step(effect="barrier")
        def reserve(ctx: StepContext, order: Order) -> int:
            def take(tx):                                   # queues its writes, and that is all
                if int(stock.get(order.sku) or 0) < order.quantity:
                    raise Abort("sold out", effect=False)
                tx.decrby(order.sku, order.quantity)
                return order.quantity

            return barrier.do(ctx, take, watch=[order.sku])  # tried again if the stock changes

        @reserve.compensation
        def release(ctx: StepContext, order: Order) -> None:
            barrier.undo(ctx, lambda tx, taken: tx.incrby(order.sku, taken))

    The marks are hashes under *prefix*; each is kept for *keep* after it was last written.  They
    must outlive runs: longer than your longest run and its retention together.  No eviction
    policy may take them away before.  In a Redis Cluster, WATCH and MULTI need mark and effect in
    one slot: give a prefix with the hash tag of the effect's keys.
    """

    def __init__(
        self,
        client: redis.Redis | RedisCluster,
        *,
        prefix: str = "celeriac-barrier:",
        keep: Duration = "90d",
    ) -> None:
        # Any: the two kinds of clients share what is used here, but no type.
        self._client: Any = client
        self._prefix, self._keep = prefix, duration_ms(keep)

    @overload
    def do(
        self,
        ctx: StepContext,
        effect: Callable[[Pipeline], object],
        *,
        watch: Sequence[str] = (),
        part: str = "",
    ) -> Any: ...

    @overload
    def do(
        self,
        ctx: StepContext,
        effect: Callable[[Pipeline], T],
        *,
        returns: type[T],
        watch: Sequence[str] = (),
        part: str = "",
    ) -> T: ...

    def do(
        self,
        ctx: StepContext,
        effect: Callable[[Pipeline], Any],
        *,
        returns: Any = None,
        watch: Sequence[str] = (),
        part: str = "",
    ) -> Any:
        """Take effect, or return the result of the attempt that did.

        *effect* queues its writes in the MULTI it is given and returns the result; it may be
        called again when a key in *watch* changes meanwhile, so it has no effect by itself.  What
        it has to read, it reads with a client of its own.

        Raises Abort without effect (`undone`), Abort (`broken`), BarrierBusy or OutputInvalid.
        """
        check_direction(ctx, "do")

        def decide(mark: _Mark, tx: Pipeline) -> _Decision:
            if mark.undone:
                raise undone(ctx)
            if mark.broken is not None:
                raise Abort(f"a part of it was refused by Redis: {mark.broken}", code="broken")
            if mark.result is not None:
                return _Decision(load(mark.result, returns), {})
            tx.multi()
            text = dump(ctx, effect(tx), returns)
            return _Decision(load(text, returns), {"result": text})

        return self._settle(ctx, part, watch, decide)

    def undo(
        self,
        ctx: StepContext,
        compensation: Callable[[Pipeline, Any], object],
        *,
        returns: Any = None,
        watch: Sequence[str] = (),
        part: str = "",
    ) -> bool:
        """Undo the effect if it stands, and forbid it from now on; True if it stood.

        *compensation* is called with a MULTI and the remembered result, under the same rules as
        an effect.
        """
        check_direction(ctx, "undo")

        def decide(mark: _Mark, tx: Pipeline) -> _Decision:
            if mark.undone:
                return _Decision(False, {})
            tx.multi()
            if mark.result is not None:
                compensation(tx, load(mark.result, returns))
            return _Decision(mark.result is not None, {"undone": "1"})

        return bool(self._settle(ctx, part, watch, decide))

    def _settle(
        self,
        ctx: StepContext,
        part: str,
        watch: Sequence[str],
        decide: Callable[[_Mark, Pipeline], _Decision],
    ) -> Any:
        """Read the mark, decide, and write mark and effect; again if somebody came between."""
        key = self._prefix + key_of(ctx, part)
        for _ in range(_TRIES):
            with self._client.pipeline(transaction=True) as tx:
                try:
                    tx.watch(key, *watch)
                    mark = _Mark.of(tx.hgetall(key))
                    with _only_queueing(tx):
                        decided = decide(mark, tx)
                    if decided.mark:
                        self._write(tx, key, decided.mark)
                except WatchError:
                    continue  # also after a lost reply: the mark tells what became of it
                return decided.answer
        raise busy(ctx, f"{_TRIES} tries")

    def _write(self, tx: Pipeline, key: str, mark: dict[str, str]) -> None:
        tx.hset(key, items=[part for pair in mark.items() for part in pair])
        tx.pexpire(key, self._keep)
        refused = [each for each in tx.execute(raise_on_error=False) if _is_error(each)]
        if refused:
            self._client.hset(key, "broken", str(refused[0]))
            raise refused[0]


@contextmanager
def _only_queueing(tx: Any) -> Iterator[None]:
    """Let nobody but the barrier execute what is queued: the mark would be missing."""

    def refuse(*_: object, **__: object) -> None:
        raise CommandRefused(
            "executed", "the effect called execute() itself: it only queues, the barrier does"
        )

    tx.execute = refuse
    try:
        yield
    finally:
        del tx.execute  # of this object only; its class has the real one


class _Mark(NamedTuple):
    """What is known of a key."""

    result: str | None = None
    undone: bool = False
    broken: str | None = None

    @classmethod
    def of(cls, fields: dict[Any, Any]) -> _Mark:
        """Read a mark, from a client that decodes answers or one that does not."""
        found = {_text(name): _text(value) for name, value in fields.items()}
        return cls(found.get("result"), "undone" in found, found.get("broken"))


class _Decision(NamedTuple):
    """What to answer, and what to write into the mark with the effect; nothing if it is empty."""

    answer: Any
    mark: dict[str, str]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _is_error(answer: object) -> bool:
    return isinstance(answer, ResponseError)
