"""The exchange's REST API, typed.

Every method is one operation of the API's description (`docs/openapi.json`; an exchange shows it at
`/v1/reference`) under its name, and gives that description's objects as dictionaries. What only
operators do is on the command line instead, and what needs a WebSocket isn't here. Amounts are integers
with the unit in the name.
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
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from blake3 import blake3

from . import models
from .errors import ExchangeError, NotConfigured

T = TypeVar("T")

_PATIENCE_S = 60.0
_QUERY_DIGESTS_MAX = 4096
_NEXT_CURSOR = "jusha-next-cursor"


class Rows(list[T]):
    """A page of a list, newest first."""

    #: What to pass as `cursor` for the next page, if there is one.
    next_cursor: str | None = None


def every(route: Callable[..., Rows[T]], *args: Any, **query: Any) -> Iterator[T]:
    """All rows of a list, page by page: `every(client.list_trades, "cpu.2g.any")`."""
    while True:
        page = route(*args, **query)
        yield from page
        if page.next_cursor is None:
            return
        query["cursor"] = page.next_cursor


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

    def _once(self, method: str, path: str, body: bytes | None, kind: str) -> tuple[int, bytes, str | None]:
        headers = {"authorization": f"Bearer {self._token}", "accept-encoding": "identity"}
        if body is not None:
            headers["content-type"] = kind
        try:
            connection = self._connection()
            connection.request(method, self._path + path, body, headers)
            response = connection.getresponse()
            return response.status, response.read(), response.headers.get(_NEXT_CURSOR)
        except BaseException:
            broken = getattr(self._local, "connection", None)
            self._local.connection = None
            if broken is not None:
                broken.close()
            raise

    def request(
        self, method: str, path: str, body: Any = None, *, data: bytes | None = None, patience: float = _PATIENCE_S
    ) -> tuple[bytes, str | None]:
        """One request, repeated while there is no answer: what it does, it does once.

        Its answer, and where a list goes on.
        """
        kind = "application/json"
        if data is not None:
            kind = "application/octet-stream"
        elif body is not None:
            data = json.dumps(body).encode()
        until, pause = time.monotonic() + patience, 0.1
        while True:
            try:
                status, answer, cursor = self._once(method, path, data, kind)
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
        return answer, cursor

    def _refusal(self, status: int, answer: bytes) -> ExchangeError:
        try:
            body = json.loads(answer)
            return ExchangeError(body["message"], body["code"], status, body.get("details"))
        except (ValueError, KeyError, TypeError):
            return ExchangeError(f"{self.url} answered {status}, not as an exchange does", None, status)

    def _ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        return json.loads(self.request(method, path + _query(query), body)[0])

    def _rows(self, path: str, **query: Any) -> Rows[Any]:
        answer, cursor = self.request("GET", path + _query(query))
        rows: Rows[Any] = Rows(json.loads(answer))
        rows.next_cursor = cursor
        return rows

    # The exchange

    def show_exchange(self) -> models.ExchangeInfo:
        """What the exchange says of itself."""
        return self._ask("GET", "/v1/exchange")

    def show_fees(self) -> models.FeesView:
        """What it charges on what is paid under leases."""
        return self._ask("GET", "/v1/fees")

    # Jobs

    def submit_job(self, job: models.NewJob) -> models.JobView:
        """Submits a job; asking again with the same id buys once."""
        return self._ask("POST", "/v1/jobs", job)

    def list_jobs(self, limit: int | None = None, cursor: str | None = None) -> Rows[models.JobView]:
        """The account's jobs, newest first, without their tasks."""
        return self._rows("/v1/jobs", limit=limit, cursor=cursor)

    def show_job(self, id: str, after: int | None = None) -> models.JobView:
        """A job; with `after`, waits a while for a version later than that."""
        return self._ask("GET", f"/v1/jobs/{quote(id, '')}", after=after)

    def cancel_job(self, id: str) -> models.JobView:
        """Ends a job; what was computed is paid, the rest of its money comes back."""
        return self._ask("POST", f"/v1/jobs/{quote(id, '')}/cancel")

    def top_up_job(self, id: str, top_up: models.TopUp) -> models.JobView:
        """Gives a job more money; one that ran out goes on."""
        return self._ask("POST", f"/v1/jobs/{quote(id, '')}/top-up", top_up)

    def show_invoice(self, id: str) -> models.Invoice:
        """What a job cost, by lease."""
        return self._ask("GET", f"/v1/jobs/{quote(id, '')}/invoice")

    def list_leases(self, limit: int | None = None, cursor: str | None = None) -> Rows[models.LeaseView]:
        """The leases of the account's jobs."""
        return self._rows("/v1/leases", limit=limit, cursor=cursor)

    # The market

    def list_instruments(self) -> Rows[models.InstrumentView]:
        """What is traded."""
        return self._rows("/v1/instruments")

    def show_book(self, id: str) -> models.BookView:
        """An instrument's open orders, added up by price."""
        return self._ask("GET", f"/v1/instruments/{quote(id, '')}/book")

    def show_ticker(self, id: str) -> models.TickerView:
        """An instrument's last price, best prices, index."""
        return self._ask("GET", f"/v1/instruments/{quote(id, '')}/ticker")

    def list_trades(
        self, id: str, limit: int | None = None, cursor: str | None = None
    ) -> Rows[models.TradeView]:
        """An instrument's trades, newest first."""
        return self._rows(f"/v1/instruments/{quote(id, '')}/trades", limit=limit, cursor=cursor)

    def list_candles(
        self,
        id: str,
        interval: str | None = None,
        from_ms: int | None = None,
        to_ms: int | None = None,
        limit: int | None = None,
    ) -> Rows[models.CandleView]:
        """What was traded and settled in stretches of time, oldest first; `interval` such as `1m`."""
        path = f"/v1/instruments/{quote(id, '')}/candles"
        return self._rows(path, interval=interval, from_ms=from_ms, to_ms=to_ms, limit=limit)

    def list_reference_prices(self) -> models.ReferencePrices:
        """Prices elsewhere, and the factors by which they can be compared."""
        return self._ask("GET", "/v1/reference-prices")

    def list_orders(self, limit: int | None = None, cursor: str | None = None) -> Rows[models.OrderView]:
        """The account's orders, newest first."""
        return self._rows("/v1/orders", limit=limit, cursor=cursor)

    def place_order(self, order: models.NewOrder) -> models.OrderView:
        """Offers slots of one's own machine. (Bids belong to jobs.)"""
        return self._ask("POST", "/v1/orders", order)

    def show_order(self, id: str) -> models.OrderView:
        """An order."""
        return self._ask("GET", f"/v1/orders/{quote(id, '')}")

    def cancel_order(self, id: str) -> models.OrderView:
        """Withdraws an order."""
        return self._ask("DELETE", f"/v1/orders/{quote(id, '')}")

    def cancel_orders(self, instrument: str | None = None) -> Rows[models.OrderView]:
        """Withdraws all of the account's asks, or those of one instrument."""
        return Rows(self._ask("DELETE", "/v1/orders", instrument=instrument))

    def cancel_after(self, after: models.CancelAfter) -> models.CancelAfterSet:
        """A dead man's switch: all asks are withdrawn then, unless it is set again before."""
        return self._ask("POST", "/v1/orders/cancel-after", after)

    # Units by the hour

    def list_fixed_offers(self, instrument: str | None = None) -> Rows[models.FixedOfferView]:
        """What can be leased by the hour, best first."""
        return self._rows("/v1/fixed-offers", instrument=instrument)

    def offer_fixed(self, id: str, offer: models.NewFixedOffer) -> models.FixedOfferView:
        """Lets units of one's own machine by the hour."""
        return self._ask("POST", f"/v1/machines/{quote(id, '')}/fixed-offer", offer)

    def open_fixed_lease(self, lease: models.NewFixedLease) -> models.FixedLeaseView:
        """Takes the cheapest unit within a limit."""
        return self._ask("POST", "/v1/fixed-leases", lease)

    def list_fixed_leases(
        self, limit: int | None = None, cursor: str | None = None
    ) -> Rows[models.FixedLeaseView]:
        """The account's leases by the hour, bought and sold."""
        return self._rows("/v1/fixed-leases", limit=limit, cursor=cursor)

    def show_fixed_lease(self, id: str) -> models.FixedLeaseView:
        """A lease by the hour."""
        return self._ask("GET", f"/v1/fixed-leases/{quote(id, '')}")

    def close_fixed_lease(self, id: str) -> models.FixedLeaseView:
        """Gives notice."""
        return self._ask("DELETE", f"/v1/fixed-leases/{quote(id, '')}")

    # Accounts and their money

    def show_wallet(self) -> models.Wallet:
        """The account's money."""
        return self._ask("GET", "/v1/wallet")

    def list_transfers(
        self, limit: int | None = None, cursor: str | None = None
    ) -> Rows[models.TransferView]:
        """The account's transfers, newest first."""
        return self._rows("/v1/transfers", limit=limit, cursor=cursor)

    def show_statement(
        self,
        from_ms: int | None = None,
        to_ms: int | None = None,
        account: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> models.Statement:
        """What happened to the account's money in a period."""
        query = {"from_ms": from_ms, "to_ms": to_ms, "account": account, "limit": limit, "cursor": cursor}
        return self._ask("GET", "/v1/statement", **query)

    def list_payments(self, limit: int | None = None, cursor: str | None = None) -> Rows[models.PaymentView]:
        """Money that came in or went out, or is to."""
        return self._rows("/v1/payments", limit=limit, cursor=cursor)

    def request_payment(self, payment: models.NewPayment) -> models.PaymentView:
        """Asks for money to come in or go out."""
        return self._ask("POST", "/v1/payments", payment)

    def show_payment(self, id: str) -> models.PaymentView:
        """A payment."""
        return self._ask("GET", f"/v1/payments/{quote(id, '')}")

    def cancel_payment(self, id: str) -> models.PaymentView:
        """Takes back a payment that nobody decided yet."""
        return self._ask("POST", f"/v1/payments/{quote(id, '')}/cancel")

    def sign_up(self, account: models.SignUp, cookie: bool | None = None) -> models.Session:
        """Opens an account for oneself, where the operator allows that."""
        return self._ask("POST", "/v1/sign-up", account, cookie=cookie)

    def sign_in(self, login: models.SignIn, cookie: bool | None = None) -> models.Session:
        """A session's token, for a login and a password."""
        return self._ask("POST", "/v1/sessions", login, cookie=cookie)

    def sign_out(self) -> models.TokenView:
        """Ends the token that this client shows."""
        return self._ask("DELETE", "/v1/sessions")

    def list_tokens(self) -> Rows[models.TokenView]:
        """The account's tokens, without their secrets."""
        return self._rows("/v1/tokens")

    def make_token(self, token: models.NewToken) -> models.TokenCreated:
        """Makes a token, which is shown this once."""
        return self._ask("POST", "/v1/tokens", token)

    def revoke_token(self, id: str) -> models.TokenView:
        """Ends a token."""
        return self._ask("DELETE", f"/v1/tokens/{quote(id, '')}")

    # Machines

    def list_machines(self, limit: int | None = None, cursor: str | None = None) -> Rows[models.MachineView]:
        """The account's machines."""
        return self._rows("/v1/machines", limit=limit, cursor=cursor)

    def show_machine(self, id: str) -> models.MachineView:
        """A machine."""
        return self._ask("GET", f"/v1/machines/{quote(id, '')}")

    def list_runtimes(self) -> Rows[models.RuntimeView]:
        """The language runtimes of the connected machines, by their owners' word."""
        return self._rows("/v1/runtimes")

    def retire_machine(self, id: str) -> models.MachineView:
        """Takes a machine off the exchange for good."""
        return self._ask("DELETE", f"/v1/machines/{quote(id, '')}")

    def make_join_code(self) -> models.JoinCode:
        """A one-time code with which a machine joins the account: `jusha provide CODE`."""
        return self._ask("POST", "/v1/join-codes")

    # Blobs

    def store_blob(self, data: bytes) -> models.BlobStored:
        """Stores a blob under its digest."""
        return json.loads(self.request("POST", "/v1/blobs", data=data)[0])

    def missing_blobs(self, query: models.BlobQuery) -> models.BlobQuery:
        """Which of some blobs the account would have to store."""
        return self._ask("POST", "/v1/blobs/missing", query)

    def fetch_blob(self, digest: str) -> bytes:
        """A blob, checked against its address."""
        data, _ = self.request("GET", f"/v1/blobs/{quote(digest, '')}")
        if digest_of(data) != digest:
            raise ExchangeError(f"blob {digest} arrived altered")
        return data

    def show_quota(self) -> models.QuotaView:
        """What the account holds in blobs, and may."""
        return self._ask("GET", "/v1/quota")

    # With several requests

    def store(self, blobs: Iterable[bytes]) -> list[str]:
        """Stores blobs that the exchange lacks; their digests, in order."""
        addressed = [(digest_of(blob), blob) for blob in blobs]
        by_digest = dict(addressed)
        for digest in self.missing(by_digest):
            if self.store_blob(by_digest[digest])["digest"] != digest:
                raise ExchangeError(f"the exchange stored blob {digest} under another address")
        return [digest for digest, _ in addressed]

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Which of these blobs the exchange lacks."""
        asked, lacking = list(digests), []
        for first in range(0, len(asked), _QUERY_DIGESTS_MAX):
            query: models.BlobQuery = {"digests": asked[first : first + _QUERY_DIGESTS_MAX]}
            lacking += self.missing_blobs(query)["digests"]
        return lacking

    def top_up(self, job: str, amount_nanocredits: int) -> models.JobView:
        """Gives a job more money."""
        return self.top_up_job(job, {"amount_nanocredits": amount_nanocredits, "transfer": new_id("tr")})


def _query(query: dict[str, Any]) -> str:
    given = {key: str(value).lower() if isinstance(value, bool) else value for key, value in query.items()}
    given = {key: value for key, value in given.items() if value is not None}
    return "?" + urlencode(given) if given else ""
