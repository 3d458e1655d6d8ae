"""Results from outside: what somebody says who holds the token of an attempt.

Owns: checking a result, or a failure, before anything is written, and sending what follows.
Refuses to know: what a token is made of (`engine`), and who brings it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.app.inputs import checked_words
from celeriac.engine import Said
from celeriac.errors import InputInvalid
from celeriac.failure import Failure, safe_text
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.engine import Dispatcher, Engine
    from celeriac.machine import Node

#: What a failure is called of which somebody outside has told.
_KIND = "FailedOutside"
_LONGEST_CODE = 100  # characters


def bring_result(
    engine: Engine,
    dispatcher: Dispatcher,
    dump: Callable[[str, Any], str],
    token: str,
    result: Any,
    *,
    by: str,
) -> None:
    """Settle the attempt of a token with *result*; *dump* makes JSON of it, as its task would."""
    checked_words("by", by)

    def say(node: Node) -> Said:
        text = dump(node.task, result)
        what = f"the result of {node.name}"
        return Said(payloads.checked(what, text, engine.terms.max_payload), by=by)

    _bring(engine, dispatcher, token, say)


def bring_failure(
    engine: Engine,
    dispatcher: Dispatcher,
    token: str,
    message: str,
    *,
    code: str | None,
    effect: bool | None,
    retry: bool,
    by: str,
) -> None:
    """Settle the attempt of a token as failed."""
    checked_words("by", by)
    if not isinstance(message, str):
        raise InputInvalid(f"message: text that says what went wrong, not {message!r}")
    if code is not None and not _is_code(code):
        raise InputInvalid(
            f"code: one to {_LONGEST_CODE} printable characters, such as 'card_declined'"
        )
    for name, value in (("effect", effect), ("retry", retry)):
        if value is not None and not isinstance(value, bool):
            raise InputInvalid(f"{name}: True or False, not {value!r}")
    failure = Failure(type=_KIND, message=safe_text(message), code=code, effect=effect)
    text = failure.model_dump_json(exclude_none=True)

    def say(node: Node) -> Said:
        what = f"the failure of {node.name}"
        checked = payloads.checked(what, text, engine.terms.max_payload)
        return Said(checked, _KIND, code, effect, retry, by)

    _bring(engine, dispatcher, token, say)


def _is_code(code: object) -> bool:
    return isinstance(code, str) and code.isprintable() and 0 < len(code) <= _LONGEST_CODE


def _bring(engine: Engine, dispatcher: Dispatcher, token: str, say: Callable[[Node], Said]) -> None:
    brought = engine.bring(token, say)
    done = brought.done
    engine.send(dispatcher, brought.plan, done.run, done.dispatches, brought.now)
    if brought.refused is not None:
        raise brought.refused
