"""The rows of the dashboard, in the order in which they stand."""

from __future__ import annotations

from grafana_foundation_sdk.models.common import BigValueTextMode
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue
from panels import (
    FINE,
    RATE,
    SEL,
    SEVERE,
    WORRYING,
    Panel,
    density,
    lines,
    mean,
    number,
    quantiles,
    query,
    rate,
)

STAGES = ("queue", "tokenize", "forward", "settle")


def now() -> list[Panel]:
    late = [(0.01, WORRYING), (0.144, SEVERE)]
    version = f"count by (version) (filterd_artifact_info{{{SEL}}})"
    artifact = number(
        "Artifact", "Versions being served; two only while a reload goes on.", version
    )
    artifact.text_mode(BigValueTextMode.NAME).targets(
        [query(version, "{{version}}", "A").instant()]
    )
    return [
        number(
            "Daemons ready",
            "How many are reading; the others wait for Redis or warm their model.",
            f"sum(filterd_ready{{{SEL}}})",
            limits=[(1, FINE)],
            first=SEVERE,
        ),
        number("Messages a second", "Verdicts settled.", rate("filterd_verdicts_total"), "reqps"),
        number(
            "Share of spam",
            "Of the verdicts of the last hour.",
            f"max(job:filterd_spam:share1h{{{SEL}}})",
            "percentunit",
        ),
        number(
            "Lag",
            "Entries that no daemon has read yet.",
            f"max(job:filterd_lag_entries:max{{{SEL}}})",
            limits=[(1000, WORRYING)],
        ),
        number(
            "Oldest unread",
            "Age of the oldest entry that no daemon has read yet.",
            f"max(job:filterd_oldest_undelivered_seconds:max{{{SEL}}})",
            "s",
            [(60, WORRYING), (300, SEVERE)],
        ),
        number(
            "Late, last hour",
            "Messages whose verdict took longer than a second; 1% is the budget.",
            f"max(job:filterd_late:ratio_rate1h{{{SEL}}})",
            "percentunit",
            late,
        ),
        number(
            "Dead letters, last day",
            "Entries that can never be scored.",
            f"sum(increase(filterd_dead_letters_total{{{SEL}}}[1d]))",
            limits=[(1, WORRYING)],
        ),
        artifact,
    ]


def traffic() -> list[Panel]:
    return [
        lines(
            "Verdicts",
            "Settled a second.",
            [(rate("filterd_verdicts_total", "label"), "{{label}}")],
            "reqps",
            stacked=True,
        ),
        lines(
            "Share of spam",
            "The last hour against the day before it: FilterdSpamShareDrift compares them.",
            [
                (f"job:filterd_spam:share1h{{{SEL}}}", "last hour"),
                (f"job:filterd_spam:share1d_offset1h{{{SEL}}}", "the day before"),
            ],
            "percentunit",
        ),
        lines(
            "Shift of scores",
            "Kolmogorov-Smirnov distance of the last hour from the day before it. From 0.2 on "
            "FilterdScoreDrift speaks up.",
            [(f"job:filterd_score:shift{{{SEL}}}", "shift")],
        ),
        density("Scores", "Spam is at the top, ham at the bottom.", "filterd_score", "short"),
        lines(
            "Read and claimed",
            "Entries a second: new ones, those taken over from an idle consumer, those answered "
            "from memory because an equal text was, and outcomes that another daemon had settled "
            "already.",
            [
                (rate("filterd_entries_read_total"), "read"),
                (rate("filterd_claimed_total"), "claimed"),
                (rate("filterd_duplicate_hits_total"), "known text"),
                (rate("filterd_settle_lost_total"), "settled elsewhere"),
            ],
            "reqps",
        ),
        lines(
            "Dead letters",
            "A second, by reason.",
            [(rate("filterd_dead_letters_total", "reason"), "{{reason}}")],
            "reqps",
        ),
    ]


def latency() -> list[Panel]:
    return [
        lines(
            "From XADD to verdict",
            "By the clock of the server: what waited in the stream is in it.",
            quantiles("filterd_latency_seconds", 0.5, 0.95, 0.99),
            "s",
        ),
        lines(
            "Where the time goes",
            "Means: an entry in the queue, tokenizing one read, scoring one batch, settling one "
            "batch.",
            [(mean(f"filterd_{stage}_seconds"), stage) for stage in STAGES],
            "s",
        ),
        density("Latencies", "From XADD to verdict.", "filterd_latency_seconds", "s"),
    ]


