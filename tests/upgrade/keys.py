r"""Keys of a Redis as lines of JSON, which any Redis or Valkey takes.

Owns: the form: a key a line, with its type and all it holds, sorted, so that two dumps can be
compared.  Refuses to know: what the keys mean.

Text that is no UTF-8 is written as lone surrogates (`\udc80` to `\udcff`), as Python does it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import redis


def dump(client: redis.Redis, patterns: Iterable[str]) -> Iterator[str]:
    """Yield a line for each key that one of *patterns* matches; ValueError for what it cannot."""
    found = {key for pattern in patterns for key in client.scan_iter(match=pattern, count=1000)}
    for key in sorted(found):
        kind = _text(client.type(key))
        if client.pttl(key) != -1:
            raise ValueError(f"{key!r} expires: the form has no place for that")
        if kind not in _READ:
            raise ValueError(f"{key!r} is a {kind}: the form has no place for that")
        row = {"key": _text(key), "type": kind, "value": _READ[kind](client, key)}
        yield json.dumps(row, ensure_ascii=not _is_utf8(row), separators=(",", ":"))


def load(client: redis.Redis, lines: Iterable[str]) -> int:
    """Write the keys of *lines* by plain commands, and return how many they were."""
    rows = [json.loads(line) for line in lines]
    with client.pipeline(transaction=False) as pipe:
        for row in rows:
            words = _command(_bytes(row["key"]), row["type"], row["value"])
            pipe.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py's has no types
        pipe.execute()
    return len(rows)


_READ: dict[str, Any] = {
    "string": lambda client, key: _text(client.get(key)),
    "hash": lambda client, key: {
        _text(name): _text(value) for name, value in sorted(client.hgetall(key).items())
    },
    "list": lambda client, key: [_text(each) for each in client.lrange(key, 0, -1)],
    "set": lambda client, key: [_text(each) for each in sorted(client.smembers(key))],
    "zset": lambda client, key: [
        [_text(member), int(score) if score.is_integer() else score]
        for member, score in client.zrange(key, 0, -1, withscores=True)
    ],
}


def _command(key: bytes, kind: str, value: Any) -> list[Any]:
    if kind == "string":
        return ["SET", key, _bytes(value)]
    if kind == "hash":
        return ["HSET", key, *[_bytes(part) for pair in value.items() for part in pair]]
    if kind == "list":
        return ["RPUSH", key, *map(_bytes, value)]
    if kind == "set":
        return ["SADD", key, *map(_bytes, value)]
    if kind == "zset":
        return ["ZADD", key, *[part for member, score in value for part in (score, _bytes(member))]]
    raise ValueError(f"{key!r} is a {kind}: nobody knows how to write that")


def _text(value: bytes | str) -> str:
    assert isinstance(value, bytes), "the client is to decode nothing"
    return value.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _is_utf8(row: Any) -> bool:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
