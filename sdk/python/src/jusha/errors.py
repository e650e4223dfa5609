"""What can go wrong, each with what to do about it."""

from __future__ import annotations


class JushaError(Exception):
    """Anything that is Jusha's and not the function's."""


class CannotTravel(JushaError, TypeError):
    """A function or an argument that can't be sent, with the reason and the line."""


class PackageRefused(JushaError, ValueError):
    """A package that can't be shipped: there is no pure-Python wheel of it, or of what it needs."""


class ExchangeError(JushaError):
    """The exchange refused a request, or can't be reached.

    `code` is one of the exchange's stable codes (docs/errors.md), or None where none came.
    """

    def __init__(self, message: str, code: str | None = None, status: int | None = None, details: dict | None = None):
        super().__init__(message)
        self.code = code
        self.status = status
        self.details = details or {}


class NotConfigured(JushaError):
    """There is no exchange and none can be started, or a runtime is not installed."""


class Lost(JushaError):
    """A call that has no result: its machine refused it, it trapped, or a limit ended it."""


class Trapped(Lost):
    """The interpreter itself trapped: most often recursion through C code, or `os._exit`."""


class LimitReached(Lost):
    """The call used up its limit of fuel."""


class BudgetExhausted(JushaError):
    """The job's money is used up. What was computed is there; more needs a larger `budget`."""


class RemoteError(Exception):
    """An exception of a class that isn't known here: a subclass with its name stands for it."""


class RemoteTraceback(Exception):
    """The traceback where the exception was raised, as text: the cause of what a future raises."""

    def __init__(self, text: str):
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'
