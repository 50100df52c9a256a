"""The retrain job: one at a time, promoted only by the gate, interrupted anywhere without harm."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from filterd import artifact
from filterd.errors import ArtifactError
from tests.killed import Reached, killed_at, steps_of
from tests.servers import embedded
from tests.trainer.retraining import NEW_HAM, NEW_SPAM, World, flipped, founded, new_kind
from tests.trainer.runs import environment
from trainer import durable, make, recipe, report
from trainer.cli import main
from trainer.dataset import Message
from trainer.evaluation import score_texts

COMMITTED = "written"
"""The step from which on a run counts."""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, small: list[Message]) -> Iterator[World]:
    """A champion on made-up messages; nobody has said anything yet."""
    with (
        pytest.MonkeyPatch.context() as patch,
        embedded() as server,
    ):
        patch.setattr("trainer.report.files", lambda *_: {})
        folder = tmp_path_factory.mktemp("world") / "first"
        yield founded(folder, server.url, "first", small)


@pytest.fixture
def world(first: World, tmp_path: Path, prefix: str) -> World:
    """The same with a registry and a stream of its own."""
    copied = first.copy(tmp_path / "world")
    return World(copied.folder, copied.url, prefix)


def texts_in(folder: Path, text: str) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and text.encode() in p.read_bytes()]


def right(judge: artifact.Artifact) -> float:
    """How many messages of the new kind, none of which anybody has mentioned, it gets right."""
    ham = [NEW_HAM.format(number, number % 5) for number in range(900, 940)]
    spam = [NEW_SPAM.format(3, number) for number in range(900, 940)]
    called = score_texts(judge, [*ham, *spam]) >= 0.5
    return float(((~called[:40]).mean() + called[40:].mean()) / 2)


def test_a_new_kind_is_learned_and_the_challenger_promoted(world: World) -> None:
    world.say(new_kind())
    before = artifact.load(world.artifacts / "champion")
    ended = world.run()
    assert (ended.outcome, ended.why) == ("promoted", "passed the gate")
    after = artifact.load(world.artifacts / "champion")
    assert right(before) < 0.7
    assert right(after) > 0.9
    last = world.registry.history()[-1]
    assert (last.action, last.champion) == ("promote", after.manifest.version)
    assert ended.report is not None
    found = json.loads((ended.report / "report.json").read_text())
    assert found["passed"]
    assert found["feedback"]["fresh"] == 80
    assert found["feedback"]["learned"] + found["feedback"]["held_out"] == 80
    page = (ended.report / "report.html").read_text()
    assert "The challenger passes the gate." in page
    shown = [path.name for path in texts_in(ended.report, "your parcel waits")]
    assert set(shown) == {"words.jsonl", "feedback.csv"}
    assert world.run().outcome == "nothing to do"
    assert world.registry.history()[-1] == last
    assert list(world.registry.private.glob("runs/*")) == []

    again = recipe.load(str(ended.report / "recipe.toml"))
    place = make.Place(world.folder / "again", world.folder / "again-work")
    extra = [ended.report / "feedback.csv"]
    _, repeated = make.make(again, ended.report / "data", place, lambda _: None, extra=extra)
    assert repeated.manifest.version == after.manifest.version

    world.registry.roll_back(None, "to see")
    assert artifact.load(world.artifacts / "champion").manifest.version == before.manifest.version


def test_flipped_labels_are_refused(world: World, small: list[Message]) -> None:
    world.say(flipped(small))
    ended = world.run()
    assert ended.outcome == "kept"
    assert "frozen test set" in ended.why
    assert world.registry.linked("champion") == "first"
    assert world.registry.linked("challenger") == ended.challenger
    assert ended.report is not None
    assert "The champion stays." in (ended.report / "report.html").read_text()
    assert world.run().outcome == "nothing to do"

    with redis.Redis.from_url(world.url) as client:  # people see the report, and take it back
        stream = world.feedback(client)
        taken_back = [stream.withdraw(id_.decode()) for id_, _ in client.xrange(world.stream)]
        client.xtrim(world.stream, minid=taken_back[0].id, approximate=False)
    world.say(new_kind())
    assert world.run().outcome == "promoted"


def test_too_little_held_out_feedback_promotes_nobody(world: World) -> None:
    world.say(new_kind(21))
    ended = world.run(least_held_out=200)
    assert ended.outcome == "kept"
    assert "held-out feedback: only" in ended.why
    world.say([(NEW_SPAM.format(n, 5000 + n), "spam") for n in range(30)])
    assert world.run().outcome == "promoted"  # what was kept counts on


def test_a_changed_champion_and_a_later_run_forbid_the_promotion(world: World) -> None:
    world.say(new_kind())

    def rival(step: str) -> None:
        if step == "compared":
            path = world.registry.private / "retrain.token"
            durable.write_whole(path, b"99\n")

    with pytest.raises(ArtifactError, match="another retraining has begun since"):
        world.run(rival)
    (world.artifacts / "second").mkdir()
    for path in (world.artifacts / "first").iterdir():
        if path.is_file():
            (world.artifacts / "second" / path.name).write_bytes(path.read_bytes())

    def promotion(step: str) -> None:
        if step == "compared":
            world.registry.promote("second", "by hand")

    with pytest.raises(ArtifactError, match="the champion is second now, not first"):
        world.run(promotion)
    assert world.registry.linked("champion") == "second"
    assert world.run().outcome == "promoted"


def test_of_two_at_once_one_waits_for_its_turn(world: World) -> None:
    world.say(new_kind())
    private = world.registry.private
    code = (
        "import sys, time, pathlib; from trainer import durable\n"
        "with durable.locked(pathlib.Path(sys.argv[1])) as free:\n"
        "    print(free, flush=True); time.sleep(100)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, private / "retrain.lock"],
        env=environment(),
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"True\n"
    with pytest.raises(ArtifactError, match="another retraining is running"):
        world.run()
    holder.kill()
    holder.communicate()
    assert world.run().outcome == "promoted"


def test_two_started_together_promote_once(world: World) -> None:
    world.say(new_kind())
    given = {
        "FILTERD_REDIS_URL": world.url,
        "FILTERD_FEEDBACK_STREAM": world.stream,
        "TRAINER_ARTIFACTS": str(world.artifacts),
        "TRAINER_DATA": str(world.folder / "data"),
        "TRAINER_LEAST_TEST": "20",
        "TRAINER_LEAST_HELD_OUT": "8",
        "TRAINER_MARGIN": "0.05",
        "TRAINER_HAM_MARGIN": "0.05",
    }
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "trainer", "retrain"],
            env=environment(**given),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ended = [(*process.communicate(timeout=110), process.returncode) for process in both]
    promoted = [out for out, _, code in ended if code == 0 and out.startswith("promoted")]
    assert len(promoted) == 1, ended
    ((out, err, code),) = (each for each in ended if each[0] not in promoted)
    late = code == 0 and out.startswith("nothing to do")
    assert late or (code == 1 and "another retraining is running: " in err), ended
    assert [change.action for change in world.registry.history()] == ["promote", "promote"]


def test_the_command_and_its_metrics(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = world.folder / "metrics" / "retrain.prom"
    for name, value in {
        "FILTERD_REDIS_URL": world.url,
        "FILTERD_FEEDBACK_STREAM": world.stream,
        "FILTERD_INPUT_STREAM": f"{world.stream}:in",
        "FILTERD_OUTPUT_STREAM": f"{world.stream}:out",
        "TRAINER_ARTIFACTS": world.artifacts,
        "TRAINER_DATA": world.folder / "data",
        "TRAINER_METRICS_FILE": metrics,
        "TRAINER_LEAST_TEST": "20",
        "TRAINER_LEAST_HELD_OUT": "8",
    }.items():
        monkeypatch.setenv(name, str(value))

    def retrain(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["retrain", *arguments])
        return int(left.value.code or 0), *capsys.readouterr()

    code, out, _ = retrain()
    assert (code, out) == (0, "nothing to do: 0 new corrections, 20 are worth a training\n")
    world.say(new_kind())
    code, out, err = retrain("--json", "--margin", "0.05", "--ham-margin", "0.05")
    assert (code, json.loads(out)["outcome"]) == (0, "promoted")
    assert "80 new words" in err
    written = metrics.read_text()
    assert 'filterd_retrain_last_outcome{outcome="promoted"} 1.0' in written
    assert 'filterd_retrain_check_passed{check="frozen_test_set"} 1.0' in written
    assert 'filterd_retrain_feedback{kind="fresh"} 80.0' in written
    monkeypatch.setenv("TRAINER_DATA", str(world.folder / "nowhere"))
    world.say(new_kind(90)[60:90])
    code, _, err = retrain()
    assert code == 1
    assert err.endswith(
        "make it with trainer prepare --source sms-spam-collection --output "
        f"{world.folder / 'nowhere'}\n"
    )
    assert 'filterd_retrain_last_outcome{outcome="failed"} 1.0' in metrics.read_text()
    metrics.unlink()
    with monkeypatch.context() as away:
        away.setenv("FILTERD_REDIS_URL", "redis://127.0.0.1:1/0")
        code, _, err = retrain()
    assert (code, err.count("\n")) == (1, 1)
    assert 'filterd_retrain_last_outcome{outcome="failed"} 1.0' in metrics.read_text()
    monkeypatch.setenv("TRAINER_DAT", "x")
    code, _, err = retrain()
    assert (code, err) == (
        2,
        "trainer: no setting is called TRAINER_DAT: did you mean TRAINER_DATA?\n",
    )


@pytest.mark.timeout(1200)
def test_killed_at_any_step_it_is_as_before_or_done(world: World) -> None:
    """In a process of its own: this one has threads, and would not fork safely."""
    world.say(new_kind())
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.trainer.test_retraining",
            world.folder,
            world.url,
            world.stream,
        ],
        env=environment(),
        timeout=1150,
    )
    assert ended.returncode == 0


def _kill_at_every_step(world: World) -> None:
    report.files = lambda *_: {}  # type: ignore[assignment]
    trial = world.copy(world.folder.parent / "trial")
    steps = steps_of(lambda reached: trial.run(reached))
    assert COMMITTED in steps
    new = trial.registry.linked("champion")
    for number, step in enumerate(steps):
        spoilt = world.copy(world.folder.parent / f"killed-{number}")

        def act(reached: Reached, spoilt: World = spoilt) -> None:
            spoilt.run(reached)

        assert killed_at(number, act), step
        artifact.load(spoilt.artifacts / "champion")
        done = steps.index(COMMITTED) <= number
        committed = [change for change in spoilt.registry.history() if change.run]
        assert len(committed) == done, step
        again = spoilt.run()
        assert again.outcome == ("nothing to do" if done else "promoted"), step
        assert spoilt.registry.linked("champion") == new
        assert [change.number for change in spoilt.registry.history()] == [1, 2]
        assert list(spoilt.registry.private.glob("runs/*")) == [] or done


if __name__ == "__main__":
    _kill_at_every_step(World(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
