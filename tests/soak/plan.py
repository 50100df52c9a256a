"""What a soak will do: how long, how fast, and which faults strike whom, all from one seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "kill", "terminate", "freeze", "cut", "stall", "client-kill", "redis-restart", "redis-crash"
]

WEIGHTS: dict[Kind, int] = {
    "kill": 3,
    "terminate": 1,
    "freeze": 4,
    "cut": 6,
    "stall": 1,
    "client-kill": 6,
    "redis-restart": 4,
    "redis-crash": 5,
}
"""How often each kind strikes, beside the others."""

ENDS_A_DAEMON: frozenset[Kind] = frozenset({"kill", "terminate"})


@dataclass(frozen=True, slots=True)
class Plan:
    """A soak. spared: daemons that are never ended, so that growth in them can be seen."""

    messages: int
    rate: float
    daemons: int = 3
    spared: int = 0
    publishers: int = 2
    faults: int = 0
    claim_idle_s: float = 2.0
    retention_s: float = 86_400.0
    output_maxlen: int = 1_000_000
    artifact: str = "tiny"
    server: str = "embedded"
    seed: int = 0

    @property
    def seconds(self) -> float:
        """How long publishing takes where nothing holds it up."""
        return self.messages / self.rate

    @property
    def trims(self) -> bool:
        """Whether streams are trimmed while it lasts, so that none may grow from then on."""
        return self.retention_s < self.seconds


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. after_s: since publishing began · lasts_s: until what it took away is back."""

    kind: Kind
    daemon: int
    after_s: float
    lasts_s: float


def faults(plan: Plan) -> Iterator[Fault]:
    """The faults of a plan in their order; the same for the same seed."""
    rng = random.Random(plan.seed)
    kinds = [kind for kind in WEIGHTS if plan.spared < plan.daemons or kind not in ENDS_A_DAEMON]
    weights = [WEIGHTS[kind] for kind in kinds]
    times = sorted(rng.uniform(0, plan.seconds) for _ in range(plan.faults))
    for after_s in times:
        kind = rng.choices(kinds, weights)[0]
        first = plan.spared if kind in ENDS_A_DAEMON else 0
        yield Fault(
            kind,
            rng.randrange(first, plan.daemons),
            after_s,
            _lasts_s(kind, rng, plan.claim_idle_s),
        )


def _lasts_s(kind: Kind, rng: random.Random, claim_idle_s: float) -> float:
    if kind == "freeze":  # so long that others claim what the frozen one holds
        return claim_idle_s * rng.uniform(1.5, 3)
    if kind == "stall":  # below and above the socket timeout
        return rng.choice((1.0, 3.0, 12.0))
    if kind in ("kill", "redis-crash", "redis-restart"):
        return rng.choice((0.0, 0.0, claim_idle_s * 2))
    return 0.0
