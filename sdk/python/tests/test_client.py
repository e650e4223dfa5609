"""The client is what the API's description says, and so are the exchange's answers."""

import inspect
import json
import pathlib
import re
import subprocess
import sys
from urllib.parse import parse_qs, urlsplit

import pytest

from jusha import Client, ExchangeError, every
from jusha._client import new_id

HERE = pathlib.Path(__file__).parent
DOCUMENT = json.loads((HERE / "../../../docs/openapi.json").read_text())
OPERATORS = "Needs the operator's token."
# The agent's own, with its key; and a table that Python makes of the same figures.
LEFT_OUT = {"enrol_machine"}
PARAMETERS_LEFT_OUT = {("show_statement", "format")}


def operations():
    for path, methods in DOCUMENT["paths"].items():
        for method, one in methods.items():
            # HEAD and WebSockets are no calls of their own.
            if method == "head" or "101" in one["responses"]:
                continue
            if "operator" in one["tags"] or OPERATORS in one.get("description", ""):
                continue
            if one["operationId"] not in LEFT_OUT:
                yield pytest.param(method.upper(), path, one, id=one["operationId"])


def resolved(schema):
    while "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


class Recorder(Client):
    """Says what would be asked instead of asking."""

    def __init__(self):
        super().__init__("http://localhost:1", "token")
        self.asked = []

    def _once(self, method, path, body, kind):
        self.asked.append((method, path, body, kind))
        return 200, b"[]", None


def annotation_of(schema):
    if schema.get("type") == "array":
        return f"Rows[{annotation_of(schema['items'])}]"
    return "models." + schema["$ref"].rpartition("/")[2]


@pytest.mark.parametrize("method, path, operation", list(operations()))
def test_each_operation_is_a_method(method, path, operation):
    name = operation["operationId"]
    act = getattr(Client, name)
    parameters = {one["name"]: one for one in operation.get("parameters", [])}
    parameters = {key: one for key, one in parameters.items() if (name, key) not in PARAMETERS_LEFT_OUT}
    body = operation.get("requestBody", {}).get("content", {})
    taken = list(inspect.signature(act).parameters.values())[1:]
    assert {one.name for one in taken if one.name in parameters} == set(parameters)
    assert len(taken) == len(parameters) + len(body), "a parameter that isn't described"

    given = {}
    for one in taken:
        if one.name in parameters:
            is_flag = "boolean" in resolved(parameters[one.name]["schema"]).get("type", "")
            given[one.name] = "a/b" if parameters[one.name]["in"] == "path" else True if is_flag else "7"
        else:
            given[one.name] = b"bytes" if "application/octet-stream" in body else {"sent": 1}
            if "application/json" in body:
                assert one.annotation == annotation_of(body["application/json"]["schema"])
    recorder = Recorder()
    try:
        act(recorder, **given)
    except ExchangeError as error:
        # `[]` is not the blob that was asked for.
        assert "altered" in str(error)
    [(asked_method, asked_path, asked_body, asked_kind)] = recorder.asked
    parts = urlsplit(asked_path)
    assert (asked_method, parts.path) == (method, re.sub(r"\{\w+\}", "a%2Fb", path))
    query = {key: value for key, value in given.items() if parameters.get(key, {}).get("in") == "query"}
    assert parse_qs(parts.query) == {key: ["true" if value is True else value] for key, value in query.items()}
    assert asked_kind == next(iter(body), "application/json")
    if "application/json" in body:
        assert json.loads(asked_body) == {"sent": 1}
    answer = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
    answers = answer["content"]
    if "application/json" in answers:
        assert inspect.signature(act).return_annotation == annotation_of(answers["application/json"]["schema"])


def test_the_client_has_no_routes_of_its_own():
    described = {one.id for one in operations()}
    helpers = {"request", "store", "missing", "top_up"}
    methods = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    assert methods - helpers == described


def test_the_models_are_those_of_the_description():
    generator = HERE / "../tools/generate_models.py"
    done = subprocess.run([sys.executable, str(generator), "--check"], check=False)
    assert done.returncode == 0, "docs/openapi.json changed: run `python sdk/python/tools/generate_models.py`"


def conforms(value, schema, where="the answer"):
    """Checks a value against as much of JSON Schema as the description uses."""
    schema = resolved(schema)
    if "oneOf" in schema:
        problems = []
        for one in schema["oneOf"]:
            try:
                return conforms(value, one, where)
            except AssertionError as error:
                problems.append(str(error))
        raise AssertionError(f"{where} fits nothing: {problems}")
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    right = {
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "null": type(None),
        "object": dict,
        "array": list,
    }
    assert not kinds or any(
        isinstance(value, right[kind]) and not (kind == "integer" and isinstance(value, bool)) for kind in kinds
    ), f"{where} is {value!r}, not {kinds}"
    assert value in schema.get("enum", [value]), where
    if isinstance(value, str) and "pattern" in schema:
        assert re.search(schema["pattern"], value), where
    if isinstance(value, list):
        for at, item in enumerate(value):
            conforms(item, schema.get("items", {}), f"{where}[{at}]")
    if isinstance(value, dict) and "properties" in schema:
        assert set(schema.get("required", [])) <= set(value), f"{where} lacks something: {value}"
        assert set(value) <= set(schema["properties"]), f"{where} has more: {value}"
        for key, item in value.items():
            conforms(item, schema["properties"][key], f"{where}.{key}")


