"""`Job`: what became of a job, for people."""

from __future__ import annotations

import html
import time
from dataclasses import dataclass

from . import models
from ._client import Client

NANOCREDITS = 1_000_000_000


@dataclass
class Job:
    """A job as it stands at the exchange: `executor.jobs`, or `Job.of(client, id)`.

    A notebook shows it as a table.
    """

    client: Client
    view: models.JobView

    @classmethod
    def of(cls, client: Client, id: str) -> Job:
        """A job by its id."""
        return cls(client, client.show_job(id))

    def refresh(self) -> Job:
        """Asks the exchange anew; itself."""
        self.view = self.client.show_job(self.id)
        return self

    @property
    def id(self) -> str:
        """Its id."""
        return self.view["job"]

    @property
    def state(self) -> str:
        """`waiting`, `running`, `exhausted`, `done` or `cancelled`."""
        return self.view["state"]

    @property
    def cost(self) -> float:
        """What was paid for it so far, in credits."""
        return self.view["paid_nanocredits"] / NANOCREDITS

    @property
    def fuel(self) -> int:
        """The fuel of all that was accepted of it."""
        return sum(task["usage"]["fuel"] for task in self.view["tasks"])

    @property
    def machines(self) -> list[str]:
        """Who ran it, in order of appearance."""
        names = [one["machine_name"] for task in self.view["tasks"] for one in task["attempts"]]
        return list(dict.fromkeys(names))

    def _figures(self) -> list[tuple[str, str]]:
        view = self.view
        over = sum(task["state"] in ("done", "refused", "cancelled") for task in view["tasks"])
        # Every attempt but a task's first continues what another one began.
        moved = sum(max(0, len(task["attempts"]) - 1) for task in view["tasks"])
        lasted = ((view.get("ended_at_ms") or time.time() * 1000) - view["submitted_at_ms"]) / 1000
        return [
            ("state", view["state"]),
            ("tasks over", f"{over} of {view['task_count']}"),
            ("moved", f"{moved} times"),
            ("lasted" if view.get("ended_at_ms") else "runs for", f"{lasted:.1f} s"),
            ("fuel", f"{self.fuel / 1e9:.3f} Gfuel"),
            ("paid", f"{self.cost:.9f} of {view['budget_nanocredits'] / NANOCREDITS:g} credits"),
            ("instrument", view["instrument"]),
            ("machines", ", ".join(self.machines) or "none yet"),
        ]

    def __repr__(self) -> str:
        said = ", ".join(f"{name} {value}" for name, value in self._figures())
        return f"<Job {self.view['name']} {self.id}: {said}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{name}</th><td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in self._figures()
        )
        title = f"{html.escape(self.view['name'])} <code>{html.escape(self.id)}</code>"
        return f"<table><caption style='text-align:left'>{title}</caption>{rows}</table>"
