"""A million hostile entries through a real server into a running daemon.

    python -m tests.fuzz --entries 1000000

Each must end once, as the verdict or the dead letter that its fields deserve, with its fields
byte for byte. The model is a tiny one: what is tried here is the path around it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.artifacts import tiny_artifact
from tests.e2e.daemon import Daemon, Streams
from tests.fuzz.campaign import SETTINGS, SHAPE, Campaign
from tests.fuzz.entries import cases
from tests.servers import RedisServer, binary
from tests.waiting import eventually


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--server", choices=("embedded", "debian"), default="embedded")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    program = binary(options.server)
    assert program is not None, f"no {options.server} server is installed"
    with tempfile.TemporaryDirectory(prefix="fd-") as name:
        folder = Path(name)
        artifact = tiny_artifact(folder / "tiny", config=SHAPE)
        with (
            RedisServer(program, folder / "server") as server,
            server.client() as client,
            Daemon(server.url, "fuzz", folder / "log", ARTIFACT=artifact, **SETTINGS) as daemon,
        ):
            eventually(daemon.ready, within_s=120)
            campaign = Campaign(daemon, Streams(client, "fuzz"), tell=_tell)
            found = campaign.run(cases(options.seed), options.entries)
            code = daemon.stop()
    rows = {
        "entries": found.published,
        "seconds": round(found.seconds),
        "daemon's most memory, MB": round(found.most_memory_mb),
        "exit code of the daemon": code,
        **{f"ended as {name}": count for name, count in found.outcomes.most_common()},
        **{f"kind: {name}": count for name, count in found.kinds.most_common()},
    }
    for row, value in rows.items():
        print(f"{row:30} {value:10,}")  # noqa: T201
    return code


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
