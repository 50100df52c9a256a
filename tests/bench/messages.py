"""The messages that benchmarks run on."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

COLLECTION = Path(__file__).parents[3] / "shared/data/sms_spam_collection/SMSSpamCollection"


def real_messages() -> list[str]:
    """The SMS Spam Collection where it lies beside the checkout, else the sample."""
    sample = files("filterd") / "sample" / "messages.tsv"
    source = COLLECTION if COLLECTION.exists() else sample
    lines = source.read_text(encoding="utf-8").rstrip("\n").split("\n")
    return [line.split("\t", 1)[1] for line in lines]
