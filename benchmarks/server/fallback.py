"""The server in Python, where none can be compiled. It is slower than some clients: the results say that it was used.

python -m benchmarks.server.fallback SCRIPTS [CERTIFICATE KEY]
"""

import asyncio
import random
import resource
import ssl
import sys
import time
from pathlib import Path

from benchmarks.server.scripts import NEVER, STAMP_WIDTH, Piece, Script, Stamp


class Player:
    """The scripts of a directory, and whose turn it is."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._scripts: dict[str, Script] = {}
        self._turns: dict[str, int] = {}
        self._number = 0

    def answer(self, name: str) -> tuple[Piece, ...]:
        """The next answer of a script.

        Raises:
            OSError: there is no such script.
        """
        if name not in self._scripts:
            self._scripts[name] = Script.read(self._directory / name)
        script, turn = self._scripts[name], self._turns.get(name, 0)
        self._turns[name] = turn + 1 if turn + 1 < len(script.answers) else script.again_from
        return script.answers[turn]

    def stamped(self, piece: Piece, received: int) -> bytes:
        """The bytes of a piece, stamps written over their places."""
        stamps = piece.stamps if len(piece.bytes) < 4096 else []
        if not stamps:
            return piece.bytes
        data = bytearray(piece.bytes)
        for stamp, offset in stamps:
            self._number += stamp is Stamp.NUMBER
            values = {Stamp.CLOCK: time.monotonic_ns(), Stamp.NUMBER: self._number, Stamp.RECEIVED: received}
            data[offset : offset + STAMP_WIDTH] = b"%*d" % (STAMP_WIDTH, values[stamp])
        return bytes(data)


class Connection(asyncio.Protocol):
    """One request after the other; what is pipelined waits."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._head = b""
        self._left = self._received = 0
        self._name: str | None = None
        self._playing: asyncio.Task[None] | None = None
        self._drained = asyncio.Event()
        self._drained.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._playing is not None:
            self._playing.cancel()

    def pause_writing(self) -> None:
        self._drained.clear()

    def resume_writing(self) -> None:
        self._drained.set()

    def data_received(self, data: bytes) -> None:
        if self._left:
            body = min(self._left, len(data))
            self._left -= body
            data = data[body:]
        self._head += data
        self._serve()

    def _serve(self) -> None:
        while self._playing is None and not self._left:
            if self._name is None and not self._read_head():
                return
            if not self._left and self._name is not None:
                pieces, self._name = self._player.answer(self._name), None
                if any(piece.delay_us for piece in pieces) or sum(len(piece.bytes) for piece in pieces) > 2**18:
                    self._playing = asyncio.create_task(self._play(pieces))
                else:
                    self._transport.write(b"".join(self._player.stamped(piece, self._received) for piece in pieces))

    def _read_head(self) -> bool:
        head, blank, rest = self._head.partition(b"\r\n\r\n")
        if not blank:
            return False
        self._name = head.split(b"/", 2)[1].decode()
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        self._received = int(length or 0)
        body = min(len(rest), self._received)
        self._left, self._head = self._received - body, rest[body:]
        return True

    async def _play(self, pieces: tuple[Piece, ...]) -> None:
        due = time.monotonic()
        for piece in pieces:
            if piece.delay_us:
                due += piece.delay_us / 1e6 * (random.random() if piece.jittered else 1)
                await asyncio.sleep(1e9 if piece.delay_us == NEVER else max(0.0, due - time.monotonic()))
            await self._drained.wait()
            self._transport.write(self._player.stamped(piece, self._received))
        self._playing = None
        self._serve()


async def main(directory: str, *certificate: str) -> None:
    """Serve until the standard input ends; the port is the first line of the output."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
    player, loop = Player(Path(directory)), asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Connection(player), "127.0.0.1", 0, ssl=context, backlog=4096)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
