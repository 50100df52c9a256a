"""A real Redis Cluster for tests: three shards, each a primary and its replica."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.servers import RedisServer, free_port
from tests.waiting import eventually

SHARDS = 3
NODE = (
    *("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--appendfsync", "always"),
    *("--repl-diskless-sync-delay", "0", "--cluster-allow-replica-migration", "no"),
    *("--cluster-replica-validity-factor", "0"),
)


class Cluster:
    """Its nodes, by port."""

    def __init__(self, program: Path, folder: Path) -> None:
        made = [self._node(program, folder / str(number)) for number in range(2 * SHARDS)]
        self.nodes = {server.port: server for server in made}
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """What FILTERD_REDIS_URL is set to."""
        return f"redis://{','.join(f'127.0.0.1:{port}' for port in self.nodes)}"

    def owner(self, key: str) -> RedisServer:
        """The primary that serves a key, as all nodes that answer agree; AssertionError else."""
        found = {self._said(server, key) for server in self.nodes.values() if server.process}
        assert len(found) == 1, found
        return self.nodes[found.pop()]

    def whole(self) -> bool:
        """Whether all nodes see all of it, and each primary's replica is in step."""
        primaries = 0
        for server in self.nodes.values():
            with server.client() as client:
                if client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                    return False
                if client.info("replication")["role"] == "master":
                    primaries += 1
                    if client.wait(1, 100) != 1:
                        return False
        return primaries == SHARDS

    def agreed(self, key: str, other_than: RedisServer) -> bool:
        """Whether all nodes see another primary of a key now."""
        try:
            return self.owner(key) is not other_than
        except AssertionError:
            return False

    def _said(self, server: RedisServer, key: str) -> int:
        with server.client() as client:
            slot = int(client.execute_command("CLUSTER KEYSLOT", key))
            for first, last, primary, *_ in client.execute_command("CLUSTER SLOTS"):
                if first <= slot <= last:
                    return int(primary[1])
        raise AssertionError(f"nobody serves slot {slot}")

    @staticmethod
    def _node(program: Path, folder: Path) -> RedisServer:
        bus = ("--cluster-port", str(free_port()))
        return RedisServer(program, folder, tcp=True, config=(*NODE, *bus))

    def __enter__(self) -> Self:
        with self._stack:
            for server in self.nodes.values():
                self._stack.enter_context(server)
            addresses = [f"127.0.0.1:{port}" for port in self.nodes]
            command = ["redis-cli", "--cluster", "create", *addresses, "--cluster-replicas", "1"]
            done = subprocess.run(
                [*command, "--cluster-yes"], capture_output=True, text=True, timeout=90, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            eventually(self.whole, "the cluster is whole", within_s=90)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
