"""The exchange's REST API, as far as it is for buyers and watchers, typed.

Every method is one route of the OpenAPI document (`/openapi.json` of an exchange); what it gives are
the document's objects as dictionaries. Amounts are integers with the unit in the name.
"""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode, urlsplit

from blake3 import blake3

from .errors import ExchangeError, NotConfigured

_PATIENCE_S = 60.0
_QUERY_DIGESTS_MAX = 4096


def digest_of(data: bytes) -> str:
    """The address of a blob: BLAKE3, in hexadecimal."""
    return blake3(data).hexdigest()


def _config_file() -> pathlib.Path:
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return pathlib.Path(base) / "jusha" / "config.toml"


def stored_access(file: pathlib.Path | None = None) -> tuple[str, str] | None:
    """URL and token that `jusha login` or `jusha up` stored, if they did."""
    try:
        text = (file or _config_file()).read_text()
    except OSError:
        return None
    found = {}
    # Two plain strings: no reason for a parser that Python 3.10 doesn't have.
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key.strip() in ("url", "token"):
            found[key.strip()] = json.loads(value.strip())
    return (found["url"], found["token"]) if len(found) == 2 else None


def new_id(prefix: str) -> str:
    """An id made here, which makes a request one that can be repeated."""
    return f"{prefix}_{secrets.token_hex(16)}"


