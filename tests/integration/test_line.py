"""A line to a manager: what it carries, over threads, forks, and the death of the manager."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pilotfish.errors import UnavailableError, UserError
from pilotfish.functions.keyvalues import KeyValues
from pilotfish.manager.loop import Manager
from pilotfish.model.changes import Change
from pilotfish.model.messages import Ask, Progressed
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings
from pilotfish.store.memory import MemoryStore
from pilotfish.transport.caller import Caller
from pilotfish.transport.local import LocalListener

PATIENCE = 20.0


class Silent:
    """An observer that says nothing."""

    def recorded(self, changes: Sequence[Change]) -> None: ...

    def note(self, text: str) -> None: ...

    def tick(self, now: float) -> None: ...


def refuse(ask: Ask, _now: float, _tell: object) -> object:
    raise UserError(f"nobody is asked for {ask.name} here")


class Home:
    """Where a manager lives, and after its death another one."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "sock"
        self.store = MemoryStore()
        self.told: list[Progressed] = []
        self.thread: threading.Thread | None = None

    def open(self) -> None:
        self.store = self.store.reopened()
        settings = Settings()
        self.listener = LocalListener(self.path)
        manager = Manager(
            self.store,
            Scheduler(settings, self.store.epoch),
            self.listener,
            settings=settings,
            observer=Silent(),
            answer=refuse,
            progressed=self.told.append,
        )
        manager.restore(self.store.load(), {})
        self.stays = True
        self.thread = threading.Thread(target=manager.run, args=(lambda _now: (), lambda: self.stays))
        self.thread.start()

    def shut(self) -> None:
        if self.thread is not None:
            self.stays = False
            self.listener.wake()
            self.thread.join()
            self.listener.close()
            self.thread = None

    def line(self, patience: float = PATIENCE) -> Caller:
        return Caller(lambda: self.path, patience)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    made.open()
    yield made
    made.shut()


@pytest.fixture
def values(home: Home) -> KeyValues:
    return KeyValues(home.line())


def soon(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("value", [1, -0.5, 2**70, float("inf"), True, None, "text", b"", {"a": [1, (2, 3)]}])
def test_values_come_back_as_they_were(values: KeyValues, value: object) -> None:
    values.set("key", value)
    found = values.get("key", "nothing")
    assert (found, type(found)) == (value, type(value))


def test_what_is_not_there_reads_as_the_default(values: KeyValues) -> None:
    values.set("key", 1)
    values.delete("key")
    assert (values.get("key"), values.get("key", 5), values.keys()) == (None, 5, [])


def test_the_largest_value_travels_and_a_larger_one_is_refused(values: KeyValues) -> None:
    large = os.urandom(2**20 - 100)
    values.set("key", large)
    assert values.get("key") == large
    with pytest.raises(UserError, match="the value of `key` has 2 MiB, at most 1 MiB are possible: put it into a file"):
        values.set("key", bytes(2**21))


@pytest.mark.parametrize("key", ["", "k" * 1001, 5])
def test_a_key_is_a_text_that_is_not_too_long(values: KeyValues, key: Any) -> None:
    with pytest.raises(UserError, match="a key is a text of 1 to 1000 characters, not"):
        values.get(key)


def test_only_one_of_many_wins(values: KeyValues) -> None:
    def claim(who: int) -> bool:
        return values.compare_and_set("owner", None, {"who": who})

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(claim, range(50)))
    assert won.count(True) == 1
    assert values.get("owner") == {"who": won.index(True)}
    assert values.compare_and_set("owner", {"who": won.index(True)}, "free")


def test_no_addition_is_lost(values: KeyValues) -> None:
    with ThreadPoolExecutor(8) as threads:
        sums = list(threads.map(values.increment, ["n"] * 200))
    assert sorted(sums) == list(range(1, 201))


def test_what_cannot_be_added_to_is_refused_and_the_line_goes_on(values: KeyValues) -> None:
    values.set("n", "text")
    with pytest.raises(UserError, match="the value of `n` is no number"):
        values.increment("n")
    assert values.get("n") == "text"


def test_whoever_watches_hears_of_the_change(values: KeyValues) -> None:
    with ThreadPoolExecutor(2) as threads:
        seen = threads.submit(values.watch, "key", PATIENCE, known=None)
        values.set("key", {"a": 1})
        assert seen.result() == {"a": 1}
        gone = threads.submit(values.watch, "key", PATIENCE, known={"a": 1})
        values.set("key", {"a": 1})
        values.delete("key")
        assert gone.result() is None


def test_a_change_that_is_known_to_have_happened_is_not_waited_for(values: KeyValues) -> None:
    values.set("key", 2)
    assert values.watch("key", known=1) == 2


def test_whoever_watches_in_vain_hears_of_it_and_goes_on(values: KeyValues) -> None:
    values.set("key", 1)
    with pytest.raises(TimeoutError, match=r"the value of `key` has not changed for 0\.01 s"):
        values.watch("key", 0.01)
    values.set("key", 2)
    assert values.get("key") == 2


def test_a_fork_has_a_line_of_its_own(home: Home, values: KeyValues) -> None:
    values.increment("n")
    child = os.fork()
    if child == 0:
        try:
            os._exit(values.increment("n"))
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert values.increment("n") == 3
    assert home.store.load().values[0].value == 3


def test_the_next_manager_knows_all_and_the_line_finds_it(home: Home, values: KeyValues) -> None:
    values.set("key", "kept")
    with ThreadPoolExecutor(1) as threads:
        seen = threads.submit(values.watch, "key", known="kept")
        home.shut()
        home.open()
        assert values.get("key") == "kept"
        assert values.increment("n") == 1, "an idle line that is dead is found out before anything is in doubt"
        values.set("key", "new")
        assert seen.result() == "new"


def test_a_manager_that_stays_away_is_not_waited_for_without_end(home: Home) -> None:
    values = KeyValues(home.line(patience=0.1))
    home.shut()
    with pytest.raises(UnavailableError, match=r"the manager has been away for 0\.1 s: nobody answers at "):
        values.get("key")


def test_a_change_in_doubt_is_an_error(home: Home) -> None:
    """The manager dies between question and answer."""
    home.shut()
    listener = LocalListener(home.path)

    def die() -> None:
        while not listener.poll(PATIENCE):
            pass
        listener.close()

    killer = threading.Thread(target=die)
    killer.start()
    with pytest.raises(UnavailableError, match="ended before it answered `value-add`: nobody knows whether"):
        KeyValues(home.line(patience=1.0)).increment("n")
    killer.join()


def test_progress_is_told_to_the_manager_that_is_there(home: Home) -> None:
    line = home.line()
    line.tell(Progressed(1, 2, 0.25, "a quarter"))
    soon(lambda: home.told)
    assert home.told == [Progressed(1, 2, 0.25, "a quarter")]
    home.shut()
    for _ in range(100):
        line.tell(Progressed(1, 2, 0.5, "nobody hears it"))
    home.open()
    deadline = time.monotonic() + PATIENCE
    while len(home.told) < 2:
        assert time.monotonic() < deadline
        line.tell(Progressed(1, 2, 0.75, "the next one does"))
        time.sleep(0.05)
    assert home.told[1] == Progressed(1, 2, 0.75, "the next one does")
