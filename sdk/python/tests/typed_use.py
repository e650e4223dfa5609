"""Never run: what a type checker must make of it (`test_types.py`)."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from jusha import AsyncExecutor, Client, Executor, Job, JobFuture, every, map_files, models

if TYPE_CHECKING:
    from typing_extensions import assert_type


def size(path: pathlib.Path) -> int:
    return path.stat().st_size


def text(value: int) -> str:
    return str(value)


def use(client: Client) -> None:
    with Executor(filters={"trust_min": 3}) as ex:
        assert_type(ex.submit(text, 1), JobFuture[str])
        assert_type(ex.submit(text, 1).result(), str)
        assert_type(ex.map(text, [1]), Iterator[str])
        assert_type(ex.jobs, list[Job])
    assert_type(map_files(size, ["a"]), Iterator[int])
    assert_type(client.show_wallet()["available_nanocredits"], int)
    assert_type(client.show_job("job")["state"], models.JobState)
    for trade in every(client.list_trades, "cpu.2g.any"):
        assert_type(trade, models.TradeView)


async def use_async() -> None:
    async with AsyncExecutor() as ex:
        assert_type(await ex.submit(text, 1), str)
        async for value in ex.map(text, [1]):
            assert_type(value, str)
