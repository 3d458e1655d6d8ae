"""What the verbs of the command line take: arguments and options, each with its check and its help.

Owns: how they are spelled, and which runs a verb is about: one by its id, or all that a filter
finds.  Refuses to know: the verbs.  Nothing slow is imported: Celery loads this file for
each of its own commands.
"""

from __future__ import annotations

import functools
import getpass
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_FILTERS = (
    *("status", "saga", "tags", "awaiting", "past_deadline", "idle", "since", "until"),
    *("owed", "asking", "failed_step", "code"),
)
_FASTEST = 50.0  # runs a second, unless somebody says otherwise: workers have other work as well


class Target(NamedTuple):
    """The runs a verb is about, and how it is to go about them if there are many."""

    run_id: str | None  # None: those that the filters find
    filters: dict[str, Any]
    yes: bool
    rps: float
    dry_run: bool


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, in the order in which help shows them."""

    def add(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return add


# --- checks ------------------------------------------------------------------------------------


def pairs(_: click.Context, __: click.Parameter, given: Sequence[str]) -> dict[str, str]:
    """Names and values, each `name=value`."""
    found: dict[str, str] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"give name=value, not {pair!r}")
        if found.setdefault(key, value) != value:
            raise click.BadParameter(f"{key!r} is given twice, with two values")
    return found


def _words(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    if given is not None and not given.strip():
        raise click.BadParameter("give a reason: it stays in the run's history")
    return given


def document(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    """The JSON itself, or what is in the file that `@file` names, or on stdin for `-`."""
    if given is None or not (given == "-" or given.startswith("@")):
        return given
    try:
        with click.open_file(given.removeprefix("@"), encoding="utf-8-sig") as file:
            return str(file.read())
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{given} cannot be read: {error}") from None


def user() -> str:
    """Who is at the terminal; in a container, there may be no name for it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"user {os.getuid()}"


# --- completion --------------------------------------------------------------------------------


def complete(what: str) -> Any:
    """What the shell may complete here, asked of the app; nothing, if that fails."""

    def offer(ctx: click.Context, _: click.Parameter, begun: str) -> list[str]:
        from celeriac.terminal.completion import suggestions  # noqa: PLC0415 -- slow to load

        return suggestions(what, ctx, begun)

    return offer


# --- options -----------------------------------------------------------------------------------


def output(*forms: str) -> Callable[[Any], Any]:
    """The form of what is printed; the first is the default."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(forms),
        default=forms[0],
        show_default=True,
        help="Output format.",
    )


def tagged(what: str) -> Callable[[Any], Any]:
    """Tags, as name=value."""
    return click.option(
        "--tag", "tags", multiple=True, callback=pairs, metavar="NAME=VALUE", help=what
    )


class _Reason(click.Option):
    """Why something is done; nothing is, in a dry run."""

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        if opts.get("dry_run") and opts.get("reason") is None:
            opts = {**opts, "reason": "a dry run"}
        return super().handle_parse_result(ctx, opts, args)


def reason(*, required: bool) -> Callable[[Any], Any]:
    """Why something is done."""
    return click.option(
        "--reason",
        cls=_Reason,
        required=required,
        callback=_words,
        help="Why; stored in the run's history.",
    )


OUTPUT = output("table", "json", "jsonl", "ids")
RUN = click.argument("run_id", metavar="ID", shell_complete=complete("run"))
BY = click.option(
    "--by",
    default=user,
    callback=_words,
    help="Who asks; stored in the run's history.  [default: your login name]",
)
WAIT = together(
    click.option("--wait", is_flag=True, help="Wait until the run has ended."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="Wait no longer than this; the run goes on by itself.",
    ),
)
STEERING = together(BY, WAIT, OUTPUT)
FILTERS = together(
    click.option(
        "--status",
        multiple=True,
        shell_complete=complete("status"),
        help="running, waiting, paused, compensating, completed, compensated, failed or "
        "terminated; may be repeated.",
    ),
    click.option("--saga", help="Runs of this saga only.", shell_complete=complete("saga")),
    tagged("Runs with this label only; may be repeated."),
    click.option(
        "--since", metavar="TIME", help="Started after this: 30m, 2h, 7d ago, or an ISO time."
    ),
    click.option("--until", metavar="TIME", help="Started before this."),
    click.option(
        "--awaiting", is_flag=True, help="Runs that wait for a signal, such as an approval."
    ),
    click.option(
        "--past-deadline",
        is_flag=True,
        help="Runs that go on though their deadline has passed.",
    ),
    click.option(
        "--idle",
        metavar="TIME",
        help="Runs in which nothing has happened for so long (15m, 2h); running or being undone, "
        "unless --status says otherwise.",
    ),
    click.option("--owed", is_flag=True, help="Runs that owe something."),
    click.option(
        "--asking",
        is_flag=True,
        help="Runs that ask whether a step took effect; with --owed, either.",
    ),
    click.option("--failed-step", metavar="STEP", help="Runs that this step ended or that owe it."),
    click.option("--code", help="Runs in which that step failed with this error code."),
)
BULK = together(
    click.option(
        "--dry-run", is_flag=True, help="With a filter: say which runs it is about, do nothing."
    ),
    click.option("-y", "--yes", is_flag=True, help="Do not ask, however many runs it is about."),
    click.option(
        "--rps",
        type=click.FloatRange(min=0, min_open=True),
        default=_FASTEST,
        show_default=True,
        metavar="N",
        help="At most so many runs a second.",
    ),
)


def step(*, required: bool) -> Callable[[Any], Any]:
    """The step that a verb is about: after the ID, or, with a filter, as an option."""
    return together(
        click.argument("step", required=False, shell_complete=complete("step")),
        click.option("--step", "step_option", metavar="STEP", help=_step_help(required=required)),
    )


def _step_help(*, required: bool) -> str:
    return f"The STEP, where a filter is given{'' if required else '; left out: all'}."


def targets(function: Any) -> Any:
    """An ID or a filter; the verb's function gets them as a `Target`."""

    @functools.wraps(function)
    def gather(
        *args: Any, run_id: str | None, yes: bool, rps: float, dry_run: bool, **rest: Any
    ) -> Any:
        filters = {name: rest.pop(name) for name in _FILTERS}
        _check(run_id, filters, {**rest, "dry_run": dry_run})
        return function(*args, target=Target(run_id, filters, yes, rps, dry_run), **rest)

    named = click.argument("run_id", metavar="[ID]", required=False, shell_complete=complete("run"))
    return named(FILTERS(BULK(gather)))


def _check(run_id: str | None, filters: dict[str, Any], rest: dict[str, Any]) -> None:
    filtered = any(filters.values())
    if run_id is not None and filtered:
        raise click.UsageError("give the ID of a run or a filter, not both")
    if run_id is None and not filtered:
        raise click.UsageError(
            "give the ID of a run, or a filter: --status, --saga, --tag, --awaiting, "
            "--past-deadline, --idle, --since, --until, --owed, --asking, --failed-step or --code"
        )
    if run_id is not None and rest["dry_run"]:
        raise click.UsageError("--dry-run is for a filter: `show ID` says what can be done")
    if run_id is None and rest.get("wait"):
        raise click.UsageError("--wait is for one run: give its ID")


def the_step(step: str | None, step_option: str | None, *, required: bool) -> str | None:
    """The step that was given, either way; a usage error for two, or for none where one must be."""
    if step and step_option:
        raise click.UsageError("give the STEP after the ID or with --step, not both")
    found = step or step_option
    if required and not found:
        raise click.UsageError("which STEP? Give it after the ID, or with --step")
    return found
