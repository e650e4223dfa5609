"""Extra packages: what pip finds is what the guest imports, and what can't be shipped is said at once."""

import dataclasses
import os
import subprocess
import sys
import zipfile

import pytest

from jusha import Executor, PackageRefused, _local, _packages

WAIT = 240


@pytest.fixture
def cache(monkeypatch, tmp_path):
    # Installed first: it keeps what it compiled where the others find it.
    _local.runtime("python")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/jusha/wheels"


@pytest.fixture(scope="session")
def pypi(tmp_path_factory):
    """Where there is none, what comes from it can't be tested."""
    folder = str(tmp_path_factory.mktemp("pypi"))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "mdurl==0.1.2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"PyPI can't be reached: {done.stderr[-200:]}")


def make_wheel(folder, name, files, requires=(), tag="py3-none-any"):
    """A wheel as a build would make it."""
    path = folder / f"{name}-1.0-{tag}.whl"
    info = f"{name}-1.0.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {one}" for one in requires)]
    parts = {
        **files,
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{each},,\n" for each in [*parts, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for each, text in {**parts, f"{info}/RECORD": record}.items():
            wheel.writestr(each, text)
    return path


def test_a_package_of_pypi_with_what_it_needs(exchange, cache, pypi):
    def chunks(values):
        import importlib.metadata

        import markdown_it
        import more_itertools

        said = markdown_it.MarkdownIt().render("*hello*")
        return list(more_itertools.chunked(values, 2)), importlib.metadata.version("more-itertools"), said

    wanted = ["more-itertools==10.5.0", "markdown-it-py==3.0.0"]
    with Executor(url=exchange.url, token=exchange.token, packages=wanted) as ex:
        pinned = ex.packages
        expected = ([[0, 1], [2]], "10.5.0", "<p><em>hello</em></p>\n")
        assert ex.submit(chunks, range(3)).result(WAIT) == expected
    names = [one.partition("==")[0] for one in pinned]
    assert names == ["markdown_it_py", "mdurl", "more_itertools"]
    assert all("--hash=sha256:" in one for one in pinned)
    # What it says pins exactly these.
    assert [wheel.pinned for wheel in _packages.resolve(pinned, _local.runtime("python")).wheels] == pinned


def test_wheels_of_ones_own_and_files_beside_modules(exchange, cache, tmp_path):
    helper = make_wheel(tmp_path, "helper", {"helper.py": "VALUE = 4\n"}, ["mdurl; extra == 'urls'"])
    files = {
        "figures/__init__.py": "import helper, os\n"
        "def read():\n"
        "    with open(os.path.join(os.path.dirname(__file__), 'data.txt')) as file:\n"
        "        return helper.VALUE + int(file.read())\n",
        "figures/data.txt": "38",
    }
    figures = make_wheel(tmp_path, "figures", files, ["helper==1.0"])

    def answer():
        import figures

        return figures.read()

    options = {"url": exchange.url, "token": exchange.token}
    with Executor(**options, packages=[helper, figures]) as ex:
        assert ex.submit(answer).result(WAIT) == 42
        assert [wheel.unpack for wheel in ex._packages.wheels] == [True, False]
    with Executor(**options) as ex:
        error = ex.submit(answer).exception(WAIT)
        assert isinstance(error, ModuleNotFoundError) and "packages=['figures']" in str(error)


def test_what_the_runtime_has_is_not_shipped(cache, tmp_path, pypi):
    wheel = make_wheel(tmp_path, "sums", {"sums.py": "import numpy\n"}, ["numpy>=2", "mdurl==0.1.2"])
    numpy = _local.Provided("numpy", "2.5.2", "numpy")
    runtime = dataclasses.replace(_local.runtime("python"), packages=(numpy,))
    assert [one.modules for one in _packages.resolve([str(wheel)], runtime).wheels] == [("mdurl",), ("sums",)]
    old = dataclasses.replace(runtime, packages=(dataclasses.replace(numpy, version="1.9"),))
    with pytest.raises(PackageRefused, match="numpy"):
        _packages.resolve([str(wheel)], old)


def test_what_was_found_is_kept_and_checked(cache, tmp_path, monkeypatch):
    wheel = make_wheel(tmp_path, "kept", {"kept.py": "X = 1\n"})
    first = _packages.resolve([str(wheel)], _local.runtime("python"))
    assert first.modules() == {"kept"} and first.folder.parent == cache

    def never(*_, **__):
        raise AssertionError("pip was asked again")

    with monkeypatch.context() as patch:
        patch.setattr(_packages.subprocess, "run", never)
        assert _packages.resolve([str(wheel)], _local.runtime("python")) == first
    # A day later pip is asked; if it can't find anything now, what there is does.
    os.utime(first.folder / "lock.json", (1, 1))
    asked = []

    def fails(requirements, *_):
        asked.append(requirements)
        raise PackageRefused("no network")

    with monkeypatch.context() as patch:
        patch.setattr(_packages, "_download", fails)
        assert _packages.resolve([str(wheel)], _local.runtime("python")) == first and asked == [[str(wheel)]]
    # Built anew it is another one.
    old = wheel.read_bytes()
    make_wheel(tmp_path, "kept", {"kept.py": "X = 2\n"})
    [new] = _packages.resolve([str(wheel)], _local.runtime("python")).wheels
    assert new.digest != first.wheels[0].digest
    wheel.write_bytes(old)
    [one] = first.wheels
    assert first.content(one) == wheel.read_bytes()
    (first.folder / one.file).write_bytes(b"something else")
    with pytest.raises(PackageRefused, match="altered"):
        first.content(one)


@pytest.mark.parametrize(
    "wanted, words",
    [
        (["numpy==2.0.0"], "numpy"),
        (["jsonschema==4.23.0"], "rpds-py"),
        (["jusha-there-is-no-such-package==1"], "no-such-package"),
        (["--index-url=x"], "is no requirement"),
        (["./nothing-1.0-py3-none-any.whl"], "no wheel that is here"),
    ],
)
def test_what_can_not_be_shipped_is_refused_at_construction(exchange, cache, pypi, wanted, words):
    with pytest.raises(PackageRefused, match=words) as caught:
        Executor(url=exchange.url, token=exchange.token, packages=wanted)
    if words == "numpy":
        assert "py3-none-any" in str(caught.value) and "compiled" in str(caught.value)


def test_a_wheel_for_one_platform_is_refused(exchange, cache, tmp_path):
    wheel = make_wheel(tmp_path, "native", {"native.py": ""}, tag="cp312-cp312-linux_x86_64")
    with pytest.raises(PackageRefused, match="not a supported wheel"):
        Executor(url=exchange.url, token=exchange.token, packages=[str(wheel)])
    with pytest.raises(TypeError, match="give a list"):
        Executor(url=exchange.url, token=exchange.token, packages="attrs")


def test_requirements_are_the_guests_not_those_of_this_python():
    wheels = [
        ("one", ['two>=1; sys_platform == "wasi"', 'three; python_version >= "3.13"', 'four; extra == "more"']),
        ("six", ['seven; python_version < "3.13"', "eight[fast]>2"]),
        ("eight", ['nine; extra == "fast"', "one"]),
    ]
    assert _packages._lacking(wheels, [], (3, 12)) == ["nine", "seven", "two>=1"]
    assert _packages._lacking(wheels, ["one[more]==1"], (3, 12)) == ["four", "nine", "seven", "two>=1"]
