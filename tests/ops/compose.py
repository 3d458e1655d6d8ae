"""docker-compose.yml, read as compose would, and run as plain processes of this machine.

Owns: interpolation, and what a container's names, ports and folders are called without one.
Refuses to know: what the services are, and when they are well.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from celeriac.machine.policy import duration_ms
from celeriac.testing.servers import free_port
from tests.processes import Process

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"

# A container has its network to itself; a process on this machine must not be reached from others.
LOCAL_ONLY = {
    "redis": ["--bind", "127.0.0.1"],
    "flower": ["--address=127.0.0.1"],
    "dashboard": ["--host=127.0.0.1"],
    "worker": ["saga.metrics_host=(string)127.0.0.1"],
    "figures": ["--host=127.0.0.1"],
}
# Those that services listen at, in their containers.
PORTS = ("6379", "5555", "5556", "9540", "9541")


def read() -> dict[str, Any]:
    """The compose file as a mapping: anchors merged, `${NAME:-default}` replaced."""
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    filled: dict[str, Any] = _each_text(loaded, _interpolate)
    return filled


def _interpolate(text: str) -> str:
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text).replace("$$", "$")


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_each_text(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _each_text(item, change) for key, item in value.items()}
    return value


@dataclass
class Service:
    """A service of the file as a process of this machine; its output is in `log`."""

    name: str
    command: list[str]
    healthcheck: list[str]
    environment: dict[str, str]
    folder: Path
    log: Path
    grace: float
    process: Process | None = None

    def start(self) -> None:
        """Start the command as it is written, with its own environment and nothing of ours."""
        self.process = Process(self.command, log=self.log, env=self.environment, cwd=self.folder)

    def check(self) -> subprocess.CompletedProcess[str]:
        """Run the service's own healthcheck once."""
        return subprocess.run(
            self.healthcheck,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def wait(self, what: str, condition: Callable[[], bool], patience: float = 60) -> None:
        """Wait until *condition* holds; fail with the service's log when it ends or never does."""
        until = time.monotonic() + patience
        while not condition():
            ended = self.process is None or self.process.ended
            if ended or time.monotonic() > until:
                why = "ended" if ended else f"was still at it after {patience:g} s"
                msg = f"{self.name} {why}, and not yet: {what}\n{self.log.read_text()[-4000:]}"
                raise AssertionError(msg)
            time.sleep(0.05)

    def stop(self) -> int:
        """Ask it to stop as compose does, and return its exit status; late is an error."""
        if self.process is None or self.process.ended:
            msg = f"{self.name} had ended by itself\n{self.log.read_text()[-4000:]}"
            raise AssertionError(msg)
        self.process.signal(signal.SIGTERM)
        return self.process.wait(self.grace)

    def kill(self) -> None:
        """Make sure that nothing of it is left, also of its children."""
        if self.process is not None:
            self.process.kill()


class Machine:
    """This machine in place of the containers': where names, ports and folders are to be found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = read()
        self.ports = {port: free_port() for port in PORTS}

    def service(self, name: str) -> Service:
        """The service *name*, ready to be started."""
        spec = self.file["services"][name]
        places = self._places(name, spec)

        def local(text: str) -> str:
            for inside, outside in places.items():
                text = re.sub(rf"(?<![\w/.]){re.escape(inside)}(?![\w.])", outside, text)
            for inside, port in self.ports.items():
                text = _at_port(text, inside, port)
            return text

        image_only = name not in self._built()
        return Service(
            name=name,
            command=[local(word) for word in spec["command"]] + LOCAL_ONLY.get(name, []),
            healthcheck=_program(_each_text(spec.get("healthcheck", {}).get("test", []), local)),
            environment=_surroundings() | _each_text(spec.get("environment", {}), local),
            folder=self._made(name) if image_only else ROOT,
            log=self.folder / f"{name}.log",
            grace=duration_ms(spec["stop_grace_period"]) / 1000,
        )

    def _built(self) -> set[str]:
        return {name for name, spec in self.file["services"].items() if "build" in spec}

    def _made(self, name: str) -> Path:
        made = self.folder / name
        made.mkdir(exist_ok=True)
        return made

    def _places(self, name: str, spec: dict[str, Any]) -> dict[str, str]:
        """What each folder of the container is called on this machine."""
        found = {inside: str(self._made(name)) for inside in spec.get("tmpfs", [])}
        for volume in spec.get("volumes", []):
            outside, inside, *_ = volume.split(":")
            own = outside.startswith(".")
            found[inside] = str(ROOT / outside) if own else str(self._made(outside))
        return found


def _at_port(text: str, inside: str, port: int) -> str:
    """`redis:6379` is a port of this machine; so is `127.0.0.1:5555`, and `5555` by itself."""
    by_name = re.sub(rf"\b[a-z]\w*:{inside}\b", f"127.0.0.1:{port}", text)
    return re.sub(rf"(?<!\d){inside}(?!\d)", str(port), by_name)


def _program(test: list[str]) -> list[str]:
    how, *words = test or ["NONE"]
    return {"CMD": words, "CMD-SHELL": ["sh", "-c", *words], "NONE": []}[how]


def _surroundings() -> dict[str, str]:
    # What the image has: the programs on PATH, and the package (here: the one under test).
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": programs, "PYTHONPATH": str(ROOT / "worker"), "PYTHONUNBUFFERED": "1"}
