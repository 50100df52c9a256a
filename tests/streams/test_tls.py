"""TLS with client certificates, against a real server that wants them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from filterd.errors import FilterdError, SettingsError, UnavailableError
from filterd.streams.client import open_client
from filterd.streams.connection import connect, translated
from tests.certificates import Certificate, authority, signed
from tests.commands import filterd
from tests.servers import RedisServer, free_port


class Tls:
    """A server that speaks TLS to whoever shows a certificate of its CA."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder, self.ca = folder, authority(folder, "ca")
        own, self.client = signed(folder, "server", self.ca), signed(folder, "client", self.ca)
        self.port = free_port()
        config = {
            "tls-port": str(self.port),
            "tls-cert-file": str(own.certificate),
            "tls-key-file": str(own.key),
            "tls-ca-cert-file": str(self.ca.certificate),
            "tls-auth-clients": "yes",
        }
        arguments = [part for name, value in config.items() for part in (f"--{name}", value)]
        self.server = RedisServer(program, folder / "data", tcp=True, config=arguments)

    def url(self, ca: Certificate | None, client: Certificate | None, **more: str) -> str:
        """Its URL with these certificates."""
        query = dict(more)
        if ca is not None:
            query["ssl_ca_certs"] = str(ca.certificate)
        if client is not None:
            query |= {"ssl_certfile": str(client.certificate), "ssl_keyfile": str(client.key)}
        return f"rediss://:hunter2@127.0.0.1:{self.port}/0?{urlencode(query)}"


@pytest.fixture(scope="module")
def tls(debian_binary: Path) -> Iterator[Tls]:
    with tempfile.TemporaryDirectory(prefix="fd-") as folder:
        made = Tls(Path(folder), debian_binary)
        with made.server:
            with made.server.client() as plain:
                plain.config_set("requirepass", "hunter2")
            yield made


async def ping(url: str) -> None:
    """As the daemon does."""
    redis = connect(url)
    try:
        with translated():
            await redis.ping()
    finally:
        await redis.aclose()


async def said(url: str) -> str:
    """The one line that the daemon's and the commands' client both say."""
    with pytest.raises(FilterdError) as blocking, open_client(url):
        pass
    with pytest.raises(FilterdError) as asynchronous:
        await ping(url)
    line = str(blocking.value)
    assert type(asynchronous.value) is type(blocking.value)
    assert isinstance(blocking.value, SettingsError) or (
        isinstance(blocking.value, UnavailableError) and blocking.value.kind == "tls"
    ), line
    assert line.partition(":")[0] == str(asynchronous.value).partition(":")[0]
    assert "\n" not in line
    assert "hunter2" not in line + str(asynchronous.value)
    return line


async def test_both_clients_speak_tls_with_a_certificate(tls: Tls, prefix: str) -> None:
    url = tls.url(tls.ca, tls.client)
    with open_client(url) as blocking:
        blocking.set(prefix, "here")
        redis = connect(url)
        assert await redis.get(prefix) == b"here"
        await redis.aclose()


def test_commands_speak_it(tls: Tls, prefix: str) -> None:
    settings = {"redis_url": tls.url(tls.ca, tls.client), "output_stream": f"{prefix}:out"}
    assert filterd("publish", "hello", input_stream=f"{prefix}:in", **settings).code == 0
    assert filterd("tail", "--no-follow", input_stream=f"{prefix}:in", **settings).code == 0
    without = filterd("publish", "hello", redis_url=tls.url(tls.ca, None))
    assert without.code == 1
    assert "refuses this client's certificate" in without.error


async def test_a_wrong_ca(tls: Tls) -> None:
    other = authority(tls.folder, "other")
    line = await said(tls.url(other, tls.client))
    assert "Redis's certificate is not trusted" in line
    assert "ssl_ca_certs" in line


async def test_a_client_certificate_of_another_ca(tls: Tls) -> None:
    stranger = signed(tls.folder, "stranger", authority(tls.folder, "strangers"))
    assert "refuses this client's certificate" in await said(tls.url(tls.ca, stranger))


async def test_no_client_certificate(tls: Tls) -> None:
    line = await said(tls.url(tls.ca, None))
    assert "refuses this client's certificate" in line
    assert "ssl_certfile" in line


async def test_an_expired_client_certificate(tls: Tls) -> None:
    line = await said(tls.url(tls.ca, signed(tls.folder, "old", tls.ca, days=-1)))
    assert "refuses this client's certificate" in line


async def test_a_certificate_that_is_not_there(tls: Tls) -> None:
    nowhere = tls.folder / "nowhere.pem"
    line = await said(tls.url(Certificate(nowhere, nowhere), tls.client))
    assert "ssl_ca_certs cannot be used: No such file" in line


async def test_a_key_of_another_certificate(tls: Tls) -> None:
    mixed = Certificate(tls.client.certificate, tls.ca.key)
    assert "ssl_keyfile" in await said(tls.url(tls.ca, mixed))


async def test_a_parameter_that_does_not_exist(tls: Tls) -> None:
    line = await said(tls.url(tls.ca, None, ssl_cafile="x"))
    assert "unknown parameter" in line
    assert "ssl_ca_certs" in line
