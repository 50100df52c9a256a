"""Entries that cannot be scored become dead letters, and never stop the others."""

from __future__ import annotations

from tests.e2e.conftest import MakeDaemon
from tests.e2e.daemon import Streams
from tests.waiting import eventually


def test_each_ends_as_it_must_and_the_others_go_on(
    daemon: MakeDaemon, streams: Streams, sample: list[str]
) -> None:
    add, name = streams.client.xadd, streams.input
    before = streams.publish(sample[:5])
    no_text = add(name, {"body": "hello", b"\xff\x00": b"\xfe"})
    broken = add(name, {"text": b"caf\xe9 \xff", "id": "x"})
    huge = add(name, {"text": b"z" * 10_000_000})
    empty = add(name, {"text": ""})
    wide = add(name, {"text": "hi", **{f"f{number}": "v" for number in range(5000)}})
    after = streams.publish(sample[5:10])
    one = daemon()
    ids = [*before, no_text, broken, huge, empty, wide, *after]
    eventually(lambda: streams.exactly_once(ids), "all settled", within_s=30)

    dead = {letter[b"entry"]: letter for letter in streams.dead_letters()}
    assert {id_: letter[b"reason"] for id_, letter in dead.items()} == {
        no_text: b"no-text",
        broken: b"not-utf8",
        huge: b"too-large",
    }
    assert dead[no_text][b"field:body"] == b"hello"
    assert dead[no_text][b"field:\xff\x00"] == b"\xfe"
    assert dead[broken][b"field:text"] == b"caf\xe9 \xff"
    assert dead[huge][b"field:text"] == b"z" * 10_000_000
    assert {letter[b"deliveries"] for letter in dead.values()} == {b"1"}
    assert one.metric("filterd_dead_letters_total", reason="too-large") == 1


def test_a_verdict_has_the_fields_that_the_design_names(
    daemon: MakeDaemon, streams: Streams
) -> None:
    id_ = streams.client.xadd(
        streams.input, {"text": "see you at six", "id": "a7", "from": "Ann", "other": "x"}
    )
    daemon(CARRY_FIELDS="from, absent")
    eventually(lambda: streams.exactly_once([id_]), "settled")
    (verdict,) = streams.verdicts()
    assert set(verdict) == {
        *(b"entry", b"id", b"label", b"score", b"threshold", b"model", b"at", b"from"),
    }
    assert (verdict[b"entry"], verdict[b"id"], verdict[b"from"]) == (id_, b"a7", b"Ann")
    assert verdict[b"label"] == b"ham"
    assert len(verdict[b"score"].partition(b".")[2]) == 6
    server_s, _ = streams.client.time()
    assert abs(int(verdict[b"at"]) / 1000 - server_s) < 30


def test_no_text_is_ever_logged(daemon: MakeDaemon, streams: Streams) -> None:
    phrase = "swordfish-4711"
    ids = streams.publish([phrase, phrase.encode() + b"\xff"])
    one = daemon(LOG_FORMAT="json")
    eventually(lambda: streams.exactly_once(ids), "settled")
    exposed = one.get("/metrics").read().decode()
    one.stop()
    assert phrase not in one.log + exposed
