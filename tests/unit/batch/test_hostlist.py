import pytest

from pilotfish.batch.hostlist import expand_hosts
from pilotfish.errors import UserError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", "n1"),
        ("n1,gpu2", "n1 gpu2"),
        ("n[1-3]", "n1 n2 n3"),
        ("n[01-03,7],gpu2", "n01 n02 n03 n7 gpu2"),
        ("n[008-011]", "n008 n009 n010 n011"),
        ("n[9-11]-ib", "n9-ib n10-ib n11-ib"),
        ("r[1-2]n[1-2]", "r1n1 r1n2 r2n1 r2n2"),
        ("c-[3]", "c-3"),
        ("host.example.org", "host.example.org"),
    ],
)
def test_a_list_is_spelled_out(text: str, names: str) -> None:
    assert expand_hosts(text) == tuple(names.split())


@pytest.mark.parametrize("text", ["", ",", "n[1-", "n1]", "n[3-1]", "n[]", "n[a-b]", "n1,,n2", "n[1-99999999999]"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="expected a list of hosts"):
        expand_hosts(text)
