"""Misconfigured servers: each is told by its own finding, and by no other.

Owns: what can be wrong with a Redis, on real servers.  Refuses to know: applications and workers.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from celeriac import ResultTimeout
from celeriac.doctor import CHECKS, Severity, users
from celeriac.store import wait_for_rest
from tests.doctor.examined_app import build
from tests.processes import until

if TYPE_CHECKING:
    import redis

    from tests.doctor.conftest import Examine, Examined, Serve
    from tests.redis_server import RedisServer

SERVERS = tuple(check.id for check in CHECKS.values() if check.area == "redis")


def look(examined: Examine, server: RedisServer, url: str | None = None) -> Examined:
    """What the checks of the state Redis say of *server*."""
    return examined(build("redis://127.0.0.1:1/0", url or server.url), *SERVERS)


def only(found: Examined, check: str, severity: Severity, *words: str) -> None:
    """One finding, with these words, that says what to do."""
    assert set(found.bad) == {check}, found.bad
    assert found[check].severity is severity
    assert all(word in found[check].text for word in words), found[check].text
    assert found[check].advice


def test_a_sound_server(examined: Examine, clean: RedisServer) -> None:
    """There is nothing to say about a server that is as it should be."""
    found = look(examined, clean)
    assert found.bad == {}
    assert {each.severity for each in found.report.findings} == {Severity.OK}
    assert [each.check for each in found.report.findings] == list(SERVERS)


def test_eviction(examined: Examine, serve: Serve) -> None:
    """A server that evicts keys breaks the first promise."""
    found = look(examined, serve(maxmemory_policy="allkeys-lru"))
    only(found, "eviction", Severity.ERROR, "allkeys-lru")


def test_evictions_that_happened(examined: Examine, serve: Serve) -> None:
    """Mending the policy brings no key back: what was evicted stays told."""
    server = serve(maxmemory="3mb", maxmemory_policy="allkeys-random")
    with server.client() as client:
        for number in range(60):
            client.set(f"filler:{number}", "x" * 100_000)
        client.config_set("maxmemory", "256mb")
        client.config_set("maxmemory-policy", "noeviction")
    only(look(examined, server), "evicted", Severity.WARNING, "keys evicted")


def test_no_append_only_file(examined: Examine, serve: Serve) -> None:
    """Without the file, a restart loses what was accepted."""
    only(look(examined, serve(appendonly="no")), "aof", Severity.ERROR, "appendonly is no")


def test_no_fsync(examined: Examine, serve: Serve) -> None:
    """A file that is not brought to the disk is told, and so is one that at times is not."""
    only(look(examined, serve(appendfsync="no")), "fsync", Severity.WARNING, "half a minute")
    found = look(examined, serve(no_appendfsync_on_rewrite="yes"))
    only(found, "fsync-on-rewrite", Severity.WARNING, "rewrite")


def test_nearly_full(examined: Examine, serve: Serve) -> None:
    """Memory that is almost used up is an error before runs are refused."""
    server = serve(maxmemory="8mb")
    with server.client() as client:
        _fill(client, 0.85)
        only(look(examined, server), "memory", Severity.WARNING, "8 MB", "%")
        _fill(client, 0.97)
        only(look(examined, server), "memory", Severity.ERROR, "are in use")
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 1_000_000)
        only(look(examined, server), "memory", Severity.ERROR, "no run is accepted")


def _fill(client: redis.Redis, part: float) -> None:
    """Use so much of maxmemory."""
    number = client.dbsize()
    while True:
        said = client.info("memory")
        if said["used_memory"] - said["mem_not_counted_for_evict"] > part * said["maxmemory"]:
            return
        client.set(f"filler:{number}", "x" * 10_000)
        number += 1


def test_no_limit_of_memory(examined: Examine, serve: Serve) -> None:
    """Without maxmemory the system decides who ends."""
    only(look(examined, serve(maxmemory="0")), "memory", Severity.WARNING, "maxmemory is 0")


def test_a_replica(examined: Examine, serve: Serve, clean: RedisServer) -> None:
    """A replica that was named in the place of its primary refuses every write."""
    replica = serve(replicaof=f"127.0.0.1 {clean.port}")
    with replica.client() as client:
        until(lambda: client.info("replication")["master_link_status"] == "up", "replication")
    only(look(examined, replica), "primary", Severity.ERROR, "replica")


def test_a_replica_that_can_be_written(examined: Examine, serve: Serve, clean: RedisServer) -> None:
    """A replica that takes writes forgets them with the next synchronisation."""
    replica = serve(replicaof=f"127.0.0.1 {clean.port}", replica_read_only="no")
    with replica.client() as client:
        until(lambda: client.info("replication")["master_link_status"] == "up", "replication")
    only(look(examined, replica), "primary", Severity.ERROR, "replica")


def test_a_cluster(examined: Examine, serve: Serve) -> None:
    """A node of a cluster is told, with and without slots."""
    server = serve(cluster_enabled="yes")
    found = look(examined, server)
    assert found["cluster"].severity is Severity.ERROR
    assert {"cluster", "restart", "shards"} == set(found.bad)  # its keys cannot be seen
    with server.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok", "slots")
    only(look(examined, server), "cluster", Severity.ERROR, "Redis Cluster")


def test_a_user_who_may_not_look(examined: Examine, serve: Serve) -> None:
    """Where CONFIG and INFO are hidden, it is said what to look at by hand, and nothing fails."""
    server = serve()
    with server.client() as client:
        client.execute_command(
            "ACL SETUSER sagas on >opensesame ~celeriac:* &celeriac:* +@read +@write +@scripting"
            " +@pubsub +time +ping +client|id +client|list"
        )
    found = look(examined, server, f"redis://sagas:opensesame@127.0.0.1:{server.port}/0")
    assert {each.severity for each in found.report.findings} == {Severity.OK, Severity.UNCHECKED}
    assert not found.report.failed
    assert "CONFIG GET appendfsync" in found["fsync"].advice
    assert "INFO was refused" in found["evicted"].text
    assert found["permissions"].severity is Severity.OK
    assert "opensesame" not in repr(found.report)


def test_a_user_who_may_not_write(examined: Examine, serve: Serve) -> None:
    """What an ACL refuses of what sagas need is named, before a run fails of it."""
    server = serve()
    with server.client() as client:
        client.execute_command(
            "ACL SETUSER reader on >opensesame ~celeriac:* &* +@read +info +config|get +time +ping"
            " +client|id +client|list"
        )
    found = look(examined, server, f"redis://reader:opensesame@127.0.0.1:{server.port}/0")
    only(found, "permissions", Severity.ERROR, "EVALSHA", "SET", "PUBLISH")


def test_a_user_who_may_not_see_connections(examined: Examine, serve: Serve) -> None:
    """All works, but a worker that died is noticed late: a warning, and no error."""
    server = serve()
    with server.client() as client:
        client.execute_command("ACL SETUSER half on >opensesame ~* &* +@all -client|list")
    found = look(examined, server, f"redis://half:opensesame@127.0.0.1:{server.port}/0")
    only(found, "dead-workers", Severity.WARNING, "CLIENT LIST")


def test_the_wrong_keys(examined: Examine, serve: Serve) -> None:
    """A user of another namespace may do nothing with ours."""
    server = serve()
    with server.client() as client:
        client.execute_command("ACL SETUSER other on >opensesame ~other:* &* +@all")
    found = look(examined, server, f"redis://other:opensesame@127.0.0.1:{server.port}/0")
    assert found["permissions"].severity is Severity.ERROR
    assert "HGET" in found["permissions"].text


def test_the_advised_user_is_enough(examined: Examine, serve: Serve) -> None:
    """The ACL that `--acl` prints lets it see all it needs, but for CONFIG."""
    server = serve()
    runtime = build(server.url, server.url).celeriac.runtime
    rules = next(iter(users(runtime))).line.partition(" resetkeys ")[2].replace("+config|get", "")
    runtime.close()
    with server.client() as client:
        client.execute_command(f"ACL SETUSER name on >opensesame {rules}")
    # In another database than the one a connection begins in.
    url = f"redis://name:opensesame@127.0.0.1:{server.port}/1"
    found = look(examined, server, url)
    assert set(found.bad) == {"fsync", "fsync-on-rewrite"}
    assert all("unchecked" in text for text in found.bad.values())
    # And sagas can do with it all they do.
    app = build("redis://127.0.0.1:1/0", url)
    sagas = app.celeriac
    run = sagas.defined["treatment"].start("Ada", id="one", tags={"ward": "3"})
    store = sagas.runtime.engine.store
    store.pulse(1_000, 10)
    with pytest.raises(ResultTimeout):
        wait_for_rest(store, "one", 0.05)
    run.terminate("no longer needed")
    assert wait_for_rest(store, "one", 5).run
    assert [found.id for found in sagas.runs(tags={"ward": "3"})] == ["one"]
    assert run.history()[-1].kind == "terminated"
    sagas.sweep()
    sagas.runtime.close()
    app.close()


def test_a_wrong_password(examined: Examine, serve: Serve) -> None:
    """A refused password is an error that does not repeat it."""
    server = serve()
    with server.client() as client:
        client.config_set("requirepass", "right")
    found = look(examined, server, f"redis://:wr%40ng@127.0.0.1:{server.port}/0")
    only(found, "redis", Severity.ERROR, "refused the login")
    assert "wr%40ng" not in repr(found.report)
    assert "wr@ng" not in repr(found.report)
    assert found.report.cut_off


def test_a_disk_that_fails(examined: Examine, serve: Serve) -> None:
    """A snapshot that could not be written stops all writes, where Redis is told so."""
    server = serve(save="3600 1", appendonly="no")
    with server.client() as client:
        client.set("something", "to save")
        shutil.rmtree(server.folder)
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "a failure")
    found = look(examined, server)
    assert set(found.bad) == {"aof", "disk"}
    assert "MISCONF" in found["disk"].text
    with server.client() as client:
        client.config_set("stop-writes-on-bgsave-error", "no")
    found = look(examined, server)
    assert found["disk"].severity is Severity.WARNING
    assert "rdb_last_bgsave_status is err" in found["disk"].text
    server.folder.mkdir()


def test_few_clients_allowed(examined: Examine, serve: Serve) -> None:
    """A server that soon takes no more clients is told in time."""
    server = serve(maxclients=10)
    clients = [server.client() for _ in range(8)]
    try:
        for client in clients:
            client.ping()
        only(look(examined, server), "connections", Severity.WARNING, "of 10 possible")
    finally:
        for client in clients:
            client.close()


def test_a_restart(examined: Examine, serve: Serve) -> None:
    """A server that was started again with runs in it says so for a while."""
    server = serve()
    app = build("redis://127.0.0.1:1/0", server.url)
    app.celeriac.defined["treatment"].start("Ada", id="before")
    until(lambda: _age(server) > 1, "an age")
    server.restart()
    # A run that is a second older than the server: that much its uptime is rounded.
    until(lambda: examined(app, "restart")["restart"].severity is Severity.INFO, "the finding", 5)


def _age(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.info("server")["uptime_in_seconds"])


def test_nobody_there(examined: Examine) -> None:
    """A server that is away is one error; the other checks do not repeat it."""
    found = examined(build("redis://127.0.0.1:1/0"), *SERVERS)
    only(found, "redis", Severity.ERROR, "127.0.0.1:1", "cannot be reached")
    assert found.report.cut_off