class Checked(Client):
    """Compares each answer of a real exchange with the description."""

    def __init__(self, url, token):
        super().__init__(url, token)
        self.seen = set()

    def _once(self, method, path, body, kind):
        status, answer, cursor = super()._once(method, path, body, kind)
        bare = urlsplit(path).path
        for template, methods in DOCUMENT["paths"].items():
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), bare) and method.lower() in methods:
                operation = methods[method.lower()]
                self.seen.add(operation["operationId"])
                described = operation["responses"].get(str(status)) or operation["responses"]["default"]
                content = described.get("content", {})
                if "application/json" in content:
                    conforms(json.loads(answer), content["application/json"]["schema"], operation["operationId"])
        return status, answer, cursor


def test_a_buyers_calls_against_a_real_exchange(exchange, executor):
    assert executor.submit(abs, -5).result(240) == 5
    executor.settle()
    client = Checked(exchange.url, exchange.token)
    assert client.show_exchange()["protocol"] >= 1
    newest = client.list_jobs(limit=1)
    assert len(newest) == 1
    job = client.show_job(newest[0]["job"])
    assert job["state"] == "done" and job["tasks"][0]["attempts"][0]["machine"]
    invoice = client.show_invoice(job["job"])
    assert invoice["paid_nanocredits"] == job["paid_nanocredits"] > 0
    assert client.list_leases(limit=5)[0]["paid_nanocredits"] >= 0
    assert client.cancel_job(job["job"])["state"] == "done"
    with pytest.raises(ExchangeError) as caught:
        client.top_up(job["job"], 5)
    assert caught.value.code and caught.value.status in range(400, 500)
    assert client.store([b"one", b"two", b"one"])[0] == client.store_blob(b"one")["digest"]
    digest = client.store([b"some bytes"])[0]
    assert client.fetch_blob(digest) == b"some bytes" and client.missing([digest, "0" * 64]) == ["0" * 64]
    assert client.show_quota()["blob_bytes"] > 0

    name = "cpu.2g.any"
    assert name in [one["instrument"] for one in client.list_instruments()]
    assert client.show_book(name)["instrument"] == client.show_ticker(name)["instrument"] == name
    assert sum(candle["trades"] for candle in client.list_candles(name, interval="1m")) > 0
    first = client.list_trades(name, limit=1)
    assert len(first) == 1
    assert len(list(every(client.list_trades, name, limit=1))) == len(client.list_trades(name))
    assert client.list_reference_prices()["references"]
    assert client.list_orders() is not None and client.show_fees()["version"] >= 0

    wallet = client.show_wallet()
    assert 0 < wallet["available_nanocredits"] < 1000 * 10**9
    assert client.list_transfers(limit=3)
    statement = client.show_statement(limit=2)
    assert len(statement["lines"]) == 2
    payment = client.request_payment(
        {"client_payment_id": new_id("pay"), "direction": "withdrawal", "amount_nanocredits": 10**9}
    )
    assert client.show_payment(payment["payment"])["status"] == "requested"
    assert client.cancel_payment(payment["payment"])["status"] == "cancelled"
    assert payment["payment"] in [one["payment"] for one in client.list_payments()]
    made = client.make_token({"name": "for a test", "scopes": ["read"]})
    [shown] = [one for one in client.list_tokens() if one["name"] == "for a test"]
    reader = Client(exchange.url, made["token"])
    assert reader.show_wallet()["account"] == wallet["account"]
    client.revoke_token(shown["id"])
    with pytest.raises(ExchangeError) as caught:
        reader.show_wallet()
    assert caught.value.status == 401
    assert "submit_job" not in client.seen and len(client.seen) > 25


def test_a_sellers_calls_against_a_real_exchange(exchange, seller_token):
    seller = Checked(exchange.url, seller_token)
    [machine] = seller.list_machines()
    assert seller.show_machine(machine["machine"])["slots"] == 2
    assert seller.make_join_code()["join"].startswith(exchange.url)
    order = seller.place_order(
        {
            "client_order_id": new_id("ask"),
            "machine": machine["machine"],
            "instrument": "cpu.2g.any",
            "quantity": 1,
            "price_nanocredits_per_tfuel": 900_000,
            "post_only": True,
        }
    )
    assert seller.show_order(order["order"])["status"] == "open"
    assert order["order"] in [one["order"] for one in seller.list_orders()]
    assert seller.cancel_order(order["order"])["status"] == "cancelled"
    assert seller.cancel_after({"after_ms": 0})


def test_what_is_no_answer_is_said(exchange):
    with pytest.raises(ExchangeError) as caught:
        Client(exchange.url, "wrong").show_wallet()
    assert caught.value.status == 401 and caught.value.code
    nobody = Client("http://127.0.0.1:1", "token")
    with pytest.raises(ExchangeError, match="can't be reached"):
        nobody.request("GET", "/v1/exchange", patience=0)
