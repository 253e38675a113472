"""A server in a process of its own, for as long as it is needed."""

import contextlib
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.server.build import built_server
from benchmarks.server.scripts import Script


class NoServerError(Exception):
    """The server that a scenario needs cannot be had here. The message says why."""


@dataclass(frozen=True)
class Running:
    """A server that listens.

    Attributes:
        origin: scheme, host and port of its URLs.
        pid: its process.
    """

    origin: str
    pid: int


class Servers:
    """Starts servers, all of the same kind.

    Args:
        directory: where they may leave files.
        compiled: False for those in Python, also where one can be compiled.

    Attributes:
        kind: what they are, in a few words; "Python fallback …" where they may be the bottleneck.
        certificate_path: where the certificate of those with TLS is, once one has run.
    """

    def __init__(self, directory: Path, *, compiled: bool = True) -> None:
        self._directory = directory
        self.certificate_path = directory / "certificate.pem"
        self._program, how = built_server() if compiled else (None, "asked for")
        self.kind = how if self._program else f"Python fallback, which may be the bottleneck ({how})"

    @property
    def compiled(self) -> bool:
        """Whether it is the program in C."""
        return self._program is not None

    @contextlib.contextmanager
    def running(self, scripts: Iterable[Script], *, tls: bool) -> Iterator[Running]:
        """A server that plays these scripts.

        Raises:
            NoServerError: TLS is asked for, and there is no openssl to make a certificate with.
        """
        with tempfile.TemporaryDirectory(dir=self._directory) as name:
            for script in scripts:
                script.write(Path(name))
            certificate = self._certificate() if tls else None
            with _process(self._command(name, certificate)) as process:
                assert process.stdout is not None
                port = process.stdout.readline().strip()
                if not port:
                    raise NoServerError("the server did not start")
                origin = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
                yield Running(origin, process.pid)

    def _command(self, scripts: str, certificate: tuple[Path, Path] | None) -> list[str]:
        pair = [str(path) for path in certificate or ()]
        library = _libssl()
        if self._program is not None and (not pair or library):
            return [str(self._program), scripts, *([library] if library and pair else []), *pair]
        return [sys.executable, "-m", "benchmarks.server.fallback", scripts, *pair]

    def _certificate(self) -> tuple[Path, Path]:
        """A certificate for 127.0.0.1 that signs itself, and its key."""
        openssl = shutil.which("openssl")
        if openssl is None:
            raise NoServerError("TLS needs the command openssl, to make a certificate")
        certificate, key = self.certificate_path, self._directory / "key.pem"
        if not certificate.exists():
            command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
            subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
        return certificate, key


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _libssl() -> str | None:
    """The path of the libssl that Python has loaded; None where it is part of the interpreter."""
    assert ssl.OPENSSL_VERSION
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/maps").read_text().splitlines():
            path = line.split(maxsplit=5)[-1]
            if Path(path).name.startswith("libssl"):
                return path
    return None
