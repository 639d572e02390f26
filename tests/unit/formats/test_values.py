"""What the values of each key become."""

import signal

import pytest

from pilotfish.formats.document import Format
from pilotfish.formats.native import load_text
from pilotfish.model.jobs import Dependency, JobSpec, OnLost, OnSilence, Retries, Signal, When
from pilotfish.model.quantities import ONE, Amount
from pilotfish.model.resources import Request


def one(keys: str, top: str = "") -> JobSpec:
    """The only job of a file with these keys, as YAML."""
    lines = "\n    ".join(keys.splitlines())
    text = f"{top}\njobs:\n  - command: run\n    {lines}\n"
    (spec,) = load_text(text, name="/work/jobs.yaml", format=Format.yaml).jobs
    return spec


@pytest.mark.parametrize(
    ("written", "request_"),
    [
        ("cores: {min: 2, max: 8}", Request(Amount(2 * ONE), most_cores=Amount(8 * ONE))),
        ("cores: {min: 2, max: 2}", Request(Amount(2 * ONE))),
        ("gpus: 0.5", Request(gpus=Amount(5_000))),
        ("gpus: 2", Request(gpus=Amount(20_000))),
        ("gpus: 2.0", Request(gpus=Amount(20_000))),
        ("nodes: 4\ncores: 2", Request(Amount(2 * ONE), nodes=4)),
        ("exclusive: true", Request(exclusive=True)),
        ("exclusive: false", Request()),
        ("resources: {fpga: 1, disk: 0.25}", Request(resources=(("disk", Amount(2_500)), ("fpga", ONE)))),
        ("labels: [fast, big, fast]", Request(labels=("big", "fast"))),
        ("memory: 65536.0", Request(memory=65_536)),
    ],
)
def test_request(written: str, request_: Request) -> None:
    assert one(written).request == request_


def test_each_variant_completes_what_the_job_asks_for() -> None:
    spec = one("cores: {min: 1, max: 4}\nmemory: 1G\nvariants: [{gpus: 1, cores: 2}, {cores: 16, memory: 4G}, {}]")
    assert spec.request == Request(Amount(2 * ONE), 2**30, Amount(ONE))
    assert spec.variants == (
        Request(Amount(16 * ONE), 4 * 2**30),
        Request(Amount(ONE), 2**30, most_cores=Amount(4 * ONE)),
    )


def test_a_variant_that_is_like_an_earlier_one_is_left_out() -> None:
    spec = one("variants: [{cores: 2}, {cores: 2.0}]")
    assert spec.requests == (Request(Amount(2 * ONE)),)


@pytest.mark.parametrize(
    ("written", "retries"),
    [
        ("3", Retries(3)),
        ("{count: 3}", Retries(3)),
        ("{count: 2, delay: 10s, backoff: 2, max_delay: 10m}", Retries(2, 10.0, 2.0, 600.0)),
        ("{count: 2, retry_on: [75, timed_out, 75, 1.0]}", Retries(2, retry_on=(75, "timed_out", 1))),
        (
            "{count: 0, retry_on: [out_of_memory, signalled, start_failed]}",
            Retries(0, retry_on=("out_of_memory", "signalled", "start_failed")),
        ),
    ],
)
def test_retries(written: str, retries: Retries) -> None:
    assert one(f"retries: {written}").retries == retries


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("USR1@90s", Signal(signal.SIGUSR1, 90.0)),
        ("SIGTERM@1h", Signal(signal.SIGTERM, 3_600.0)),
        ("USR2", Signal(signal.SIGUSR2, 60.0)),
        ("10", Signal(10, 60.0)),
        ("10@5", Signal(10, 5.0)),
        ("64@0:01:00", Signal(64, 60.0)),
    ],
)
def test_signal(written: str, expected: Signal) -> None:
    assert one(f"signal: {written}").signal == expected


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-01-01T00:00", 1_767_232_800.0),
        ("2026-01-01", 1_767_232_800.0),
        ("2026-01-01 00:00:30", 1_767_232_830.0),
        ("2026-01-01T00:00:00.5", 1_767_232_800.5),
        ("2026-01-01T00:00Z", 1_767_225_600.0),
        ("2026-01-01T00:00:00+05:30", 1_767_205_800.0),
    ],
)
def test_a_point_in_time_is_of_the_local_clock(written: str, moment: float, west: None) -> None:
    assert west is None
    spec = one(f"start_after: {written}")
    assert (spec.start_after, spec.start_delay) == (moment, None)