def backlog() -> list[Panel]:
    return [
        lines(
            "Waiting and in work",
            "Entries that the group has not read, and those that it read and has not settled.",
            [
                (f"job:filterd_lag_entries:max{{{SEL}}}", "lag"),
                (f"max by (job) (filterd_pending_entries{{{SEL}}})", "pending"),
            ],
        ),
        lines(
            "Oldest entries",
            "Ages of the oldest that was not read, and of the oldest that was not settled.",
            [
                (f"job:filterd_oldest_undelivered_seconds:max{{{SEL}}}", "not read"),
                (f"job:filterd_oldest_pending_seconds:max{{{SEL}}}", "not settled"),
            ],
            "s",
        ),
        lines(
            "In flight",
            "Entries that each daemon holds.",
            [(f"filterd_inflight_entries{{{SEL}}}", "{{instance}}")],
        ),
    ]


def engine() -> list[Panel]:
    return [
        lines(
            "Entries in a batch",
            "More under load: that is what batching is for.",
            quantiles("filterd_batch_entries", 0.5, 0.95),
        ),
        lines(
            "Tokens in a batch, and padding",
            "Padding is a share of the attention's work; linear layers have none.",
            [
                (mean("filterd_batch_tokens"), "tokens"),
                (mean("filterd_batch_padding_ratio"), "padding"),
            ],
        ).override_by_name(
            "padding",
            [
                DynamicConfigValue("unit", "percentunit"),
                DynamicConfigValue("custom.axisPlacement", "right"),
            ],
        ),
        lines(
            "Why batches go",
            "idle: the engine was free; full: the token budget was reached, the engine is busy.",
            [(rate("filterd_batch_dispatch_total", "reason"), "{{reason}}")],
            "ops",
            stacked=True,
        ),
    ]


def processes() -> list[Panel]:
    return [
        lines(
            "Trouble with Redis",
            "Errors a second, by kind; and what too few replicas confirmed in time.",
            [
                (rate("filterd_redis_errors_total", "kind"), "{{kind}}"),
                (rate("filterd_wait_timeouts_total"), "not replicated"),
            ],
            "ops",
        ),
        lines(
            "Tasks",
            "In each daemon's event loop; steady, whatever the load.",
            [(f"filterd_tasks{{{SEL}}}", "{{instance}}")],
        ),
        lines(
            "Processor",
            "Cores that each daemon keeps busy.",
            [(f"rate(process_cpu_seconds_total{{{SEL}}}[{RATE}])", "{{instance}}")],
        ),
        lines(
            "Memory",
            "Resident, of each daemon; it does not grow with the backlog.",
            [(f"process_resident_memory_bytes{{{SEL}}}", "{{instance}}")],
            "bytes",
        ),
    ]


def models() -> list[Panel]:
    return [
        lines(
            "What is served",
            "Daemons by the artifact that they serve, and by the challenger in their shadow.",
            [
                (f"count by (version) (filterd_artifact_info{{{SEL}}})", "{{version}}"),
                (f"count by (version) (filterd_shadow_info{{{SEL}}})", "challenger {{version}}"),
            ],
        ),
        lines(
            "The challenger in the shadow",
            "Verdicts a second that it gave too: the same, or the label that it would change them "
            "to; and those that it was too slow for.",
            [
                (rate("filterd_shadow_verdicts_total", "result"), "{{result}}"),
                (rate("filterd_shadow_dropped_total"), "too slow"),
            ],
            "ops",
        ),
        lines(
            "Its shift of scores",
            "Challenger minus champion: median, and what 5% are below and above.",
            quantiles("filterd_shadow_shift", 0.05, 0.5, 0.95),
        ).min(-1),
        lines(
            "Reloads",
            "New artifacts within an hour, loaded or refused.",
            [
                (_reloads("filterd_reloads_total"), "champion {{result}}"),
                (_reloads("filterd_shadow_reloads_total"), "challenger {{result}}"),
            ],
        ),
        lines(
            "Since the last retraining",
            "Two days are too long: FilterdRetrainOverdue.",
            [("time() - filterd_retrain_last_run_timestamp_seconds", "since it ran")],
            "s",
        ),
        lines(
            "Outcome of the last retraining",
            "1 for what became of it.",
            [("filterd_retrain_last_outcome", "{{outcome}}")],
        ),
    ]


def _reloads(metric: str) -> str:
    return f"sum by (result) (increase({metric}{{{SEL}}}[1h]))"
