"""How much faster more cores count the primes: ``python scaling.py END [CORES …]`` measures, and draws a chart.

The chart goes to ``scaling.png`` where matplotlib is installed, else it is text.
"""

import os
import sys
import time

from prime_job import PrimeJob

import pilotfish as pf

WIDTH = 40
"""Columns of the longest bar."""


def measure(end: int, cores: int) -> float:
    """Seconds that so many cores take for all primes below `end`, in 50 parts."""
    with pf.Session(cores=cores) as session:
        session.submit(abs, 0).result()  # what starts a session is not what is measured
        began = time.perf_counter()
        print(session.enqueue(PrimeJob, end=end, chunk=-(-end // 50)).result(), "primes")
        return time.perf_counter() - began


def chart(seconds: dict[int, float]) -> str:
    """A bar for each number of cores: its speed-up over the first one, per core."""
    cores, first = next(iter(seconds.items()))
    lines = []
    for number, taken in seconds.items():
        speedup = first / taken
        bar = "#" * round(WIDTH * speedup * cores / max(seconds))
        lines.append(f"{number:>4} cores {taken:8.2f} s  x{speedup:.2f}  {bar}")
    return "\n".join(lines)


def draw(seconds: dict[int, float], file: str) -> bool:
    """The same as a picture; False where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure()
    axes = figure.subplots()
    cores, first = next(iter(seconds.items()))
    axes.plot(list(seconds), [first / taken for taken in seconds.values()], marker="o", label="measured")
    axes.plot(list(seconds), [number / cores for number in seconds], linestyle=":", label="ideal")
    axes.set(xlabel="cores", ylabel="speed-up", title="Counting primes")
    axes.legend()
    figure.savefig(file)
    return True


if __name__ == "__main__":
    end = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
    wanted = [int(word) for word in sys.argv[2:]] or sorted({1, 2, len(os.sched_getaffinity(0))})
    measured = {cores: measure(end, cores) for cores in wanted}
    print(chart(measured))
    if draw(measured, "scaling.png"):
        print("see scaling.png")
