"""Personal cloud computing in Python: `concurrent.futures` on strangers' computers.

    from jusha import Executor

    with Executor() as ex:
        print(sum(ex.map(f, range(10_000))))
"""

from . import models
from ._client import Client, every
from .aio import AsyncExecutor
from .errors import (
    BudgetExhausted,
    CannotTravel,
    ExchangeError,
    JushaError,
    LimitReached,
    Lost,
    NotConfigured,
    PackageRefused,
    RemoteError,
    RemoteTraceback,
    Trapped,
)
from .estimate import Estimate, estimate
from .executor import Executor
from .files import map_files
from .future import JobFuture
from .job import Job

__all__ = [
    "AsyncExecutor",
    "BudgetExhausted",
    "CannotTravel",
    "Client",
    "ExchangeError",
    "Estimate",
    "Executor",
    "Job",
    "JobFuture",
    "JushaError",
    "LimitReached",
    "Lost",
    "NotConfigured",
    "PackageRefused",
    "RemoteError",
    "RemoteTraceback",
    "Trapped",
    "estimate",
    "every",
    "map_files",
    "models",
]
__version__ = "0.1.0"
