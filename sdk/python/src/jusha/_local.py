"""Finds the `jusha` program, an exchange to use, and the runtimes that are installed."""

from __future__ import annotations

import atexit
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from ._client import Client, stored_access
from ._network import NETWORK
from .errors import ExchangeError, NotConfigured

# Of the standard library of some Python or other, and in no runtime: each was tried there.
_ABSENT = frozenset(
    "ctypes curses ensurepip fcntl grp lib2to3 lzma mmap msilib msvcrt multiprocessing nis nt ossaudiodev pty pwd "
    "pydoc_data readline resource rlcompleter spwd syslog termios tkinter tty turtle turtledemo uu venv "
    "webbrowser winreg winsound xdrlib "
    # Gone before it, or not there yet.
    "asynchat asyncore binhex distutils imp smtpd annotationlib compression".split()
)


def program() -> str:
    """The `jusha` program: `JUSHA`, or the one in PATH."""
    named = os.environ.get("JUSHA")
    found = named or shutil.which("jusha")
    if not found:
        raise NotConfigured("there is no program `jusha` in PATH: install it, or give its path in JUSHA")
    return found


@dataclass(frozen=True)
class Provided:
    """A package that a runtime has, with the module that functions import."""

    name: str
    version: str
    module: str


@dataclass(frozen=True)
class Runtime:
    """An installed runtime: the module, the base in which calls begin, and what both are called with."""

    name: str
    version: str
    module: str
    base: str
    module_path: str
    base_path: str
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    packages: tuple[Provided, ...]

    @property
    def python(self) -> tuple[int, int]:
        """The version of its Python, as far as syntax goes by it."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)

    @property
    def modules(self) -> frozenset[str]:
        """The modules that functions find there."""
        library = frozenset(sys.stdlib_module_names) - NETWORK - _ABSENT
        return library | {package.module for package in self.packages}


@functools.cache
def runtime(name: str) -> Runtime:
    """A runtime by name; installs it, which takes a minute the first time, `python-science` several."""
    command = [program(), "runtime", "add", name, "--json"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    except OSError as error:
        raise NotConfigured(f"{command[0]} can't be started: {error}") from error
    if done.returncode != 0:
        raise NotConfigured(f"`jusha runtime add {name}` failed: {done.stderr.strip()}")
    found = json.loads(done.stdout)
    return Runtime(
        found["name"],
        found["version"],
        found["module"],
        found["base"],
        found["module_path"],
        found["base_path"],
        tuple(found["args"]),
        tuple((key, value) for key, value in found["env"]),
        tuple(Provided(**package) for package in found["packages"]),
    )


class LocalExchange:
    """An exchange and a provider on this computer, for as long as they are wanted."""

    def __init__(self, slots: int | None = None):
        self._folder = tempfile.TemporaryDirectory(prefix="jusha-")
        self.folder = folder = pathlib.Path(self._folder.name)
        config = folder / "config"
        command = [program(), "up", "--local", "--port", "0", "--data", str(folder / "data")]
        if slots is not None:
            command += ["--slots", str(slots)]
        environment = os.environ | {"XDG_CONFIG_HOME": str(config)}
        for name in ("JUSHA_URL", "JUSHA_TOKEN"):
            environment.pop(name, None)
        self._log = open(folder / "log", "w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        atexit.register(self.stop)
        self.join = ""
        stdout = self._process.stdout
        for line in stdout or ():
            found = re.search(r"jusha provide '([^']+)'", line)
            if found:
                self.join = found[1]
            # The last line that it says: everything is there by then.
            if line.startswith("Ctrl-C"):
                break
        access = stored_access(config / "jusha" / "config.toml")
        if access is None:
            self._process.wait()
            self._log.seek(0)
            raise NotConfigured(f"no exchange could be started here: {self._log.read().strip()}")
        self.url, self.token = access

    def stop(self) -> None:
        """Ends it, with everything in it."""
        atexit.unregister(self.stop)
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._log.close()
        self._folder.cleanup()


def find_exchange(url: str | None, token: str | None, slots: int | None) -> tuple[Client, LocalExchange | None]:
    """The exchange that is given, configured and answers, or else one that is started here."""
    if url or os.environ.get("JUSHA_URL"):
        return Client(url, token), None
    stored = stored_access()
    if stored:
        client = Client(*stored)
        try:
            client.request("GET", "/v1/exchange", patience=0)
            return client, None
        except ExchangeError:
            pass
    local = LocalExchange(slots)
    return Client(local.url, local.token), local
