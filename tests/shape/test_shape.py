"""The laws of shape, kept by machine: each law is a small function over one source that yields its complaints.

Every law stands beside a sample that breaks it, so that a law that sees nothing is itself seen.
"""

import ast
import gc
import io
import re
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path

import pytest

import pilotfish

pytestmark = pytest.mark.xdist_group("shape")  # all is read once

ROOT = Path(__file__).parents[2]
LIMITS = ROOT / "docs" / "limits.md"
FACADE = "src/pilotfish/__init__.py"

FILE_LINES = 400
BODY_LINES = 50
POSITIONAL = 6
COMMAND = {"configure", "run"}
VAGUE = {"common", "helper", "helpers", "misc", "util", "utils"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
_LAYOUT = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}


class Source:
    """One module: its path from the project's root, its text, and what the laws ask of it."""

    def __init__(self, path: str, text: str) -> None:
        self.path, self.text = path, text
        self.tree = ast.parse(text)

    @property
    def is_package(self) -> bool:
        """True for the door of a package below ``pilotfish``."""
        return self.path.endswith("/__init__.py") and self.path.count("/") > 2

    @property
    def tokens(self) -> Iterator[tokenize.TokenInfo]:
        """Not kept: there are millions."""
        return tokenize.generate_tokens(io.StringIO(self.text).readline)

    @cached_property
    def comments(self) -> list[tokenize.TokenInfo]:
        return [token for token in self.tokens if token.type == tokenize.COMMENT] if "#" in self.text else []

    @cached_property
    def code_lines(self) -> set[int]:
        """Numbers of the lines that hold code: no blanks, comments, docstrings."""
        lines = {
            line
            for token in self.tokens
            if token.type not in _LAYOUT
            for line in range(token.start[0], token.end[0] + 1)
        }
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Expr) and is_docstring(node):
                lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        return lines

    @cached_property
    def functions(self) -> list[Function]:
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    @cached_property
    def exported(self) -> list[str]:
        """What ``__all__`` lists."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                return [str(name) for name in ast.literal_eval(node.value)]
        return []

    @cached_property
    def public(self) -> dict[str, bool]:
        """Public names that this module defines at its top, and whether each is documented."""
        found = {}
        for node, following in zip(self.tree.body, [*self.tree.body[1:], ast.Pass()], strict=True):
            for name in defined_names(node):
                if not name.startswith("_") and name != "TYPE_CHECKING":  # it speaks to type checkers
                    own = ast.get_docstring(node) if isinstance(node, Function | ast.ClassDef) else None
                    found[name] = bool(own) or is_docstring(following)
        return found


def is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def defined_names(node: ast.stmt) -> list[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def reading_order(name: str) -> tuple[int, str]:
    """The order of ``__all__``: CONSTANTS, Classes, functions; as the linter sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def file_is_short(source: Source) -> Iterator[str]:
    if len(source.code_lines) > FILE_LINES:
        yield f"{len(source.code_lines)} code lines, at most {FILE_LINES}"


def bodies_are_short(source: Source) -> Iterator[str]:
    for function in source.functions:
        lines = range(function.body[0].lineno, (function.end_lineno or 0) + 1)
        if (size := len(source.code_lines.intersection(lines))) > BODY_LINES:
            yield f"{function.name}: a body of {size} code lines, at most {BODY_LINES}"


def parameters_are_few(source: Source) -> Iterator[str]:
    for function in source.functions:
        names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        if (count := len([name for name in names if name not in {"self", "cls"}])) > POSITIONAL:
            yield f"{function.name}: {count} positional parameters, at most {POSITIONAL}"


def name_tells_a_purpose(source: Source) -> Iterator[str]:
    for part in Path(source.path).with_suffix("").parts:
        if part in VAGUE:
            yield f"{part!r} says nothing about what is inside"


def opens_with_its_purpose(source: Source) -> Iterator[str]:
    text = ast.get_docstring(source.tree)
    if not text:
        yield "does not open with a docstring"
    elif source.is_package and "must not" not in text:
        yield "the package does not say what must not be in it"


def all_is_complete_and_sorted(source: Source) -> Iterator[str]:
    if missing := set(source.public) - set(source.exported):
        yield f"public, but not in __all__: {sorted(missing)}"
    if source.exported != sorted(source.exported, key=reading_order):
        yield "__all__ is not sorted"


def public_names_are_documented(source: Source) -> Iterator[str]:
    for name, documented in source.public.items():
        if not documented:
            yield f"{name} has no docstring"


def promises_are_written_down(source: Source) -> Iterator[str]:
    for token in source.comments:
        mark = re.search(r"\b(TODO|FIXME|XXX)\b[\s:]*(.*)", token.string)
        if mark and (not mark[2] or mark[2] not in LIMITS.read_text()):
            yield f"line {token.start[0]}: not in docs/limits.md: {token.string}"


EVERYWHERE = [file_is_short, bodies_are_short, parameters_are_few, name_tells_a_purpose, promises_are_written_down]
IN_SOURCE = [opens_with_its_purpose, all_is_complete_and_sorted, public_names_are_documented]


def exported_twice(sources: list[Source]) -> list[str]:
    """Names that two modules export, but for what every command offers to the table of commands."""
    counts = Counter(
        name
        for source in sources
        for name in source.exported
        if not (name in COMMAND and source.path.startswith("src/pilotfish/cli/"))
    )
    return sorted(name for name, count in counts.items() if count > 1)


