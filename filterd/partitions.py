"""Partitions: stream names whose ``*`` is a number, and the hash tags that keep them together."""

from __future__ import annotations

from collections.abc import Mapping

MANY = "*"


def hash_tag(key: str) -> str:
    """The part of a key that its slot in a Redis Cluster depends on.

    >>> hash_tag("{sms-1}:messages"), hash_tag("messages"), hash_tag("{}x"), hash_tag("a{b}{c}")
    ('sms-1', 'messages', '{}x', 'b')
    """
    _, opened, rest = key.partition("{")
    tag, closed, _ = rest.partition("}")
    return tag if opened and closed and tag else key


def numbered(name: str, number: int) -> str:
    """A partition's own name.

    >>> numbered("{sms-*}:messages", 2)
    '{sms-2}:messages'
    """
    return name.replace(MANY, str(number))


def check_names(names: Mapping[str, str], partitions: int, *, cluster: bool) -> None:
    """Raise ValueError, naming the fix, where streams settled together may be apart.

    names: of the streams, by the settings that they are in.
    """
    for setting, name in names.items():
        inside = "{" in name and MANY in hash_tag(name) and MANY not in name.replace(MANY, "", 1)
        if partitions > 1 and not inside:
            raise ValueError(
                f"{partitions} partitions need one * inside the hash tag of each stream's name, "
                f"as in {{sms-*}}:messages: {setting} is {name}"
            )
        if MANY in name and not inside:
            raise ValueError(f"{setting}: * stands inside a hash tag, as in {{sms-*}}:messages")
    tags = {hash_tag(name) for name in names.values()}
    if (cluster or partitions > 1) and len(tags) > 1:
        raise ValueError(
            "streams that are settled together share a slot: give them one hash tag, as in "
            + ", ".join(f"{setting}={{sms}}:{_last(name)}" for setting, name in names.items())
        )


def _last(name: str) -> str:
    return name.rpartition(":")[2]
