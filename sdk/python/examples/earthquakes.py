"""Four seismometers, four minutes: which of their alarms were earthquakes?

    pip install obspy matplotlib
    python examples/earthquakes.py [PICTURE]

The records are of stations UH1 to UH4 of the University of Munich's network, 27 May 2010, and come with
obspy. Each is filtered and searched for sudden energy on somebody's machine, a call per file; here
is only looked at which alarms came together. obspy's own answer is computed beside it.
"""

from __future__ import annotations

import gzip
import pathlib
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta

from jusha import Executor, map_files

FILES = ["BW.UH1._.SHZ", "BW.UH2._.SHZ", "BW.UH3._.SHZ", "BW.UH4._.EHZ"]
BAND_HZ = (10, 20)
# An alarm begins where the mean energy of half a second is 3.5 times that of ten seconds, and ends
# where it is no more than that.
SHORT_S, LONG_S, ON, OFF = 0.5, 10, 3.5, 1
# So many stations must agree.
STATIONS_MIN = 3
# The filter, by samples a second: designed here, where scipy is; there its figures will do.
SECTIONS: dict[int, list[list[float]]] = {}


@dataclass
class Alarm:
    """A station's energy rose, and fell again."""

    station: str
    on: datetime
    off: datetime


@dataclass
class Search:
    """What came of one file."""

    station: str
    start: datetime
    alarms: list[Alarm]
    # The largest swing in each tenth of a second, for a picture.
    outline: list[float]


def read(path: pathlib.Path) -> tuple[str, int, datetime, list[float]]:
    """Station, samples a second, start and samples of a file of the format SLIST."""
    with gzip.open(path, "rt") as file:
        name, _, rate, start, *_ = file.readline().split(", ")
        samples = [float(value) for line in file for value in line.split()]
    return name.split("_")[1], int(rate.split()[0]), datetime.fromisoformat(start), samples


def band(samples: list[float], sections: list[list[float]]) -> list[float]:
    """A cascade of second-order filters."""
    for b0, b1, b2, _, a1, a2 in sections:
        first = second = 0.0
        passed = []
        for x in samples:
            y = b0 * x + first
            first = b1 * x - a1 * y + second
            second = b2 * x - a2 * y
            passed.append(y)
        samples = passed
    return samples


def energy_ratio(samples: list[float], short: int, long: int) -> list[float]:
    """The mean energy of a short time by that of a long one, both as recursive means."""
    mean_short, mean_long = 0.0, sys.float_info.min
    ratios = [0.0]
    for at in range(1, len(samples)):
        energy = samples[at] * samples[at]
        mean_short += (energy - mean_short) / short
        mean_long += (energy - mean_long) / long
        # The long one knows nothing before.
        ratios.append(mean_short / mean_long if at >= long else 0.0)
    return ratios


def search(path: pathlib.Path) -> Search:
    """The alarms of one file. This is what runs elsewhere."""
    station, rate, start, samples = read(path)
    passed = band(samples, SECTIONS[rate])
    alarms: list[Alarm] = []
    on = None
    for at, ratio in enumerate(energy_ratio(passed, int(SHORT_S * rate), LONG_S * rate)):
        if on is None and ratio > ON:
            on = at
        elif on is not None and ratio <= OFF:
            times = [start + timedelta(seconds=when / rate) for when in (on, at - 1)]
            alarms.append(Alarm(station, *times))
            on = None
    tenth = rate // 10
    outline = [max(map(abs, passed[at : at + tenth])) for at in range(0, len(passed), tenth)]
    return Search(station, start, alarms, outline)


def coincidences(alarms: list[Alarm]) -> list[list[Alarm]]:
    """Alarms that overlap, of enough stations."""
    found: list[list[Alarm]] = []
    for alarm in sorted(alarms, key=lambda alarm: alarm.on):
        if found and alarm.on <= max(one.off for one in found[-1]):
            found[-1].append(alarm)
        else:
            found.append([alarm])
    return [group for group in found if len({one.station for one in group}) >= STATIONS_MIN]


def obspys_answer(files: list[pathlib.Path]) -> list[datetime]:
    """The same by obspy, here."""
    import obspy
    from obspy.signal.trigger import coincidence_trigger

    stream = obspy.Stream()
    for file in files:
        stream += obspy.read(str(file))
    stream.filter("bandpass", freqmin=BAND_HZ[0], freqmax=BAND_HZ[1])
    events = coincidence_trigger("recstalta", ON, OFF, stream, STATIONS_MIN, sta=SHORT_S, lta=LONG_S)
    return [event["time"].datetime for event in events]


def draw(searches: list[Search], events: list[list[Alarm]], file: str) -> None:
    """A line per station, its alarms, and what came together."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, rows = pyplot.subplots(len(searches), sharex=True, figsize=(10, 6))
    for row, one in zip(rows, searches):
        times = [one.start + timedelta(seconds=at / 10) for at in range(len(one.outline))]
        # Compressed: the strongest would hide the others.
        swings = [value**0.25 for value in one.outline]
        row.fill_between(times, [-value for value in swings], swings, color="0.3", linewidth=0)
        row.set_ylabel(one.station, rotation=0, ha="right")
        row.set_yticks([])
        for alarm in one.alarms:
            row.axvspan(alarm.on, alarm.off, color="tab:orange", alpha=0.35, linewidth=0)
        for group in events:
            row.axvline(group[0].on, color="tab:red", linewidth=1)
    rows[0].set_title(f"Alarms (orange), and those of {STATIONS_MIN} or more stations together (red)")
    figure.tight_layout()
    figure.savefig(file, dpi=80)


def main() -> None:
    """From the command line."""
    import obspy.signal
    from scipy.signal import butter

    for rate in (50, 100):
        SECTIONS[rate] = butter(4, BAND_HZ, "band", fs=rate, output="sos").tolist()
    data = pathlib.Path(obspy.signal.__file__).parent / "tests/data"
    files = [data / f"{name}.D.2010.147.cut.slist.gz" for name in FILES]
    with Executor(name="earthquakes") as ex:
        searches = list(map_files(search, files, executor=ex))
        ex.settle()
        print(f"{len(files)} stations, {sum(job.fuel for job in ex.jobs) / 1e9:.2f} Gfuel, {ex.cost:.7f} credits")
    for one in searches:
        print(f"{one.station}: {len(one.alarms)} alarms in {len(one.outline) / 10:.0f} s")
    events = coincidences([alarm for one in searches for alarm in one.alarms])
    for group in events:
        print(f"{group[0].on:%Y-%m-%d %H:%M:%S.%f}"[:-4], "by", " ".join(alarm.station for alarm in group))
    theirs = obspys_answer(files)
    same = [group[0].on for group in events] == theirs
    print("obspy finds the same" if same else f"obspy finds {theirs}")
    picture = sys.argv[1] if len(sys.argv) > 1 else "earthquakes.png"
    draw(searches, events, picture)
    print(f"the picture is {picture}")


if __name__ == "__main__":
    main()
