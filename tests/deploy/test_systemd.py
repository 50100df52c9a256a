"""The units, as systemd's own tools read them."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from filterd.settings import Settings
from tests.deploy.files import DEPLOY, needs

FOLDER = DEPLOY / "systemd"
SERVICES = ("filterd.service", "filterd-retrain.service")
UNITS = Path("/lib/systemd/system")

pytestmark = needs("systemd-analyze", "systemd")


def verified(root: Path, unit: str) -> str:
    """What ``systemd-analyze verify`` has to say about a unit, in a machine made up for it."""
    shutil.copytree(UNITS, root / "usr/lib/systemd/system", symlinks=True)
    shutil.copytree(FOLDER, root / "etc/systemd/system")
    for program in ("opt/filterd/bin/filterd", "opt/filterd/bin/trainer", "bin/kill"):
        (root / program).parent.mkdir(parents=True, exist_ok=True)
        (root / program).write_text("#!/bin/sh\n")
        (root / program).chmod(0o755)
    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={root}", unit], capture_output=True, text=True
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("unit", [*SERVICES, "filterd-retrain.timer"])
def test_verify(tmp_path: Path, unit: str) -> None:
    assert verified(tmp_path, unit) == ""


def test_verify_would_find_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(FOLDER, wrong)
    text = (wrong / "filterd.service").read_text()
    (wrong / "filterd.service").write_text(text.replace("ProtectClock=", "ProtectClocks="))
    monkeypatch.setattr("tests.deploy.test_systemd.FOLDER", wrong)
    assert "ProtectClocks" in verified(tmp_path / "root", "filterd.service")


@pytest.mark.parametrize("unit", SERVICES)
def test_little_is_exposed(unit: str) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", FOLDER / unit]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_user_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    command = ["systemd-sysusers", f"--root={tmp_path}", FOLDER / "filterd.sysusers"]
    subprocess.run(command, check=True, capture_output=True)
    names = {line.split(":")[0] for line in (tmp_path / "etc" / "passwd").read_text().splitlines()}
    assert {read(name)["Service"]["User"] for name in SERVICES} <= names


def test_it_drains_before_it_is_killed() -> None:
    service = read("filterd.service")["Service"]
    assert float(service["TimeoutStopSec"]) >= Settings().drain_s + 20
    assert service["Type"] == "notify"
    assert float(service["WatchdogSec"]) > 0


def test_metrics_lie_where_the_retraining_may_write() -> None:
    settings = dict(
        line.split("=", 1)
        for line in (FOLDER / "filterd.env").read_text().splitlines()
        if line and not line.startswith("#")
    )
    service = read("filterd-retrain.service")["Service"]
    assert (
        Path(settings["TRAINER_METRICS_FILE"]).parent
        == Path("/var/cache") / service["CacheDirectory"]
    )
    state = Path("/var/lib") / service["StateDirectory"]
    assert Path(settings["TRAINER_ARTIFACTS"]).parent == state
    assert Path(settings["FILTERD_ARTIFACT"]) == Path(settings["TRAINER_ARTIFACTS"]) / "champion"


def test_both_services_are_confined_alike() -> None:
    """What the retraining may not, the daemon may not, and the other way round."""
    one, other = (read(name)["Service"] for name in SERVICES)
    confined = {key for key in one if key.startswith(("Protect", "Private", "Restrict", "System"))}
    assert len(confined) > 15
    assert {key: one[key] for key in confined} == {key: other.get(key) for key in confined}


def read(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(FOLDER / name)
    return unit
