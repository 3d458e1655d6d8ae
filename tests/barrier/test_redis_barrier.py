"""What is different where a barrier is kept in Redis.

Owns: keys that are watched, replies that get lost, commands that Redis refuses, and how long marks
are kept.  Refuses to know: the four laws (`test_laws`), which hold here as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis

from celeriac import Abort, CommandRefused
from celeriac.barrier import BarrierBusy, RedisBarrier
from tests.barrier.participants import backward, forward

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.redis_server import RedisServer

KEY = "order-42:reserve"
MARK = f"celeriac-barrier:{KEY}"


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client of the participant's Redis, which is empty."""
    with redis_server.client() as found:
        found.flushall()
        yield found


def test_what_was_read_is_still_true(client: redis.Redis) -> None:
    """An effect that read a watched key is asked again if that key has changed since."""
    client.set("mug", 3)
    seen: list[int] = []

    def take(tx: Any) -> int:
        stock = int(str(client.get("mug")))
        seen.append(stock)
        if len(seen) == 1:
            client.decr("mug")  # another customer
        tx.set("mug", stock - 1)
        return stock - 1

    assert RedisBarrier(client).do(forward(KEY), take, watch=["mug"]) == 1
    assert seen == [3, 2]
    assert client.get("mug") == "1"


def test_a_refusal_leaves_nothing(client: redis.Redis) -> None:
    """An effect that raises has not happened, and may be tried again."""
    barrier = RedisBarrier(client)

    def sold_out(tx: Any) -> None:
        tx.decr("mug")
        raise Abort("sold out", effect=False)

    with pytest.raises(Abort, match="sold out"):
        barrier.do(forward(KEY), sold_out)
    assert client.keys() == []
    assert barrier.do(forward(KEY), lambda tx: tx.incr("mug") and "done") == "done"


def test_the_reply_to_the_effect_gets_lost(redis_server: RedisServer, client: redis.Redis) -> None:
    """When the connection breaks after EXEC, the mark tells that it was done, and with what."""
    losing = _Losing(port=redis_server.port, decode_responses=True, protocol=2)
    answers = [RedisBarrier(losing).do(forward(KEY), lambda tx: tx.incr("mug") and "done")]
    assert losing.lost == 1
    answers.append(RedisBarrier(client).do(forward(KEY), lambda _: "never"))
    assert answers == ["done", "done"]
    assert client.get("mug") == "1"
    losing.close()


class _Losing(redis.Redis):
    """A client that loses the first reply to an EXEC."""

    lost = 0

    def pipeline(self, *args: Any, **kwargs: Any) -> Any:
        made: Any = super().pipeline(*args, **kwargs)
        parse = made.parse_response

        def losing(connection: Any, name: Any, **options: Any) -> Any:
            answer = parse(connection, name, **options)
            if isinstance(answer, list) and made.explicit_transaction and not self.lost:
                self.lost += 1
                raise redis.ConnectionError("the reply got lost")
            return answer

        made.parse_response = losing
        return made


def test_a_command_that_redis_refuses(client: redis.Redis) -> None:
    """Redis does not roll back: a part of the effect stands, which is told and can be undone."""
    barrier = RedisBarrier(client)
    client.set("text", "no number")

    def effect(tx: Any) -> str:
        tx.incr("mug")
        tx.incr("text")
        return "half"

    with pytest.raises(redis.ResponseError, match="not an integer"):
        barrier.do(forward(KEY), effect)
    with pytest.raises(Abort, match="not an integer") as refused:
        barrier.do(forward(KEY), effect)
    assert (refused.value.code, refused.value.effect) == ("broken", None)
    assert client.get("mug") == "1"
    assert barrier.undo(backward(KEY), lambda tx, result: tx.set("mug", f"not {result}"))
    assert client.get("mug") == "not half"
    with pytest.raises(Abort) as refused:
        barrier.do(forward(KEY), effect)
    assert refused.value.code == "undone"


def test_nothing_happens_when_memory_is_full(client: redis.Redis) -> None:
    """A command that is refused while it is queued takes all the others with it."""
    barrier = RedisBarrier(client)
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.RedisError):
            barrier.do(forward(KEY), lambda tx: tx.incr("mug") and "done")
    finally:
        client.config_set("maxmemory", 0)
    assert client.keys() == []
    assert barrier.do(forward(KEY), lambda tx: tx.incr("mug") and "done") == "done"


def test_an_effect_that_executes_by_itself(client: redis.Redis) -> None:
    """Whoever sends the writes himself is told at once that the barrier does that."""

    def effect(tx: Any) -> None:
        tx.incr("mug")
        tx.execute()

    with pytest.raises(CommandRefused, match="only queues"):
        RedisBarrier(client).do(forward(KEY), effect)


def test_nobody_gets_through(client: redis.Redis) -> None:
    """When a watched key never stands still, the attempt gives up for now."""

    def never(tx: Any) -> None:
        tx.incr("mine")
        client.incr("busy")

    with pytest.raises(BarrierBusy, match="100 tries"):
        RedisBarrier(client).do(forward(KEY), never, watch=["busy"])
    assert client.get("mine") is None


def test_marks_are_kept_for_a_while(client: redis.Redis) -> None:
    """A mark stays as long as it was asked for, counted from when it was last written."""
    barrier = RedisBarrier(client, keep="10d")
    day = 86_400_000
    barrier.do(forward(KEY), lambda tx: tx.incr("mug") and 1)
    assert 9 * day < client.pttl(MARK) <= 10 * day
    client.pexpire(MARK, day)
    assert barrier.do(forward(KEY), lambda _: 2) == 1
    assert client.pttl(MARK) <= day
    barrier.undo(backward(KEY), lambda tx, _: tx.decr("mug"))
    assert 9 * day < client.pttl(MARK) <= 10 * day
    assert client.pttl("mug") == -1


@pytest.mark.parametrize("decode", [True, False])
def test_any_client_will_do(redis_server: RedisServer, client: redis.Redis, decode: bool) -> None:
    """Clients that decode answers and those that do not see the same marks."""
    plain = redis.Redis(port=redis_server.port, decode_responses=decode)
    assert RedisBarrier(client).do(forward(KEY), lambda tx: tx.incr("mug") and "ö") == "ö"
    assert RedisBarrier(plain).do(forward(KEY), lambda _: 2) == "ö"
    assert RedisBarrier(plain).undo(backward(KEY), lambda tx, _: tx.decr("mug"))
    with pytest.raises(Abort):
        RedisBarrier(client).do(forward(KEY), lambda _: 2)
    plain.close()
