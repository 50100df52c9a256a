"""A stream that was there before: its fields have names of their own, and are left as they are."""

from __future__ import annotations

import json
from pathlib import Path

from tests.commands import filterd
from tests.e2e.daemon import Daemon, Streams
from tests.servers import RedisServer
from tests.waiting import eventually

SPAM = "WINNER!! Claim your free prize of 1000 pounds now, call 09061701461"


def test_messages_are_where_the_settings_say(redis_server: RedisServer, tmp_path: Path) -> None:
    with redis_server.client() as client:
        streams = Streams(client, "own")
        mails = [{"body": SPAM, "ticket": "t1"}, {"body": "see you at six", "from": "ann"}]
        first, second = (client.xadd(streams.input, mail) for mail in mails)  # type: ignore[arg-type]
        client.xadd(streams.input, {"text": "not the body", "ticket": "t3"})
        fields = {"TEXT_FIELD": "body", "ID_FIELD": "ticket", "CARRY_FIELDS": "from,text"}
        with Daemon(redis_server.url, "own", tmp_path / "log", **fields) as daemon:
            eventually(lambda: streams.verdicts()[1:])
            eventually(lambda: client.xlen(streams.dead))
            eventually(lambda: "no field 'body'" in daemon.log, "the log says so")
            one, two = streams.verdicts()
            assert (one[b"entry"], one[b"id"], one[b"label"]) == (first, b"t1", b"spam")
            assert (two[b"entry"], two[b"from"], two[b"label"]) == (second, b"ann", b"ham")
            assert b"id" not in two
        names = {
            "redis_url": redis_server.url,
            "input_stream": streams.input,
            "output_stream": streams.output,
            "feedback_stream": "own:feedback",
            "text_field": "body",
            "id_field": "ticket",
        }
        shown = filterd("tail", "--no-follow", "--text", "--json", **names)
        texts = [json.loads(line)["text"] for line in shown.out.splitlines()]
        assert texts == [SPAM, "see you at six"]
        said = filterd("feedback", "spam", "--entry", first.decode(), "--json", **names)
        assert json.loads(said.out)["text"] == SPAM
        assert json.loads(said.out)["id"] == "t1"
        sent = filterd("publish", "lunch?", "--id", "t4", **names).out.strip()
        ((_, published),) = client.xrange(streams.input, sent, sent)
        assert published == {b"body": b"lunch?", b"ticket": b"t4"}
