import pytest

from pilotfish.cli.wishes import done_words
from pilotfish.manager.answers import Done


@pytest.mark.parametrize(
    ("done", "words"),
    [
        (Done(verb="cancel", tasks=3, ending=1, states={}, live=True), "3 tasks cancelled, 1 is being ended"),
        (Done(verb="cancel", tasks=0, ending=2, states={}, live=True), "2 tasks are being ended"),
        (
            Done(verb="cancel", tasks=1, skipped=1200, states={}, live=True),
            "1 task cancelled, 1,200 skipped that depend on it",
        ),
        (Done(verb="hold", tasks=1, states={}, live=True), "1 task held"),
        (Done(verb="hold", tasks=2, running=1, states={}, live=True), "2 tasks held, 1 runs on and is held afterwards"),
        (Done(verb="hold", tasks=0, running=2, states={}, live=True), "2 tasks run on and are held afterwards"),
        (
            Done(verb="hold", tasks=1, states={}, live=False),
            "1 task held; no manager is running: the next `pilotfish run` leaves it alone",
        ),
        (
            Done(verb="hold", tasks=2, states={}, live=False),
            "2 tasks held; no manager is running: the next `pilotfish run` leaves them alone",
        ),
        (Done(verb="release", tasks=2, states={}, live=True), "2 tasks released"),
        (Done(verb="retry", tasks=2, states={}, live=True), "2 tasks to run again"),
        (
            Done(verb="hold", tasks=0, states={"succeeded": 2, "failed": 1}, live=False),
            "nothing to hold: 2 succeeded, 1 failed",
        ),
        (Done(verb="cancel", tasks=0, states={}, live=True), "nothing to cancel: there are no tasks"),
        (
            Done(verb="retry", tasks=2, states={}, live=False),
            "2 tasks to run again; no manager is running: `pilotfish run` with the same file runs them",
        ),
    ],
)
def test_what_was_done_is_told_in_one_line(done: Done, words: str) -> None:
    assert done_words(done) == words
