"""The server as a program: compiled when it is first needed, kept in the user's cache directory."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_HERE = Path(__file__).parent


def built_server() -> tuple[Path | None, str]:
    """The compiled server, or None, and in a few words what it was compiled with or why it could not be."""
    why = "no C compiler: install one, or ziglang from the package registry"
    for compiler in _compilers():
        try:
            return _built(compiler), f"C, {' '.join(map(_short, compiler))}"
        except (OSError, subprocess.CalledProcessError) as error:
            said = (getattr(error, "stderr", b"") or str(error).encode()).decode(errors="replace").strip()
            why = f"{' '.join(compiler)} failed: {said.splitlines()[-1] if said else error}"
    return None, why


def _compilers() -> list[list[str]]:
    found = [[path] for name in (os.environ.get("CC", ""), "cc") if name and (path := shutil.which(name))]
    if importlib.util.find_spec("ziglang"):
        found.append([sys.executable, "-m", "ziglang", "cc"])
    return found


def _short(word: str) -> str:
    return Path(word).name


def _built(compiler: list[str]) -> Path:
    sources = sorted(_HERE.glob("*.[ch]"))
    key = hashlib.sha256(b"\0".join([*(source.read_bytes() for source in sources), *map(os.fsencode, compiler)]))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "moonshot-async-benchmarks"
    program = cache / f"server-{key.hexdigest()[:16]}"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as directory:
            fresh = Path(directory) / "server"
            command = [*compiler, "-O2", "-o", str(fresh), str(_HERE / "server.c"), "-ldl"]
            subprocess.run(command, check=True, capture_output=True, cwd=directory)
            # Two runs may compile at once.
            fresh.replace(program)
    return program
