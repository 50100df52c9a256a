"""Daemons under load and faults for as long as you like, and a report of what became of it all.

    python -m tests.soak --minutes 60 --rate 50 --faults 60 --spared 1 --retention-s 300
    python -m tests.soak --messages 100000 --rate 160 --faults 220 --artifact starter

Every entry must end exactly once, as a verdict: that is checked while it runs, and by ``filterd
audit`` at the end. Faults strike while the daemon that they hit holds entries. Exit code 1 says
that a promise was broken.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.soak.plan import Plan
from tests.soak.soaking import soak


def main() -> int:
    """Run and print."""
    options = _parse()
    messages = options.messages or int(options.minutes * 60 * options.rate)
    plan = Plan(
        messages=messages,
        rate=options.rate,
        daemons=options.daemons,
        spared=options.spared,
        publishers=options.publishers,
        faults=options.faults,
        claim_idle_s=options.claim_idle_s,
        retention_s=options.retention_s,
        output_maxlen=options.output_maxlen,
        artifact=options.artifact,
        server=options.server,
        seed=options.seed,
    )
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        found = soak(plan, options.keep or Path(folder), _tell)
    print(found.to_json() if options.json else found.to_text())  # noqa: T201
    return 1 if found.problems else 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=1.0)
    length.add_argument("--messages", type=int, help="instead of minutes; at least so many")
    parser.add_argument("--rate", type=float, default=100.0, help="messages a second")
    parser.add_argument("--daemons", type=int, default=3)
    parser.add_argument("--spared", type=int, default=0, help="daemons that are never ended")
    parser.add_argument("--publishers", type=int, default=2)
    parser.add_argument("--faults", type=int, default=0, help="spread at random over the time")
    parser.add_argument("--claim-idle-s", type=float, default=2.0)
    parser.add_argument("--retention-s", type=float, default=86_400.0)
    parser.add_argument("--output-maxlen", type=int, default=1_000_000)
    parser.add_argument("--artifact", default="tiny", help="tiny, starter, or a folder")
    parser.add_argument("--server", choices=("embedded", "debian"), default="embedded")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", type=Path, help="an empty folder for the logs and the data")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
