"""Personal cloud computing in Python: `concurrent.futures` on strangers' computers.

    from jusha import Executor

    with Executor() as ex:
        print(sum(ex.map(f, range(10_000))))
"""

from ._client import Client
from .aio import AsyncExecutor
from .errors import (
    BudgetExhausted,
    CannotTravel,
    ExchangeError,
    JushaError,
    LimitReached,
    Lost,
    NotConfigured,
    RemoteError,
    RemoteTraceback,
    Trapped,
)
from .estimate import Estimate, estimate
from .executor import Executor, JobFuture
from .files import map_files

__all__ = [
    "AsyncExecutor",
    "BudgetExhausted",
    "CannotTravel",
    "Client",
    "ExchangeError",
    "Estimate",
    "Executor",
    "JobFuture",
    "JushaError",
    "LimitReached",
    "Lost",
    "NotConfigured",
    "RemoteError",
    "RemoteTraceback",
    "Trapped",
    "estimate",
    "map_files",
]
__version__ = "0.1.0"
