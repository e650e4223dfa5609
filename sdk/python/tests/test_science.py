"""numpy, pandas, scipy and scikit-learn over there.

`jusha runtime add python-science` compiles for ten minutes or more on a small computer, once. So these
tests run where it is wanted: JUSHA_SCIENCE=1.
"""

import dataclasses
import datetime
import os

import pytest

from jusha import Executor

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")

WAIT = 600

pytestmark = pytest.mark.skipif(
    not os.environ.get("JUSHA_SCIENCE"), reason="the runtime takes long to compile: JUSHA_SCIENCE=1 does so"
)


@pytest.fixture(scope="module")
def science(exchange):
    with Executor(url=exchange.url, token=exchange.token, slots=2, runtime="python-science") as made:
        yield made


def test_arrays_come_and_go(science):
    def solve(a, b):
        return np.linalg.solve(a, b)

    random = np.random.default_rng(1)
    a, b = random.random((40, 40)), random.random(40)
    x = science.submit(solve, a, b).result(WAIT)
    assert x.dtype == np.float64 and np.allclose(a @ x, b)
    for array in [
        np.arange(24, dtype="int16").reshape(2, 3, 4)[:, ::-1],
        np.array([True, False]),
        np.array([1 + 2j, np.nan]),
        np.array(["2026-01-01", "NaT"], dtype="datetime64[D]"),
        np.array(["one", "three"]),
        np.zeros((0, 3), dtype="float32"),
    ]:
        back = science.submit(lambda value: value, array).result(WAIT)
        assert back.dtype == array.dtype and back.shape == array.shape
        np.testing.assert_array_equal(back, array)


def test_frames_come_and_go(science):
    frame = pd.DataFrame(
        {
            "name": ["b", "a", "b", None],
            "value": [1.5, np.nan, 3.0, 4.0],
            "when": pd.to_datetime(["2026-01-01", "2026-01-02", None, "2026-01-04"]),
        }
    )

    def totals(frame):
        return frame.groupby("name")["value"].sum().sort_index(), frame.assign(double=frame["value"] * 2)

    sums, more = science.submit(totals, frame).result(WAIT)
    assert sums.to_dict() == {"a": 0.0, "b": 4.5}
    assert list(more.columns) == ["name", "value", "when", "double"]
    np.testing.assert_array_equal(more["double"], frame["value"] * 2)
    np.testing.assert_array_equal(more["when"], frame["when"])


def test_scipy_says_what_it_says_here(science):
    scipy = pytest.importorskip("scipy")

    def work(seed):
        from scipy import integrate, interpolate, optimize, signal, sparse, special, stats

        random = np.random.default_rng(seed)
        x = random.random(200)
        return {
            "minimum": optimize.minimize(lambda p: ((p - [1, 2]) ** 2).sum(), [0, 0]).x,
            "integral": integrate.quad(lambda t: np.exp(-t * t), 0, 3)[0],
            "spline": float(interpolate.CubicSpline([0, 1, 2, 3], [0, 1, 0, 1])(1.5)),
            "filtered": signal.lfilter(*signal.butter(3, 0.2), x),
            "product": (sparse.eye(4) * 2 @ np.arange(4)),
            "gamma": float(special.gamma(4.5)),
            "p": float(stats.ttest_1samp(x, 0.5).pvalue),
        }

    here, there = work(5), science.submit(work, 5).result(WAIT)
    assert scipy and here.keys() == there.keys()
    for name, value in here.items():
        np.testing.assert_allclose(there[name], value, rtol=1e-6, atol=1e-6, err_msg=name)


def test_scikit_learn_learns(science):
    def score(depth):
        from sklearn.datasets import load_iris
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.model_selection import cross_val_score

        x, y = load_iris(return_X_y=True)
        forest = RandomForestClassifier(n_estimators=10, max_depth=depth, random_state=0)
        return float(cross_val_score(forest, x, y, cv=3).mean())

    scores = list(science.map(score, [1, 4], chunksize=1))
    assert 0.5 < scores[0] < scores[1] and scores[1] > 0.9


def test_a_nan_that_is_born_is_the_canonical_one(science):
    def born(x):
        with np.errstate(all="ignore"):
            return np.array([x]) / 0, np.sqrt(np.array([-1.0 - x]))

    for value in science.submit(born, 0.0).result(WAIT):
        assert value.view(np.uint64)[0] == 0x7FF8000000000000


def test_calls_draw_different_numbers_and_see_no_network(science):
    def draw(_):
        return np.random.random(), np.random.default_rng().random()

    drawn = list(science.map(draw, range(4), chunksize=1))
    assert len({number for pair in drawn for number in pair}) == 8

    def fetch():
        import requests

        return requests

    assert "no network" in str(science.submit(fetch).exception(WAIT))


@dataclasses.dataclass
class Reading:
    when: datetime.date
    values: "np.ndarray"


def test_what_the_other_runtime_does_goes_here_as_well(science):
    async def later(reading):
        import asyncio

        await asyncio.sleep(30)
        return Reading(reading.when, reading.values * 2)

    def run(reading):
        import asyncio

        return asyncio.run(later(reading))

    back = science.submit(run, Reading(datetime.date(2026, 1, 2), np.arange(3))).result(WAIT)
    assert back.when == datetime.date(2026, 1, 2) and list(back.values) == [0, 2, 4]

    def fails():
        return np.zeros(3).reshape(2, 2)

    error = science.submit(fails).exception(WAIT)
    assert type(error) is ValueError and "reshape" in str(error.__cause__)
