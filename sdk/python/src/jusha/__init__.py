"""Personal cloud computing in Python: `concurrent.futures` on strangers' computers.

    from jusha import Executor

    with Executor() as ex:
        print(sum(ex.map(f, range(10_000))))
"""

from ._client import Client
from .errors import (
    BudgetExhausted,
    CannotTravel,
    ExchangeError,
    JushaError,
    LimitReached,
    Lost,
    NotConfigured,
    RemoteTraceback,
    Trapped,
)
from .executor import Executor, JobFuture

__all__ = [
    "BudgetExhausted",
    "CannotTravel",
    "Client",
    "ExchangeError",
    "Executor",
    "JobFuture",
    "JushaError",
    "LimitReached",
    "Lost",
    "NotConfigured",
    "RemoteTraceback",
    "Trapped",
]
__version__ = "0.1.0"
