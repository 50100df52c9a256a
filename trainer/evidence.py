"""What daemons have seen of a challenger in their shadow: the evidence for a promotion."""

from __future__ import annotations

from filterd.artifact import read_manifest
from filterd.errors import ArtifactError
from filterd.settings import Settings
from filterd.streams.client import open_client
from filterd.streams.shadowing import agreement
from trainer.succession import Registry


def shadowed(registry: Registry, name: str, least: int, wanted: float) -> str:
    """How often champion and challenger agreed, in a line for the history.

    Raises ArtifactError where that is too seldom, or was seen of too few messages.
    """
    champion = registry.linked("champion")
    if not champion:
        raise ArtifactError("there is no champion to agree with: promote without --after-shadow")
    pair = [read_manifest(registry.folder / each).version for each in (champion, name)]
    settings = Settings.load()
    with open_client(settings.server, settings.shadow_stream) as client:
        seen, same = agreement(client, settings.shadow_stream, *pair)
    if seen < least:
        raise ArtifactError(
            f"{pair[1]} was compared with {pair[0]} on {seen:,} messages, {least:,} are needed: "
            "run daemons with FILTERD_SHADOW_SHARE above 0, and it as the challenger"
        )
    line = f"agreed with {pair[0]} on {same / seen:.2%} of {seen:,} messages in the shadow"
    if same / seen < wanted:
        raise ArtifactError(f"{pair[1]} {line}, {wanted:.2%} are needed: look at them first")
    return line
