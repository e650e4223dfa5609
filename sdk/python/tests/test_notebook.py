"""Cells of a notebook, in a real kernel: functions travel, bars and jobs are shown."""

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("tqdm")

CELLS = [
    "from dataclasses import dataclass\nfrom jusha import Executor\nSCALE = 3\nex = Executor(slots=2)",
    "@dataclass\nclass Cell:\n    value: int\n\n    def scaled(self):\n        return self.value * SCALE",
    "def f(x):\n    return Cell(x).scaled() + 1",
    "print(sum(ex.map(f, range(20), progress=True)))",
    "ex.submit(lambda cell: Cell(cell.value + 1), Cell(4)).result()",
    "def f(x):\n    return -x",
    "print(list(ex.map(f, range(3))))",
    "def wrong(x):\n    return 1 / x\n\ntry:\n    ex.submit(wrong, 0).result()\nexcept ZeroDivisionError as error:\n"
    "    print(error.__cause__)",
    "ex.settle()\nex.jobs[0]",
    "ex.shutdown()",
]


def test_cells_work(exchange, monkeypatch):
    monkeypatch.setenv("JUSHA_URL", exchange.url)
    monkeypatch.setenv("JUSHA_TOKEN", exchange.token)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    outputs = [cell["outputs"] for cell in notebook["cells"]]

    def printed(at, name="stdout"):
        return "".join(one["text"] for one in outputs[at] if one.get("name") == name)

    assert printed(3) == f"{sum(3 * x + 1 for x in range(20))}\n"
    bars = printed(3, "stderr") + str([one.get("data") for one in outputs[3]])
    assert "20/20" in bars and "f:" in bars
    assert outputs[4][0]["data"]["text/plain"] == "Cell(value=5)"
    assert printed(6) == "[0, -1, -2]\n"
    # The line of the cell, though the file is only in the kernel's memory.
    assert "return 1 / x" in printed(7) and "line 2" in printed(7)
    shown = outputs[8][0]["data"]["text/html"]
    assert "<table>" in shown and "done" in shown and "Gfuel" in shown
