"""`make bench`: sagas beside bare Celery chains, on the same Redis and the same worker.

Owns: the order of the parts, and printing what they found.  Refuses to know: how each of them is
measured.

`--only` names parts to repeat, `--json` prints all figures as one document, `--profile` shows where
the time goes instead of measuring how long it takes.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import (
    flows,
    gates,
    latency,
    lines,
    memory,
    mixed,
    profiling,
    recovery,
    throughput,
    waking,
    web,
)
from bench.app import LENGTHS
from bench.round_trips import trips_per_step
from bench.rows import rows_of, table
from bench.site import Site

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The parts, in order, and about how many seconds each takes at the default settings.
PARTS = {
    "throughput": 65,
    "lengths": 60,
    "failing": 60,
    "latency": 25,
    "off": 110,
    "memory": 15,
    "trips": 1,
    "recovery": 60,
    "flows": 75,
    "mixed": 80,
    "waking": 45,
    "gates": 160,
    "web": 50,
}
_LINE = 1_000  # that wait where round trips are counted: `bench.lines` takes any number
_AHEAD: dict[str, str] = {}
_OFF = {"BENCH_AHEAD": "0"}


class Options(NamedTuple):
    """What was asked for."""

    runs: int
    rounds: int
    children: int
    waking: int
    listed: int
    line: int
    only: Sequence[str]
    json: bool
    profile: bool


def main() -> None:
    """Measure, and print."""
    options = _options()
    logging.getLogger("celeriac").setLevel(logging.ERROR)  # here; workers have a log of their own
    with (
        tempfile.TemporaryDirectory(prefix="celeriac-bench-") as name,
        Site(Path(name), options.children) as site,
    ):
        settings = _settings(site, options)
        if options.profile:
            return _print_profile(site, options, settings)
        minutes = sum(PARTS[part] for part in options.only) / 60
        _say(f"{settings['cores']} cores, one worker with {options.children} processes")
        _say(f"at the default settings this takes about {minutes:.0f} minutes")
        figures = _measured(site, options)
    rows = rows_of(figures)
    if options.json:
        document = {
            "settings": settings,
            "rows": [row.document() for row in rows],
            "figures": figures,
        }
        print(json.dumps(document, indent=1))
    else:
        print(table(rows))
    return None


def _options() -> Options:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1500, help="chains and sagas of each batch")
    parser.add_argument("--rounds", type=int, default=3, help="batches of each kind")
    parser.add_argument("--children", type=int, default=2, help="processes of the worker")
    parser.add_argument("--waking", type=int, default=10_000, help="runs that wake all at once")
    parser.add_argument("--listed", type=int, default=50_000, help="runs at rest that pages list")
    parser.add_argument("--line", type=int, default=10_000, help="runs that wait at one gate")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    return Options(**vars(parser.parse_args()))


def _settings(site: Site, options: Options) -> dict[str, Any]:
    return {
        **options._asdict(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "redis": ".".join(str(part) for part in site.redis.version),
        **{name: version(name) for name in ("celeriac", "celery", "kombu", "redis")},
    }


def _measured(site: Site, options: Options) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    on = {"throughput", "lengths", "failing", "latency"} & set(options.only)
    if on:
        figures["ahead"] = _of_a_worker(site, options, on, _AHEAD)
    if "off" in options.only:
        # Of the lengths, only the two between which a step's cost is to grow little.
        off, ends = {"throughput", "lengths", "latency"}, (min(LENGTHS), max(LENGTHS))
        figures["off"] = _of_a_worker(site, options, off, _OFF, ends)
    if "memory" in options.only:
        _say("memory")
        with site.worker():
            lengths = (min(LENGTHS), max(LENGTHS))
            figures["memory"] = {
                str(each): memory.bytes_a_run(site, options.runs, each) for each in lengths
            }
    if "trips" in options.only:
        ways = {"ahead": True, "off": False}
        figures["trips"] = {name: trips_per_step(ahead=ahead) for name, ahead in ways.items()}
    if "recovery" in options.only:
        _say("recovery")
        found = recovery.after_kill(site, min(200, options.runs), options.rounds)
        figures["recovery"] = {**found, "running": options.children}
    if "flows" in options.only:
        figures["flows"] = _of_flows(site, options)
    if "mixed" in options.only:
        _say("mixed load")
        figures["mixed"] = mixed.mixed_load(site, min(200, options.runs))
    figures |= _of_crowds(site, options)
    if "web" in options.only:
        _say("web")
        figures["web"] = web.pages(options.listed, min(20.0, options.listed / 1000))
    return figures


def _of_a_worker(
    site: Site,
    options: Options,
    parts: set[str],
    env: dict[str, str],
    lengths: Sequence[int] = LENGTHS,
) -> dict[str, Any]:
    """Measure both sides at one worker; *env* is how it is configured."""
    found: dict[str, Any] = {}
    runs, rounds, first = options.runs, options.rounds, min(lengths)
    with site.worker(env):
        if "throughput" in parts:
            _say("throughput")
            found["throughput"] = throughput.by_length(site, runs, rounds, [first])
        if "lengths" in parts:
            _say("lengths")
            longer = [each for each in lengths if each > first or "throughput" not in parts]
            more = throughput.by_length(site, runs // 2, min(2, rounds), longer)
            found["throughput"] = {**found.get("throughput", {}), **more}
        if "failing" in parts:
            _say("failing")
            found["failing"] = throughput.with_failure(site, runs, rounds)
        if "latency" in parts:
            _say("latency")
            found["latency"] = latency.unloaded(site, max(10, runs // 5))
    return found


def _of_crowds(site: Site, options: Options) -> dict[str, Any]:
    """Many that come due at once, and many that wait for one another."""
    found: dict[str, Any] = {}
    if "waking" in options.only:
        _say("waking")
        with site.worker():
            found["waking"] = waking.all_at_once(site, options.waking)
    if "gates" in options.only:
        _say("gates")
        with site.worker():
            found["gates"] = gates.long_line(site, options.line)
        found["lines"] = lines.measured(min(_LINE, options.line))._asdict()
    return found


def _of_flows(site: Site, options: Options) -> dict[str, Any]:
    """Branches at a worker that runs none ahead, like the chain beside them; maps at any."""
    found: dict[str, Any] = {}
    runs, rounds = options.runs, options.rounds
    with site.worker(_OFF):
        _say("branches")
        found["branches"] = flows.branches(site, runs, rounds)
    with site.worker(_AHEAD):
        _say("maps")
        found["maps"] = flows.maps(site, runs, rounds)
        found["bytes"] = flows.bytes_of_many()
    return found


def _print_profile(site: Site, options: Options, settings: dict[str, Any]) -> None:
    found = {
        name: profiling.profile(site, options.runs, env)
        for name, env in (("ahead", _AHEAD), ("not ahead", _OFF))
        if name == "ahead" or "off" in options.only
    }
    if options.json:
        print(json.dumps({"settings": settings, "profile": found}, indent=1))
        return
    for name, profiles in found.items():
        print(f"\n{name}\n{profiling.described(profiles)}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