@pytest.fixture
def west(monkeypatch: pytest.MonkeyPatch) -> object:
    """A clock two hours behind that of Greenwich."""
    import time

    monkeypatch.setenv("TZ", "XXX+2")
    time.tzset()
    yield None
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("west")
@pytest.mark.parametrize("written", ["2026-01-01T00:00:00", "2026-01-01", '"2026-01-01T00:00"'])
def test_dates_of_toml_are_the_same(written: str) -> None:
    (spec,) = load_text(f'[[jobs]]\ncommand = "run"\nstart_after = {written}\n', name="jobs.toml").jobs
    assert spec.start_after == 1_767_232_800.0


@pytest.mark.parametrize(("written", "seconds"), [("0", 0.0), ("90", 90.0), ("1h", 3_600.0), ("1-00:00:00", 86_400.0)])
def test_a_delay_counts_from_the_submission(written: str, seconds: float) -> None:
    spec = one(f"start_after: {written}")
    assert (spec.start_after, spec.start_delay) == (None, seconds)


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        ("source env.sh", ("source env.sh",)),
        ("|\n  set -u\n\n  source {dir}/env.sh", ("set -u", "", "source {dir}/env.sh")),
        ('["ulimit -s unlimited", ""]', ("ulimit -s unlimited", "")),
        ("[]", ()),
    ],
)
def test_setup(written: str, lines: tuple[str, ...]) -> None:
    assert one(f"setup: {written}").setup == lines


@pytest.mark.parametrize(
    ("keys", "field", "value"),
    [
        ("time: 1h\nestimate: 5m", "estimate", 300.0),
        ("estimate: 5m", "estimate", 300.0),
        ("grace: 0", "grace", 0.0),
        ("grace: 1m", "grace", 60.0),
        ("memory: 1G\nmemory_growth: 1.5", "memory_growth", 1.5),
        ("variants: [{gpus: 1}, {memory: 1G}]\nmemory_growth: 2", "memory_growth", 2.0),
        ("on_lost: hold", "on_lost", OnLost.hold),
        ("on_silence: rerun", "on_silence", OnSilence.rerun),
        ("spread: true", "request", Request(spread=True)),
        ("array: 5\nmax_fails: 2", "max_fails", 2),
        ("hold: true", "hold", True),
        ("stdin: in/{index}.txt", "stdin", "/work/in/{index}.txt"),
        ("venv: ../env", "venv", "/work/../env"),
        ("modules: [gcc/12, openmpi]", "modules", ("gcc/12", "openmpi")),
        ("output_limit: 100MB", "output_limit", 100_000_000),
        ("stderr: ./stdout", "stderr", "/work/stdout"),
    ],
)
def test_key(keys: str, field: str, value: object) -> None:
    assert getattr(one(keys), field) == value


def test_uses_are_of_declared_limits() -> None:
    assert one("uses: {licence: 2, db: 1}", top="limits: {licence: 2, db: 10}").uses == {"licence": 2, "db": 1}


def test_a_job_may_follow_the_start_of_another() -> None:
    text = "jobs: [{name: a, command: run}, {name: b, command: run, after: {job: a, when: started}}]"
    assert load_text(text, name="jobs.yaml").jobs[1].after == (Dependency("a", When.started),)


DEFAULTS = """\
defaults:
  cores: 2
  time: 10m
  env: {A: 1, B: 2}
  stdout: out/{name}.log
  retries: {count: 2, delay: 10s}
  max_parallel: 3
"""


def test_a_job_has_the_defaults_that_it_does_not_replace() -> None:
    spec = one("time: 1h\nretries: 5\nenv: {B: 3, C: 4}", top=DEFAULTS)
    assert spec.request == Request(Amount(2 * ONE))
    assert (spec.time, spec.retries, spec.stdout) == (3_600.0, Retries(5), "/work/out/{name}.log")
    assert spec.env == {"A": "1", "B": "3", "C": "4"}


def test_of_an_array_the_limit_after_percent_replaces_the_default() -> None:
    assert one("array: 0-9%5", top=DEFAULTS).max_parallel == 5
    assert one("array: 0-9", top=DEFAULTS).max_parallel == 3


def test_defaults_of_a_plain_job_are_those_of_the_model() -> None:
    assert one("name: a") == JobSpec(name="a", command="run", directory="/work", cwd="/work")
    assert one("name: a", top="defaults: {}") == one("name: a")
