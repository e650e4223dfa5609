"""The types hold: those of the package, and those that its users see."""

import pathlib
import subprocess
import sys

import pytest

SDK = pathlib.Path(__file__).parents[1]


def test_types():
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--cache-dir", "/dev/null", "src/jusha", "tests/typed_use.py"]
    done = subprocess.run(command, cwd=SDK, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
