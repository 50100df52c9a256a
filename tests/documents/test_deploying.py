"""What the documents of ``deploy/`` say to type, as far as no cluster and no systemd is needed.

Programs that are there are run; of the others' commands each file, subcommand and setting exists.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from filterd import cli as filterd_cli
from filterd.settings import PREFIX, Settings
from tests.documents.markdown import Code, code
from trainer import cli as trainer_cli

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("deploy/README.md", "deploy/redis/README.md")
COMMANDS = [(document, block) for document in DOCUMENTS for block in code(ROOT / document)]
RUN_HERE = ("promtool", "printf")
PROGRAMS = {"filterd": filterd_cli.cli, "trainer": trainer_cli.cli}
ASSIGNMENT = re.compile(rf"{PREFIX}(\w+)=(.*)")


def words_of(block: Code) -> list[str]:
    return shlex.split(block.text, comments=True)


@pytest.mark.parametrize(
    "block", [block for _, block in COMMANDS if block.name.startswith(RUN_HERE)], ids=str
)
def test_what_can_be_run_works(block: Code) -> None:
    if shutil.which(block.name.split()[0]) is None:
        pytest.skip(f"{block.name.split()[0]} is not installed")
    done = subprocess.run(["bash", "-c", block.text], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("document", "block"), COMMANDS, ids=str)
def test_files_are_there(document: str, block: Code) -> None:
    inside = ROOT / "deploy"  # where `cd deploy` leaves the reader of Compose's commands
    for word in words_of(block):
        if word.startswith("deploy/") or word in ("constraints.txt", "compose.env"):
            home = inside if word == "compose.env" else ROOT
            assert list(home.glob(word)), f"{document} names {word}"


@pytest.mark.parametrize(("document", "block"), COMMANDS, ids=str)
def test_subcommands_are_there(document: str, block: Code) -> None:
    words = words_of(block)
    for place, word in enumerate(words):
        program, after = PROGRAMS.get(Path(word).name), words[place + 1 :]
        if program is None or not after or Path(after[0]).name in PROGRAMS:
            continue  # `docker compose exec filterd filterd publish`: the first is a service
        if "/" in word or words[place - 1] in ("filterd", "retrain"):
            found = program.get_command(click.Context(program), after[0])
            assert found is not None, f"{document}: {word} has no {after[0]}"


def test_settings_are_valid() -> None:
    """One by one, but for a cluster's, which belong together."""
    told: dict[str, str] = {}
    for _, block in COMMANDS:
        if (found := ASSIGNMENT.fullmatch(block.text.strip())) is None:
            continue
        name, value = found[1].lower(), found[2].strip("'\"")
        told[name] = value
        if "redis_cluster" not in told:  # behind it stands what belongs together
            Settings.load(**{name: value})
    assert {"redis_url", "redis_cluster", "partitions", "input_stream"} <= told.keys()
    assert Settings.load(**told).partitions == int(told["partitions"])
