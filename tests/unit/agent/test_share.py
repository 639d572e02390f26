from pilotfish.agent.share import holders_text


def test_holders_are_told_to_people() -> None:
    names = {0: "0", 1: "1", 65536: "GPU-a"}
    holders = {"pid 7 (/a)": [0, 1], "pid 8 (/b)": [65536]}
    assert holders_text(names, holders) == "0, 1 held by pid 7 (/a); GPU-a held by pid 8 (/b)"
