"""Names to addresses."""

import socket
from typing import Any

import pytest

from moonshot_async.transports import aiohttp_names
from moonshot_async.transports.aiohttp_names import Resolver


async def test_a_name_of_this_machine_is_found() -> None:
    resolver = Resolver()
    found = await resolver.resolve("localhost", 80, socket.AF_INET)
    assert {(entry["hostname"], entry["host"], entry["port"]) for entry in found} == {("localhost", "127.0.0.1", 80)}
    await resolver.close()


async def test_a_name_that_does_not_exist_is_the_systems_error() -> None:
    with pytest.raises(socket.gaierror):
        await Resolver().resolve("no.such.name.invalid", 80)


@pytest.mark.parametrize("host", ["localhost", "LocalHost"])
async def test_this_machine_is_found_though_it_has_no_network(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = socket.getaddrinfo

    def offline(*args: Any, **options: Any) -> Any:
        if options.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "no address of this kind")
        return ask(*args, **options)

    monkeypatch.setattr(aiohttp_names.socket, "getaddrinfo", offline)
    assert {entry["host"] for entry in await Resolver().resolve(host, 80, socket.AF_INET)} == {"127.0.0.1"}
    with pytest.raises(socket.gaierror, match="no address of this kind"):
        await Resolver().resolve("else.test", 80)


async def test_the_zone_of_a_local_address_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    infos = [
        (socket.AF_INET6, *stream, ("fe80::1", 80, 0, 1)),
        (socket.AF_INET6, *stream, ("::1", 80, 0, 0)),
        (socket.AF_INET, *stream, ("127.0.0.1", 80)),
    ]
    monkeypatch.setattr(aiohttp_names.socket, "getaddrinfo", lambda *_, **__: infos)
    found = await Resolver().resolve("near.test", 80, socket.AF_UNSPEC)
    zone = socket.getnameinfo(("fe80::1", 80, 0, 1), socket.NI_NUMERICHOST)[0]
    assert [entry["host"] for entry in found] == [zone, "::1", "127.0.0.1"]
    assert [entry["family"] for entry in found] == [socket.AF_INET6, socket.AF_INET6, socket.AF_INET]
