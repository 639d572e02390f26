"""Files with secrets, in folders where colleagues may write too."""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pilotfish.batch.broker import Broker
from pilotfish.batch.dialect import AllocationRequest
from pilotfish.batch.htcondor import HTCondor
from pilotfish.manager.campaigns import write_access
from pilotfish.runtime import write_private
from pilotfish.settings import Settings
from pilotfish.transport.credentials import credentials_in
from pilotfish.transport.join import Join, write_join


def tell_how_to_join(file: Path) -> None:
    secrets = {"authority": "", "certificate": "", "secret": "the key"}
    write_join(file, Join(version="1", campaign="/c", key="k", addresses=(), settings=Settings(), **secrets))


def tell_where_the_manager_is(file: Path) -> None:
    write_access(file.parent, Path("/run/x.sock"), os.getpid(), "here")


def keep_a_book(file: Path) -> None:
    with closing(Broker(HTCondor(), file, {})) as broker:
        broker.ask(AllocationRequest(argv=("true",), name="n", folder="/", log="/log", seconds=60.0, cores=1), 0.0)


WRITERS = [
    ("join", tell_how_to_join),
    ("credentials", credentials_in),
    ("access", tell_where_the_manager_is),
    ("book.json", keep_a_book),
]


@pytest.mark.parametrize(("name", "write"), WRITERS, ids=[name for name, _ in WRITERS])
@pytest.mark.parametrize("place", [Path.touch, lambda draft: draft.symlink_to("elsewhere")], ids=["file", "link"])
def test_what_a_colleague_has_placed_before_is_not_written_to(
    name: str,
    write: Callable[[Path], object],
    place: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even by one who has guessed the name of the draft, nor under names that everybody knows."""
    monkeypatch.setattr(os, "urandom", lambda size: b"\1" * size)
    drafts = [tmp_path / f"{name}.{end}" for end in (os.getpid(), "01" * 8)] + [(tmp_path / name).with_suffix(".new")]
    for draft in drafts:
        place(draft)
    with pytest.raises(FileExistsError):
        write(tmp_path / name)
    assert not (tmp_path / "elsewhere").exists()
    assert [draft.read_bytes() for draft in drafts if draft.is_file()] in ([], [b""] * 3)


@pytest.mark.parametrize("durable", [False, True])
def test_a_private_file_replaces_the_one_before(durable: bool, tmp_path: Path) -> None:  # noqa: FBT001
    file = tmp_path / "file"
    file.write_text("before")
    file.chmod(0o666)
    write_private(file, b"now", durable=durable)
    assert file.read_bytes() == b"now"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_written_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "file" / "in it").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        write_private(tmp_path / "file", b"now")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.needs("root")
def test_credentials_that_somebody_else_has_placed_are_not_used(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    theirs = credentials_in(file)
    assert credentials_in(file) == theirs
    os.chown(file, 65534, 65534)
    ours = credentials_in(file)
    assert ours.authority != theirs.authority
    assert credentials_in(file) == ours
    assert file.stat().st_uid == os.getuid()