@pytest.fixture(scope="module", autouse=True)
def _spared_collector() -> Iterator[None]:
    """Millions of nodes live while the laws look at them; to go through these again and again takes a minute."""
    gc.disable()
    yield
    sources_under.cache_clear()
    gc.enable()


@cache
def sources_under(*folders: str) -> list[Source]:
    return [
        Source(path.relative_to(ROOT).as_posix(), path.read_text())
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]


@pytest.mark.parametrize("law", EVERYWHERE)
def test_law_holds_everywhere(law: Callable[[Source], Iterator[str]]) -> None:
    sources = sources_under("src", "tests", "benchmarks", "examples")
    assert [f"{source.path}: {complaint}" for source in sources for complaint in law(source)] == []


@pytest.mark.parametrize("law", IN_SOURCE)
def test_law_holds_in_the_package(law: Callable[[Source], Iterator[str]]) -> None:
    sources = sources_under("src")
    assert [f"{source.path}: {complaint}" for source in sources for complaint in law(source)] == []


def test_each_name_is_exported_by_one_module() -> None:
    assert exported_twice([source for source in sources_under("src") if source.path != FACADE]) == []


def test_the_package_itself_exports_what_some_module_does() -> None:
    homes = pilotfish._HOMES  # noqa: SLF001 - where its names come from
    assert set(pilotfish.__all__) == {*homes, "__version__"}
    for name, home in homes.items():
        module, _, other = home.partition(":")
        assert (other or name) in import_module(f"pilotfish.{module}").__all__


MODULE = "src/pilotfish/model/sample.py"
BROKEN = {
    "a long file": (file_is_short, MODULE, "x = 1\n" * (FILE_LINES + 1)),
    "a long body": (bodies_are_short, MODULE, "def f():\n" + "    x = 1\n" * (BODY_LINES + 1)),
    "a long method": (bodies_are_short, MODULE, "class A:\n  def f(self):\n" + "    x = 1\n" * (BODY_LINES + 1)),
    "a long string": (file_is_short, MODULE, 'x = """' + "\n" * FILE_LINES + '"""\n'),
    "seven parameters": (parameters_are_few, MODULE, "def f(a, b, c, d, /, e, f, g): ..."),
    "a vague module": (name_tells_a_purpose, "src/pilotfish/utils.py", ""),
    "a vague folder": (name_tells_a_purpose, "src/pilotfish/common/jobs.py", ""),
    "no docstring": (opens_with_its_purpose, MODULE, "x = 1"),
    "a package without bounds": (opens_with_its_purpose, "src/pilotfish/model/__init__.py", '"""All sorts."""'),
    "no __all__": (all_is_complete_and_sorted, MODULE, "def f(): ..."),
    "a name left out": (all_is_complete_and_sorted, MODULE, '__all__ = ["A"]\nclass A: ...\nB: int = 1'),
    "an unsorted __all__": (all_is_complete_and_sorted, MODULE, '__all__ = ["f", "A"]\ndef f(): ...\nclass A: ...'),
    "a function without docstring": (public_names_are_documented, MODULE, "def f(): ..."),
    "a constant without docstring": (public_names_are_documented, MODULE, "LIMIT = 1\nOTHER = 2\n"),
    "a promise": (promises_are_written_down, MODULE, "x = 1  # TODO: this stands in no list of limits"),
    "an empty promise": (promises_are_written_down, MODULE, "# FIXME"),
}
SOUND = {
    "comments and blanks": (file_is_short, MODULE, "# why\n\n" * FILE_LINES),
    "docstrings": (bodies_are_short, MODULE, 'def f():\n    """A.' + "\n" * BODY_LINES + '    """\n    return 1'),
    "the object itself": (parameters_are_few, MODULE, "class A:\n  def f(self, a, b, c, d, e, f): ..."),
    "keyword-only": (parameters_are_few, MODULE, "def f(*, a, b, c, d, e, f, g): ..."),
    "a documented constant": (public_names_are_documented, MODULE, 'LIMIT = 1\n"""Bytes."""'),
    "private names": (all_is_complete_and_sorted, MODULE, "_x = 1\ndef _f(): ..."),
    "the word in a string": (promises_are_written_down, MODULE, 'x = "TODO"'),
}


@pytest.mark.parametrize(("law", "path", "text"), BROKEN.values(), ids=BROKEN.keys())
def test_law_sees_a_breach(law: Callable[[Source], Iterator[str]], path: str, text: str) -> None:
    assert list(law(Source(path, text)))


@pytest.mark.parametrize(("law", "path", "text"), SOUND.values(), ids=SOUND.keys())
def test_law_leaves_the_sound_alone(law: Callable[[Source], Iterator[str]], path: str, text: str) -> None:
    assert list(law(Source(path, text))) == []


def test_a_name_exported_twice_is_seen() -> None:
    twice = [Source(f"src/pilotfish/{name}.py", '__all__ = ["A"]\nclass A: ...') for name in ("one", "two")]
    assert exported_twice(twice) == ["A"]


def test_every_command_may_offer_the_same() -> None:
    text = '__all__ = ["run"]\ndef run(): ...'
    assert exported_twice([Source(f"src/pilotfish/cli/{name}.py", text) for name in ("tasks", "show")]) == []
    assert exported_twice([Source(f"src/pilotfish/ui/{name}.py", text) for name in ("tasks", "show")]) == ["run"]
