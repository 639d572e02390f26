from pathlib import Path

from pilotfish.agent.scratch import Scratch


def test_it_begins_empty(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "3"
    (folder / "left" / "over").mkdir(parents=True)
    assert list(Scratch(folder).path.iterdir()) == []
    assert folder.stat().st_mode & 0o777 == 0o700


def test_it_is_emptied_of_whatever_a_task_leaves(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    scratch = Scratch(tmp_path / "scratch")
    closed = scratch.path / "a" / "b"
    closed.mkdir(parents=True)
    (closed / "file").write_text("x")
    (closed / "link").symlink_to(outside)
    closed.chmod(0o000)
    (scratch.path / "a").chmod(0o500)
    scratch.empty()
    assert list(scratch.path.iterdir()) == []
    assert outside.stat().st_mode & 0o777 == 0o755


def test_it_is_made_again_where_a_task_removed_it(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "scratch")
    scratch.path.rmdir()
    scratch.empty()
    assert scratch.path.is_dir()


def test_it_goes_without_a_trace(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "scratch")
    (scratch.path / "file").write_text("x")
    scratch.remove()
    assert not scratch.path.exists()
