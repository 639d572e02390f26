import os
from pathlib import Path

import pytest

from pilotfish.errors import UserError
from pilotfish.manager import campaigns


def make(store: Path, name: str, seconds: int) -> Path:
    folder = store / name
    folder.mkdir(parents=True)
    (folder / "store.sqlite").touch()
    os.utime(folder / "store.sqlite", (seconds, seconds))
    return folder


def test_the_nearest_store_upward_is_found(tmp_path: Path) -> None:
    (tmp_path / ".pilotfish").mkdir()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert campaigns.find_store(deep) == tmp_path / ".pilotfish"
    (tmp_path / "a" / ".pilotfish").mkdir()
    assert campaigns.find_store(deep) == tmp_path / "a" / ".pilotfish"


def test_the_campaign_that_ran_last_comes_first(tmp_path: Path) -> None:
    old, new = make(tmp_path, "old", 1_000), make(tmp_path, "new", 2_000)
    make(tmp_path, "archive", 3_000)
    (tmp_path / "stray").mkdir()
    assert campaigns.campaigns(tmp_path) == [new, old]
    assert campaigns.choose(tmp_path) == new


def test_a_campaign_is_chosen_by_its_name_or_its_folder(tmp_path: Path) -> None:
    odd = make(tmp_path, campaigns.folder_of_name("a b"), 1_000)
    make(tmp_path, "new", 2_000)
    assert campaigns.choose(tmp_path, "a b") == odd
    assert campaigns.choose(tmp_path, odd.name) == odd


def test_an_unknown_campaign_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    make(tmp_path, "one", 1_000)
    with pytest.raises(UserError, match=r"no campaign `two` .* there are: one$"):
        campaigns.choose(tmp_path, "two")


def test_a_store_in_which_nothing_ran_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing has run"):
        campaigns.choose(tmp_path / "missing")


def test_archiving_twice_in_a_second_keeps_both(tmp_path: Path) -> None:
    kept = []
    for content in ("first", "second"):
        folder = make(tmp_path, "sim", 1_000)
        (folder / "what").write_text(content)
        target = campaigns.archive(folder)
        assert target is not None
        kept.append(target)
    assert [(folder / "what").read_text() for folder in kept] == ["first", "second"]
    assert campaigns.campaigns(tmp_path) == []


def test_archiving_what_does_not_exist_is_nothing(tmp_path: Path) -> None:
    assert campaigns.archive(tmp_path / "sim") is None


def test_access_is_told_to_the_user_alone_and_taken_back(tmp_path: Path) -> None:
    assert campaigns.read_access(tmp_path) is None
    campaigns.write_access(tmp_path, Path("/run/x.sock"), 17, "here")
    assert campaigns.read_access(tmp_path) == campaigns.Access("/run/x.sock", 17, "here")
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]
    campaigns.remove_access(tmp_path)
    campaigns.remove_access(tmp_path)
    assert campaigns.read_access(tmp_path) is None


def test_a_damaged_access_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "access").write_text("{")
    assert campaigns.read_access(tmp_path) is None