class Client:
    """Talks to one exchange as one account. Threads may share it."""

    def __init__(self, url: str | None = None, token: str | None = None, timeout: float = 120.0):
        url = url or os.environ.get("JUSHA_URL")
        token = token or os.environ.get("JUSHA_TOKEN")
        if not url or not token:
            stored = stored_access()
            if stored and (not url or stored[0] == url):
                url, token = stored[0], token or stored[1]
        if not url:
            raise NotConfigured(
                "no exchange is configured: `jusha up` starts one here, `jusha login URL TOKEN` uses another one's"
            )
        self.url = url.rstrip("/")
        self._token = token or ""
        self._timeout = timeout
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise NotConfigured(f"{url!r} is no URL of an exchange: give one such as http://127.0.0.1:7480")
        self._secure = parts.scheme == "https"
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path.rstrip("/")
        self._local = threading.local()

    # How requests travel

    def _connection(self) -> http.client.HTTPConnection:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            if self._secure:
                context = ssl.create_default_context()
                connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=self._timeout, context=context
                )
            else:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._local.connection = connection
        return connection

    def _once(self, method: str, path: str, body: bytes | None, kind: str) -> tuple[int, bytes]:
        headers = {"authorization": f"Bearer {self._token}", "accept-encoding": "identity"}
        if body is not None:
            headers["content-type"] = kind
        try:
            connection = self._connection()
            connection.request(method, self._path + path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except BaseException:
            connection = getattr(self._local, "connection", None)
            self._local.connection = None
            if connection is not None:
                connection.close()
            raise

    def request(
        self, method: str, path: str, body: Any = None, *, data: bytes | None = None, patience: float = _PATIENCE_S
    ) -> Any:
        """One request, repeated while there is no answer: everything that changes something has an id."""
        kind = "application/json"
        if data is not None:
            kind = "application/octet-stream"
        elif body is not None:
            data = json.dumps(body).encode()
        until, pause = time.monotonic() + patience, 0.1
        while True:
            try:
                status, answer = self._once(method, path, data, kind)
                if status < 500 and status != 429:
                    break
                failure: Exception = self._refusal(status, answer)
            except (OSError, http.client.HTTPException) as error:
                failure = ExchangeError(f"{self.url} can't be reached: {error}")
                failure.__cause__ = error
            if time.monotonic() + pause > until:
                raise failure
            time.sleep(pause)
            pause = min(pause * 2, 3.0)
        if status >= 400:
            raise self._refusal(status, answer)
        return answer

    def _refusal(self, status: int, answer: bytes) -> ExchangeError:
        try:
            body = json.loads(answer)
            return ExchangeError(body["message"], body["code"], status, body.get("details"))
        except (ValueError, KeyError, TypeError):
            return ExchangeError(f"{self.url} answered {status}, not as an exchange does", None, status)

    def _get(self, path: str, **query: Any) -> Any:
        query = {key: value for key, value in query.items() if value is not None}
        return json.loads(self.request("GET", path + ("?" + urlencode(query) if query else "")))

    def _post(self, path: str, body: Any = None) -> Any:
        return json.loads(self.request("POST", path, body))

    # Blobs

    def store(self, blobs: Iterable[bytes]) -> list[str]:
        """Stores blobs that the exchange lacks; their digests, in order."""
        addressed = [(digest_of(blob), blob) for blob in blobs]
        by_digest = dict(addressed)
        digests = list(by_digest)
        for first in range(0, len(digests), _QUERY_DIGESTS_MAX):
            batch = digests[first : first + _QUERY_DIGESTS_MAX]
            for digest in self._post("/v1/blobs/missing", {"digests": batch})["digests"]:
                stored = json.loads(self.request("POST", "/v1/blobs", data=by_digest[digest]))
                if stored["digest"] != digest:
                    raise ExchangeError(f"the exchange stored blob {digest} under another address")
        return [digest for digest, _ in addressed]

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Which of these blobs the exchange lacks."""
        return self._post("/v1/blobs/missing", {"digests": list(digests)})["digests"]

    def blob(self, digest: str) -> bytes:
        """A blob, checked against its address."""
        data = self.request("GET", f"/v1/blobs/{digest}")
        if digest_of(data) != digest:
            raise ExchangeError(f"blob {digest} arrived altered")
        return data

    # Jobs

    def submit(self, job: dict) -> dict:
        """Submits a job (`NewJob`); asking again with the same id buys once."""
        return self._post("/v1/jobs", job)

    def jobs(self) -> list[dict]:
        """The account's jobs, newest first."""
        return self._get("/v1/jobs")

    def job(self, job: str, after: int | None = None) -> dict:
        """A job; with `after`, waits a while for a version later than that."""
        return self._get(f"/v1/jobs/{job}", after=after)

    def cancel(self, job: str) -> dict:
        """Ends a job; what was computed is paid, the rest of its money comes back."""
        return self._post(f"/v1/jobs/{job}/cancel")

    def top_up(self, job: str, amount_nanocredits: int) -> dict:
        """Gives a job more money; one that ran out goes on."""
        body = {"amount_nanocredits": amount_nanocredits, "transfer": new_id("tr")}
        return self._post(f"/v1/jobs/{job}/top-up", body)

    def invoice(self, job: str) -> dict:
        """What a job cost, by lease."""
        return self._get(f"/v1/jobs/{job}/invoice")

    # Market

    def exchange(self) -> dict:
        """What the exchange says of itself."""
        return self._get("/v1/exchange")

    def instruments(self) -> list[dict]:
        """What is traded."""
        return self._get("/v1/instruments")

    def book(self, instrument: str) -> dict:
        """The order book of an instrument."""
        return self._get(f"/v1/instruments/{instrument}/book")

    def ticker(self, instrument: str) -> dict:
        """Last price, best prices, index."""
        return self._get(f"/v1/instruments/{instrument}/ticker")

    def trades(self, instrument: str, limit: int | None = None, cursor: str | None = None) -> list[dict]:
        """Trades, newest first."""
        return self._get(f"/v1/instruments/{instrument}/trades", limit=limit, cursor=cursor)

    def candles(self, instrument: str, **query: Any) -> list[dict]:
        """Candles of an instrument; `query` is the route's."""
        return self._get(f"/v1/instruments/{instrument}/candles", **query)

    def orders(self) -> list[dict]:
        """The account's open orders."""
        return self._get("/v1/orders")

    def leases(self) -> list[dict]:
        """The account's leases."""
        return self._get("/v1/leases")

    def fees(self) -> list[dict]:
        """The schedules of fees."""
        return self._get("/v1/fees")

    # Wallet and machines

    def wallet(self) -> dict:
        """The account's money."""
        return self._get("/v1/wallet")

    def transfers(self, limit: int | None = None, cursor: str | None = None) -> list[dict]:
        """The account's transfers, newest first."""
        return self._get("/v1/transfers", limit=limit, cursor=cursor)

    def machines(self) -> list[dict]:
        """The account's machines."""
        return self._get("/v1/machines")
