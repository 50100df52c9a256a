"""``filterd doctor``: the server, the artifact, the device and the disk, one line a finding."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from filterd.address import Address
from filterd.classifier import Classifier
from filterd.entries import FieldNames
from filterd.errors import ArtifactError, SettingsError, UnavailableError
from filterd.streams.client import open_client, reachable
from filterd.streams.examination import Examination, Finding
from filterd.streams.names import StreamNames
from filterd.terminal import printable

if TYPE_CHECKING:
    from filterd.settings import Settings

LEAST_FREE_BYTES = 1 << 30


def examine(settings: Settings) -> Iterator[Finding]:
    """Examine all that a daemon with these settings would use."""
    yield from _redis(settings)
    yield from _model(settings)
    yield from _disk(Path(Address.parse(settings.redis_url.get_secret_value()).directory or "."))


def as_line(finding: Finding) -> str:
    """Level, topic and what it says."""
    return f"{finding.level:<7} {finding.topic:<12} {printable(finding.says)}"


def as_json(findings: list[Finding]) -> str:
    """One object."""
    return json.dumps({"sound": sound(findings), "findings": [asdict(one) for one in findings]})


def sound(findings: list[Finding]) -> bool:
    """Whether nothing has to be changed."""
    return all(finding.level != "change" for finding in findings)


def _redis(settings: Settings) -> Iterator[Finding]:
    """Of each partition; what is not so of all of them says of which."""
    names = StreamNames.all_of(settings)
    said: dict[Finding, list[str]] = {}
    made: list[Path] = []
    try:
        with reachable(settings.server, made.append) as url:
            for own in names:
                for finding in _of(url, own, settings):
                    said.setdefault(finding, []).append(own.input)
    except (UnavailableError, SettingsError) as error:
        said[Finding("change", "redis", str(error))] = [own.input for own in names]
    for directory in made:
        yield Finding("note", "redis", f"{directory} was not there: it is made, and holds nothing")
    for finding, inputs in said.items():
        where = "" if len(inputs) == len(names) else f"{', '.join(inputs)}: "
        yield replace(finding, says=where + finding.says)


def _of(url: str, names: StreamNames, settings: Settings) -> Iterator[Finding]:
    """Of one partition; the others are examined where its server is away."""
    try:
        with open_client(url, names.input) as client:
            field = FieldNames.of(settings).text
            yield from Examination(client, names, settings.consumer_name, field).findings()
    except UnavailableError as error:
        yield Finding("change", "redis", str(error))


def _model(settings: Settings) -> Iterator[Finding]:
    try:
        classifier = Classifier.load(
            settings.artifact,
            device=settings.device,
            precision=settings.precision,
            threshold=settings.threshold,
        )
    except (ArtifactError, SettingsError) as error:
        yield Finding("change", "artifact", str(error))
        return
    engine = classifier.engine
    yield Finding("ok", "artifact", f"{engine.manifest.version} is whole: its checksums agree")
    _, *others = engine.choices
    faster = f"; {' or '.join(others)} where a daemon's start finds it faster" if others else ""
    yield Finding("ok", "device", f"{engine.device}, {engine.precision}{faster}")


def _disk(directory: Path) -> Iterator[Finding]:
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        yield Finding("note", "disk", f"{directory} could not be examined: {error.strerror}")
        return
    says = f"{free / 1e9:,.1f} GB are free where {directory.resolve()} lies"
    if free < LEAST_FREE_BYTES:
        yield Finding("change", "disk", f"{says}: make room")
    else:
        yield Finding("ok", "disk", says)
