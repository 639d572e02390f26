from pathlib import Path

import pytest

from pilotfish.manager import campaigns


def test_a_plain_name_is_its_own_folder() -> None:
    assert campaigns.folder_of_name("sim-2026_v1.2") == "sim-2026_v1.2"


@pytest.mark.parametrize("name", ["a b", "a/b", "../up", ".hidden", "ü", "archive", "x" * 65, ""])
def test_any_other_name_becomes_one_safe_folder(name: str) -> None:
    folder = campaigns.folder_of_name(name)
    assert folder == campaigns.folder_of_name(name)
    assert folder == campaigns.folder_of_name(folder)
    assert len(folder) <= 64


def test_names_that_look_alike_stay_apart() -> None:
    assert len({campaigns.folder_of_name(name) for name in ("a b", "a-b", "a/b", "a  b")}) == 4


def test_files_of_one_name_in_two_folders_are_two_campaigns() -> None:
    here, there = (campaigns.folder_of_files([Path(folder, "jobs.yaml")]) for folder in ("/a", "/b"))
    assert here.startswith("jobs-")
    assert here != there


def test_several_files_are_one_campaign_whatever_their_order() -> None:
    one, two = Path("/a/one.yaml"), Path("/a/two.yaml")
    assert campaigns.folder_of_files([one, two]) == campaigns.folder_of_files([two, one])
    assert campaigns.folder_of_files([one, two]) != campaigns.folder_of_files([one])
    assert campaigns.folder_of_files([one, two]).startswith("one-two-")
