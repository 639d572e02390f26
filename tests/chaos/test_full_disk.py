"""A disk that fills up under store and outputs, and has room again."""

import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.box import PILOTFISH

SCRIPT = """
mkdir small && mount -t tmpfs -o size=4m none small && head -c 2500000 /dev/zero > small/filler || exit 9
"$0" run --store small/s c.yaml 2> said &
until grep -q "database or disk is full" said; do sleep 0.02; done
ls small/s/full/outputs > /dev/null
mount -o remount,size=64m small && rm small/filler
wait $! ; echo first run $?
"$0" run --store small/s c.yaml 2>> said ; echo second run $?
"$0" tasks --store small/s --state succeeded --json > succeeded
"""


@pytest.mark.needs("tmpfs")
def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(tmp_path: Path) -> None:
    command = "echo {index} >> ran; head -c 20000 /dev/zero"
    (tmp_path / "c.yaml").write_text(f"name: full\njobs:\n  - name: a\n    array: 300\n    command: {command}\n")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", SCRIPT, PILOTFISH],
        cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    said = (tmp_path / "said").read_text()
    # A task that could not write its own output fails by itself in the first run, and succeeds in the second.
    assert done.stdout.splitlines()[-1] == "second run 0", said
    assert "nothing is lost" in said
    assert (tmp_path / "succeeded").read_text().count('"name"') == 300
    assert set(Counter((tmp_path / "ran").read_text().split())) == {str(index) for index in range(300)}
