"""One exchange with one provider for all tests: the real ones, on this computer."""

import json
import os

import hypothesis
import pytest

from jusha import Executor
from jusha._local import LocalExchange


# Times on a busy machine say nothing; JUSHA_EXAMPLES=10000 looks harder.
hypothesis.settings.register_profile(
    "here", deadline=None, max_examples=int(os.environ.get("JUSHA_EXAMPLES", "100")), derandomize=True
)
hypothesis.settings.load_profile("here")


@pytest.fixture(scope="session")
def exchange():
    local = LocalExchange(slots=2)
    yield local
    local.stop()


@pytest.fixture(scope="session")
def seller_token(exchange):
    """Of the account that owns the provider."""
    return json.loads((exchange.folder / "data/accounts.json").read_text())["seller_token"]


@pytest.fixture
def executor(exchange):
    with Executor(url=exchange.url, token=exchange.token, slots=2) as made:
        yield made
