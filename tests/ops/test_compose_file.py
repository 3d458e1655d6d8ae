"""What docker-compose.yml says: order, ports, passwords, versions, and what is mounted where.

Owns: reading it.  Refuses to know: whether the commands in it work (`test_compose`).
"""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from tests.ops.compose import ROOT, read

APPS = ("worker", "beat", "flower", "dashboard")
METRICS = ("figures", "prometheus", "grafana")  # with `--profile metrics`


def test_passwords_come_from_whoever_starts_it() -> None:
    """Each page that asks for one takes it from the environment, with one to begin with."""
    text = (ROOT / "docker-compose.yml").read_text()
    for name in ("CELERIAC_BASIC_AUTH", "FLOWER_BASIC_AUTH"):
        assert f"{name}: ${{{name}:-" in text


def test_no_container_may_do_more_than_it_must() -> None:
    """None is root of its machine: what runs our image is nobody there and writes to no image."""
    assert "\nUSER app\n" in (ROOT / "ops" / "Dockerfile").read_text()
    for name in (*APPS, "figures"):
        spec = read()["services"][name]
        assert (spec["read_only"], spec["cap_drop"]) == (True, ["ALL"]), name
        assert "user" not in spec, name


def test_services_wait_for_a_healthy_redis() -> None:
    """Nothing starts before Redis is well, and everything comes back when it ends by itself."""
    services = read()["services"]
    assert set(services) == {"redis", *APPS, *METRICS}
    assert all(spec["restart"] == "unless-stopped" for spec in services.values())
    for name in (*APPS, "figures"):
        assert services[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}


def test_only_pages_can_be_reached_and_only_from_this_machine() -> None:
    """Redis and metrics have no password, so they publish no port; pages do, for this machine."""
    published = {name: spec.get("ports", []) for name, spec in read()["services"].items()}
    reachable = {name: ports for name, ports in published.items() if ports}
    assert set(reachable) == {"dashboard", "flower", "prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in reachable.values() for port in ports)


def test_metrics_are_a_choice() -> None:
    """Without the profile there are Redis and the apps, and no more."""
    chosen = {name for name, spec in read()["services"].items() if spec.get("profiles")}
    assert chosen == set(METRICS)
    assert all(read()["services"][name]["profiles"] == ["metrics"] for name in chosen)


def test_images_of_others_have_exact_versions() -> None:
    """What is pulled today and in a year is the same."""
    for name in ("prometheus", "grafana"):
        assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", read()["services"][name]["image"])


def test_prometheus_scrapes_who_serves() -> None:
    """Each target is a service that serves at that port, and the rules are where it looks."""
    services = read()["services"]
    config = yaml.safe_load((ROOT / "ops" / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    (workers,) = jobs["celeriac-workers"]["dns_sd_configs"]
    assert workers["names"] == ["worker"]
    assert f"saga.metrics_port=(int){workers['port']}" in services["worker"]["command"]
    ((store,),) = (each["targets"] for each in jobs["celeriac-store"]["static_configs"])
    name, port = store.split(":")
    assert f"--port={port}" in services[name]["command"]
    assert _mounted("prometheus") >= {
        ("ops/prometheus.yml", "/etc/prometheus/prometheus.yml"),
        *((f"ops/{file}", f"/etc/prometheus/{file}") for file in config["rule_files"]),
    }


def test_grafana_has_its_source_and_its_dashboard() -> None:
    """What is provisioned is mounted where Grafana looks, and leads to Prometheus."""
    services, folder = read()["services"], ROOT / "ops" / "grafana"
    (source,) = yaml.safe_load((folder / "datasource.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert services["prometheus"]["ports"] == ["127.0.0.1:9090:9090"]
    (provider,) = yaml.safe_load((folder / "dashboards.yml").read_text())["providers"]
    provisioning = "/etc/grafana/provisioning"
    assert _mounted("grafana") >= {
        ("ops/grafana/datasource.yml", f"{provisioning}/datasources/datasource.yml"),
        ("ops/grafana/dashboards.yml", f"{provisioning}/dashboards/dashboards.yml"),
        ("ops/grafana.json", f"{provider['options']['path']}/celeriac.json"),
    }


def test_grafana_lets_nobody_in_without_the_password() -> None:
    """The password is whoever starts it's to choose, and there is no other way in."""
    text = (ROOT / "docker-compose.yml").read_text()
    assert "GF_SECURITY_ADMIN_PASSWORD: ${GRAFANA_PASSWORD:-" in text
    environment = read()["services"]["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert environment["GF_USERS_ALLOW_SIGN_UP"] == "false"


def _mounted(name: str) -> set[tuple[str, str]]:
    """The files of ours that a service gets, all of them there and for reading only."""
    volumes = [each.split(":") for each in read()["services"][name]["volumes"]]
    ours = [(each[0][2:], each[1], each[2:]) for each in volumes if each[0].startswith("./")]
    assert all((ROOT / outside).is_file() for outside, _, _ in ours)
    assert all(mode == ["ro"] for _, _, mode in ours)
    return {(outside, inside) for outside, inside, _ in ours}


def test_redis_keeps_its_data_in_a_volume() -> None:
    """The append-only file outlives the container, and the configuration is the one tested here."""
    file = read()
    mounted = dict(volume.split(":")[:2] for volume in file["services"]["redis"]["volumes"])
    assert mounted == {"./ops/redis.conf": "/etc/redis.conf", "redis-data": "/data"}
    assert "redis-data" in file["volumes"]


def test_compose_itself_accepts_the_file() -> None:
    """Where there is a compose client, it reads the file without a complaint."""
    if shutil.which("docker") is None or _compose("version").returncode:
        pytest.skip("there is no docker client with the compose plugin on this machine")
    asked = _compose("config", "--quiet")
    assert (asked.returncode, asked.stderr) == (0, "")


def _compose(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", "compose", *words],  # noqa: S607  # whichever the machine has
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
