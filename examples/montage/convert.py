#!/usr/bin/env python3
"""Turns a table of a real workflow into a job file that sleeps as long as its tasks ran, times a factor.

    convert.py TABLE.tsv.gz [FACTOR] > workflow.json

The table has the columns id, runtime in seconds, cores, memory in bytes (may be 0 or empty), and the ids of
the tasks that come before, separated by commas. Its shape is kept: who waits for whom, and who needs how much.
"""

import csv
import gzip
import json
import sys
from pathlib import Path

LEAST_MEMORY = 16 * 2**20
"""Bytes; room for any small program to start, whatever the original needed."""


def convert(table: Path, factor: float) -> dict[str, object]:
    """The job file, as plain data, for a workflow in which all takes `factor` times as long."""
    with gzip.open(table, "rt", encoding="utf-8", newline="") as text:
        rows = [row for row in csv.reader(text, delimiter="\t") if row and not row[0].startswith("#")]
    return {"name": table.name.partition(".")[0], "jobs": [job(*row, factor=factor) for row in rows]}


def job(name: str, runtime: str, cores: str, memory: str, parents: str = "", *, factor: float) -> dict[str, object]:
    """One row as a job."""
    entry: dict[str, object] = {
        "name": name,
        "command": ["sleep", f"{float(runtime) * factor:.3f}"],
        "cores": int(cores),
        "after": parents.split(",") if parents else [],
    }
    if int(memory or 0):
        entry["memory"] = max(int(memory), LEAST_MEMORY)
    return entry


if __name__ == "__main__":
    json.dump(convert(Path(sys.argv[1]), float((sys.argv[2:] or ["0.01"])[0])), sys.stdout, indent=1)
