"""The commands, as processes: output, one-line errors, exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from filterd.cli import cli
from filterd.errors import UnavailableError
from filterd.settings import Settings
from filterd.streams.client import open_client
from filterd.tables import Source
from tests.commands import command, environment, filterd
from tests.waiting import eventually

HEAVY = ("torch", "redis", "aiohttp", "pydantic", "numpy", "rich", "structlog")
ARTICLE = (
    "You are a winner you have been specially selected to receive $1000 cash or a $2000 award."
)


def imported_by(*arguments: str) -> set[str]:
    """The heavy packages that a command imports."""
    code = (
        "import sys\nfrom filterd.cli import main\n"
        f"sys.argv = ['filterd', *{arguments!r}]\n"
        f"try:\n    main()\nfinally:\n    print('+'.join({HEAVY!r} & sys.modules.keys()))"
    ).replace(repr(HEAVY), f"set({HEAVY!r})")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return set(filter(None, done.stdout.splitlines()[-1].split("+")))


def test_help_and_version_import_nothing_heavy() -> None:
    assert imported_by("--help") == set()
    assert imported_by("--version") == set()


def test_help_of_a_command_imports_the_settings_alone() -> None:
    assert imported_by("run", "--help") == {"pydantic"}


@pytest.mark.parametrize("arguments", [["--help"], [], *([name, "-h"] for name in cli.commands)])
def test_help_has_examples_and_no_surprises(arguments: list[str]) -> None:
    done = filterd(*arguments)
    assert done.code == (0 if arguments else 2)
    text = done.out or done.err
    assert "Usage: filterd" in text
    if len(arguments) == 2:
        assert f"\n  filterd {arguments[0]}" in text


def test_run_lists_every_setting() -> None:
    text = filterd("run", "--help").out
    joined = " ".join(text.split())
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')} " in joined
        assert f"FILTERD_{name.upper()}" in joined
        assert field.description


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["run", "--nonsense"], 2, "No such option '--nonsense'."),
        (["run", "nonsense"], 2, "argument (nonsense). Try 'filterd run --help'."),
        (["run", "--redis-url", "http://x"], 2, "FILTERD_REDIS_URL: "),
        (["run", "--http-port", "zero"], 2, "--http-port"),
        (["run", "--http-port", "70000"], 2, "FILTERD_HTTP_PORT: "),
        (["run", "--device", "tpu"], 2, "'tpu' is not one of 'auto', 'cpu', 'cuda'"),
        (["publish", "a", "--redis-url", "redis://127.0.0.1:1"], 1, "cannot be reached"),
        (["publish", "a", "b", "--id", "x"], 2, "--id goes with exactly one TEXT"),
        (["publish", "a", "--input", __file__], 2, "not both"),
        (["classify", "--output", "f.csv"], 2, "--output needs --input"),
        (["classify", "--input", __file__], 2, "must end in one of .csv"),
        (["classify", "--input", __file__, "--output", __file__], 2, "name another"),
        (["classify", "--input", "absent.csv"], 2, "'absent.csv' does not exist"),
        (["classify", "--artifact", "/absent", "x"], 1, "no artifact at /absent"),
        (["tail", "--redis-url", "unix:///absent/socket"], 1, "cannot be reached"),
        (["demo", "--rate", "0"], 2, "--rate"),
        (["feedback"], 2, "give either spam or ham, or --withdraw ID"),
        (["feedback", "spam"], 2, "give either TEXT or --entry ID"),
        (["feedback", "spam", "x", "--entry", "1-0"], 2, "give either TEXT or --entry ID"),
        (["feedback", "spam", "x", "--withdraw", "1-0"], 2, "give either spam or ham, or"),
        (["feedback", "--withdraw", "1-0", "--entry", "1-0"], 2, "--withdraw goes alone"),
        (["feedback", "Lunch?"], 2, "'Lunch?' is not one of 'spam', 'ham'"),
    ],
)
def test_errors_are_one_line(arguments: list[str], code: int, what: str) -> None:
    done = filterd(*arguments)
    assert what in done.error
    assert done.code == code
    assert done.out == ""


def test_password_is_never_shown() -> None:
    for url in ("redis://:pa55word@127.0.0.1:1/0", "redis://:pa55word@[::1/0", "rediss:pa55word"):
        done = filterd("publish", "text", redis_url=url)
        assert done.code in (1, 2)
        assert "pa55word" not in done.error


def test_misspelt_setting_is_refused() -> None:
    done = filterd("tail", redis_ulr="redis://127.0.0.1")
    assert (done.code, "FILTERD_REDIS_URL" in done.error) == (2, True)


@pytest.mark.parametrize("arguments", [("--debug", "tail"), ("tail", "--debug")])
def test_debug_shows_the_traceback(arguments: tuple[str, ...]) -> None:
    done = filterd(*arguments, redis_url="redis://127.0.0.1:1")
    assert done.code == 1
    assert "Traceback" in done.err
    assert "UnavailableError" in done.err


def test_classify_prints_a_line_a_message(tiny: Path) -> None:
    done = filterd("classify", "one\ttwo\nthree", "plain", artifact=str(tiny))
    lines = done.out.split("\n")
    assert lines.pop() == ""
    assert [line.split("\t")[2] for line in lines] == ["one\\ttwo\\nthree", "plain"]
    for line in lines:
        label, score, _ = line.split("\t")
        assert label == ("spam" if float(score) >= 0.5 else "ham")
        assert len(score) == len("0.123456")


def test_classify_reads_lines_and_writes_json(tiny: Path) -> None:
    texts = ["first", "", "zwei ü 🎉"]
    done = filterd("classify", "--json", stdin="\n".join(texts), artifact=str(tiny))
    objects = [json.loads(line) for line in done.out.splitlines()]
    assert [o["text"] for o in objects] == texts
    assert {tuple(o) for o in objects} == {("label", "score", "threshold", "model", "text")}
    assert {(o["threshold"], o["model"]) for o in objects} == {(0.5, "tiny-1")}


def test_classify_answers_each_line_at_once(tiny: Path) -> None:
    with subprocess.Popen(
        command("classify"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(artifact=str(tiny)),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for text in (b"one\n", b"two\n"):
            process.stdin.write(text)
            process.stdin.flush()
            assert process.stdout.readline().endswith(b"\t" + text)


def test_classify_names_the_line_that_is_not_utf8(tiny: Path) -> None:
    done = filterd("classify", stdin=b"fine\nca\xe9\n", artifact=str(tiny))
    assert done.error == "standard input, line 2: byte 3 is not UTF-8"
    assert done.code == 1
    assert done.out.endswith("\tfine\n")


def test_classify_adds_columns_to_a_file(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,body,label\n1,hello,ham\n2,win,spam\n")
    given = ["--input", str(tmp_path / "in.csv"), "--output", str(tmp_path / "out.parquet")]
    done = filterd("classify", *given, "--column", "body", "--threshold", "0", artifact=str(tiny))
    assert (done.code, done.out, done.err) == (0, "", "")
    with Source(tmp_path / "out.parquet", "body") as source:
        rows = [row.values for chunk in source for row in chunk]
    # The file's own label stays what it was; the verdict's stands beside it.
    names = ["id", "body", "label", "filterd_label", "score", "threshold", "model"]
    assert list(rows[0]) == names
    assert [(row["label"], row["filterd_label"]) for row in rows] == [
        ("ham", "spam"),
        ("spam", "spam"),
    ]


def test_the_starter_says_spam_to_the_articles_example() -> None:
    assert filterd("classify", ARTICLE).out.startswith("spam\t")


def test_reader_that_has_seen_enough_ends_it_quietly(tiny: Path) -> None:
    with subprocess.Popen(
        command("classify"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(artifact=str(tiny)),
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, err = process.communicate(b"hello\n" * 5000, timeout=60)
    assert err == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_it_quietly(redis_url: str, number: int, code: int) -> None:
    with subprocess.Popen(
        command("tail", "--from-start", "--output-stream", f"test-signals-{number}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(redis_url=redis_url),
    ) as process:
        assert process.stdout is not None
        add_verdict(redis_url, f"test-signals-{number}")
        assert process.stdout.readline()
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err.strip()) == (code, b"")


def add_verdict(url: str, stream: str, entry: str = "1-0") -> None:
    with open_client(url) as client:
        client.xadd(stream, {"entry": entry, "label": "spam", "score": "0.900000"})


def test_publish_and_tail_speak_of_the_same_entries(redis_url: str, prefix: str) -> None:
    names = {"input_stream": f"{prefix}:in", "output_stream": f"{prefix}:out"}
    settings = {"redis_url": redis_url, **names}
    published = filterd("publish", stdin="one\ntwo\n", **settings)
    ids = published.out.split()
    assert len(ids) == 2
    for entry in ids:
        add_verdict(redis_url, f"{prefix}:out", entry)
    lines = filterd("tail", "--no-follow", "--text", **settings).out.splitlines()
    assert lines == [f"{ids[0]}\tspam\t0.900000\tone", f"{ids[1]}\tspam\t0.900000\ttwo"]
    shown = filterd("tail", "--from-start", "--count", "1", "--json", **settings)
    assert json.loads(shown.out) == {"entry": ids[0], "label": "spam", "score": 0.9}


def test_publish_sends_files_with_ids(redis_url: str, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": 5, "body": "five"}\n{"body": "six"}\n')
    given = ["--input", str(tmp_path / "in.jsonl"), "--column", "body", "--quiet"]
    done = filterd("publish", *given, redis_url=redis_url, input_stream=prefix)
    assert (done.code, done.out, done.err) == (0, "", "")
    with open_client(redis_url) as client:
        assert [fields for _, fields in client.xrange(prefix)] == [
            {b"text": b"five", b"id": b"5"},
            {b"text": b"six"},
        ]


def test_embedded_server_is_shared_by_commands_and_stopped(short_path: Path) -> None:
    url = f"embedded:{short_path}/data"
    first = filterd("publish", "kept", redis_url=url)
    entry = first.out.strip()
    assert first.err == f"{url} was not there: it is made, and holds nothing yet\n"
    add_verdict(url, "filterd:verdicts", entry)
    done = filterd("tail", "--no-follow", "--text", redis_url=url)
    assert (done.out, done.err) == (f"{entry}\tspam\t0.900000\tkept\n", "")
    assert not (short_path / "data" / "redis.sock").exists()


def test_terminated_command_stops_the_server_that_it_started(short_path: Path) -> None:
    with subprocess.Popen(
        command("tail"), env=environment(redis_url=f"embedded:{short_path}")
    ) as process:
        eventually(lambda: answers(f"unix://{short_path}/redis.sock"), "the server answers")
        process.terminate()
        assert process.wait(30) == 143
    assert not answers(f"unix://{short_path}/redis.sock")


def answers(url: str) -> bool:
    """Whether a server answers there."""
    try:
        with open_client(url):
            return True
    except UnavailableError:
        return False
