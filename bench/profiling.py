"""Where the time goes: in the worker's main process, in its children, in the client and in Redis.

Owns: a batch of each side whose processes are sampled, and printing what was found.  Refuses to
know: how a process is sampled (`sampling`).
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.app import SAGAS, bare_chain, redis
from bench.sampling import sampled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bench.site import Site

ROLES = ("main", "child", "client")
_TOP = 12  # functions that are shown of each process


def profile(site: Site, runs: int, env: Mapping[str, str]) -> dict[str, Any]:
    """Profile *runs* chains and as many sagas of three steps."""
    sides = {"chain": bare_chain(3).apply_async, "saga": SAGAS[3].start}
    return {side: _profiled(site, runs, start, env) for side, start in sides.items()}


def _profiled(
    site: Site, runs: int, start: Callable[[], object], env: Mapping[str, str]
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="celeriac-profile-") as name:
        folder = Path(name)
        with site.worker({**env, "BENCH_PROFILE": name}):
            site.batch(max(4, runs // 10), start)  # what is done once is done
            before = _commands()
            with sampled(folder / "client-0.json"):
                batch = site.batch(runs, start)
            commands = _commands() - before
        found = {role: _samples(folder, role) for role in ROLES}
    steps = runs * 3
    used = {**batch.cpu._asdict(), "client": batch.client}
    return {
        "cpu_ms_a_step": {who: seconds * 1000 / steps for who, seconds in used.items()},
        "functions": found,
        "redis_us_a_step": {each: us / steps for each, us in commands.most_common() if us},
    }


def _samples(folder: Path, role: str) -> list[dict[str, Any]]:
    """What was found in all processes of one role: functions, and their shares."""
    counts: Counter[tuple[str, str]] = Counter()
    for path in folder.glob(f"{role}-*.json"):
        for package, function, count in json.loads(path.read_text(encoding="utf-8")):
            counts[package, function] += count
    whole = counts.total()
    return [
        {"package": package, "function": function, "share": count / whole}
        for (package, function), count in counts.most_common()
    ]


def _commands() -> Counter[str]:
    """Microseconds that Redis has spent in each command so far; what a script calls, as well."""
    stats = redis().info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): each["usec"] for name, each in stats.items()})


def described(profiles: Mapping[str, Any]) -> str:
    """Return a profile as text."""
    return "\n".join(line for side, each in profiles.items() for line in _lines(side, each))


def _lines(side: str, found: Mapping[str, Any]) -> Iterator[str]:
    used = "  ".join(f"{who} {ms:.2f}" for who, ms in found["cpu_ms_a_step"].items())
    yield f"\n{side}: CPU, ms a step: {used}"
    for role in ROLES:
        functions = found["functions"][role]
        packages: Counter[str] = Counter()
        for each in functions:
            packages[each["package"]] += each["share"]
        shares = "  ".join(f"{name} {share:.0%}" for name, share in packages.most_common(6))
        yield f"\n  {role}: {shares}"
        for each in functions[:_TOP]:
            yield f"    {each['share']:6.1%}  {each['function']}"
    commands = list(found["redis_us_a_step"].items())[:_TOP]
    yield "\n  redis, µs a step: " + "  ".join(f"{name} {us:.1f}" for name, us in commands)
