"""The format of a text without a telling name."""

import pytest

from pilotfish.formats.document import Format, guess_format


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Format.lines),
        ("# comment\n\nname: x\n", Format.yaml),
        ("jobs:\n  - command: a\n", Format.yaml),
        ('"jobs": []', Format.yaml),
        ("---\njobs: []", Format.yaml),
        ("%YAML 1.2\n---\njobs: []", Format.yaml),
        ("{name: a, jobs: []}", Format.yaml),
        ("- command: a\n", Format.yaml),
        ("job:\n", Format.yaml),
        ('{"name": "a"}', Format.json),
        ('{\n  "jobs": []\n}', Format.json),
        ("{}", Format.json),
        ('# comment\n  # more\nname = "a"\n', Format.toml),
        ("[[jobs]]\n", Format.toml),
        ('name="a"\n', Format.toml),
        ("echo hello\n", Format.lines),
        ("echo : \n", Format.lines),
        ("X=1 ./run\n", Format.lines),
        ("[ -f a ] && ./run\n", Format.lines),
        ("[[ -f a ]] && ./run\n", Format.lines),
        ("{ echo a; }\n", Format.lines),
        (": > a\n", Format.lines),
        ("./a: b\n", Format.lines),
    ],
)
def test_guess(text: str, expected: Format) -> None:
    assert guess_format(text) is expected
