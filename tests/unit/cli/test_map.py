import pytest

from pilotfish.cli.map import parse_slots


@pytest.mark.parametrize(
    ("text", "slots"),
    [("3", 3), ("100%", 8), ("150%", 12), ("1%", 1), ("0%", 1), ("+2", 10), ("-3", 5), ("-50", 1), ("0", 250)],
)
def test_tasks_at_once_are_told_as_to_gnu_parallel(text: str, slots: int) -> None:
    assert parse_slots(text, 8) == slots


@pytest.mark.parametrize("text", ["", "x", "1.5", "3%%", "+", "--3", "²", "9999"])
def test_another_number_of_tasks_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected .* got"):
        parse_slots(text, 8)
