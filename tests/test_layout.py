"""The shape of the repository: who may import whom, what lies where, and what no file may say.

Every rule is a plain function of a path and a text, so that each can be shown to fail on a planted one. Imports are read off
the syntax tree, those inside functions and type-checking blocks included; imports by a computed name are not seen.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]

PACKAGES = {"system", "migrations", "backups", "chaos", "loadtests", "ci"}
FOLDERS = PACKAGES | {"tests", "docs"}
MAY_IMPORT = {
    "system": set[str](),
    "backups": set[str](),
    "chaos": set[str](),
    "loadtests": set[str](),
    "migrations": {"system"},
    "ci": PACKAGES,
    "tests": PACKAGES,
}
"""What of ours each folder may import beside itself. Nothing imports `ci` but its tests; nothing at all imports `tests`."""

LOCUST = {"locust", "gevent", "geventhttpclient"}
LOCUSTFILE = "loadtests/locustfile.py"
OF_LOCUST = re.compile(r"loadtests/locust(file|_\w+)\.py")
"""What runs in Locust's own process, started as the locustfile."""
OTHER_SQLITE = {"sqlite3", "_sqlite3", "aiosqlite", "apsw"}
CODE = {".py", ".md", ".html", ".css", ".js", ".groovy", ".json", ".yaml", ".toml", ".jmx", ".mako", ".svg"}
CODE_BYTES = 200_000
TEXT = CODE | {".yml", ".cfg", ".sh", ""}
IGNORED = {"var", "build", "dist", "uv.lock", "__pycache__"}
"""Made by tools, not written by people; what begins with a dot is left out as well, but for `VISIBLE`."""
VENDORED = PurePosixPath("system/openapi/swagger-ui")
"""What others wrote, kept as they published it: `published.json` beside it holds each file's hash, and a test compares."""
VISIBLE = {".ci", ".github", ".gitignore"}

# Patterns are written with a bracket around one letter, so that this file does not hold what it forbids.
UNSAID = (
    r"(?<![\w.])/(?:[w]ork|[r]oot)\b",
    r"(?<![\w.])/[h]ome/\w",
    r"/tmp/[p]lan",
    r"\b[s]hared/",
    r"\b[C]ONTRACTS\b",
    r"(?i)\b[i]ssues?[ #]+\d",
    r"(?i)\b[c]oordinator\b",
    r"(?i)\bsub-?[a]gents?\b",
    r"\b(?:[T]ODO|[F]IXME|[X]XX|[H]ACK)\b",
)
"""Paths of one machine, the papers of the work, and promises to finish later."""
EMPTY_NAMES = re.compile(r"(?:^|_)(?:[m]anager|[h]elpers?|[u]til(?:s|ities)?|[c]ommon|[m]isc)(?:_|$)")


def imports_of_ours(path: PurePosixPath, text: str) -> Iterator[str]:
    """A folder imports only the folders it may know."""
    home = path.parts[0]
    for name in _imported(text):
        package = name.split(".")[0]
        if package in FOLDERS and package != home and package not in MAY_IMPORT[home]:
            yield f"{path} imports {name}, which {home}/ must not know"


def imports_of_locust(path: PurePosixPath, text: str) -> Iterator[str]:
    """Importing locust patches the whole process, so only its own process does it."""
    for name in _imported(text):
        if name.split(".")[0] in LOCUST and not OF_LOCUST.fullmatch(str(path)):
            yield f"{path} imports {name}, which patches the whole process; only {LOCUSTFILE} may"


def imports_of_another_sqlite(path: PurePosixPath, text: str) -> Iterator[str]:
    """Two builds of SQLite in one process do not see each other's locks, and the standard library's loses data."""
    for name in _imported(text):
        if name.split(".")[0] in OTHER_SQLITE:
            yield f"{path} imports {name}; the one SQLite here is pysqlite3"


def modules_without_a_docstring(path: PurePosixPath, text: str) -> Iterator[str]:
    """Every module says in its first line what it is."""
    tree = _parsed(text)
    if tree.body and ast.get_docstring(tree) is None:
        yield f"{path} has no docstring"


def names_that_say_nothing(path: PurePosixPath, _text: str) -> Iterator[str]:
    """A file is named after its noun."""
    for part in (path.with_suffix("")).parts:
        if EMPTY_NAMES.search(part):
            yield f"{path} is named {part}, which names no idea"


def words_left_unsaid(path: PurePosixPath, text: str) -> Iterator[str]:
    """The project speaks of itself alone, and is finished where it stands."""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern in UNSAID:
            if found := re.search(pattern, line):
                yield f"{path}:{number} says {found[0]!r}"


def data_among_code(path: PurePosixPath, size_bytes: int) -> Iterator[str]:
    """Code folders hold what people wrote; everything else lives under var/."""
    if path.is_relative_to(VENDORED):
        return
    if path.suffix not in CODE:
        yield f"{path} is no code; data belongs under var/"
    elif size_bytes > CODE_BYTES:
        yield f"{path} has {size_bytes} bytes, which nobody wrote by hand"


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def _imported(text: str) -> tuple[str, ...]:
    """The full name of every module that the text imports, wherever it does."""
    return tuple(_imports(_parsed(text)))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


@cache
def files() -> tuple[Path, ...]:
    """Every file that people wrote, relative to the root."""
    return tuple(sorted(_walk(ROOT)))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        name = path.name
        if name in IGNORED or name.endswith(".egg-info") or (name.startswith(".") and name not in VISIBLE):
            continue
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path.relative_to(ROOT)


def modules() -> list[Path]:
    return [path for path in files() if path.suffix == ".py"]


Rule = Callable[[PurePosixPath, str], Iterator[str]]
RULES: tuple[Rule, ...] = (
    imports_of_ours,
    imports_of_locust,
    imports_of_another_sqlite,
    modules_without_a_docstring,
    names_that_say_nothing,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps(rule: Rule) -> None:
    found = [
        said
        for path in modules()
        for said in rule(PurePosixPath(path.as_posix()), (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert found == []


def test_no_file_says_what_is_not_of_the_project() -> None:
    found = [
        said
        for path in files()
        if path.suffix in TEXT and not path.is_relative_to(VENDORED)
        for said in words_left_unsaid(PurePosixPath(path.as_posix()), (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert found == []


def test_code_folders_hold_no_data() -> None:
    found = [
        said
        for path in files()
        if path.parts[0] in PACKAGES
        for said in data_among_code(PurePosixPath(path.as_posix()), (ROOT / path).stat().st_size)
    ]
    assert found == []


def test_the_top_level_folders_are_these() -> None:
    assert {path.parts[0] for path in files() if len(path.parts) > 1} == FOLDERS | {".ci", ".github"}


def test_no_module_lies_outside_the_folders() -> None:
    assert [path for path in modules() if path.parts[0] not in FOLDERS - {"docs"}] == []


PLANTED: list[tuple[Rule, str, str]] = [
    (imports_of_ours, "system/app.py", "from backups import catalogue"),
    (imports_of_ours, "backups/store.py", "import system.database"),
    (imports_of_ours, "chaos/fault.py", "def inject():\n    from loadtests import ledger"),
    (imports_of_ours, "loadtests/plan.py", "if TYPE_CHECKING:\n    from ci.stand import Stand"),
    (imports_of_ours, "migrations/env.py", "from backups.backup import run_backup"),
    (imports_of_ours, "ci/stand.py", "from tests.ci import sample_run"),
    (imports_of_locust, "loadtests/tools.py", "import gevent.monkey"),
    (imports_of_locust, "ci/drill.py", "from locust import events"),
    (imports_of_another_sqlite, "tests/system/test_x.py", "import sqlite3 as db"),
    (imports_of_another_sqlite, "system/database.py", "def connect():\n    from sqlite3 import connect"),
    (modules_without_a_docstring, "ci/x.py", "VALUE = 1"),
    (names_that_say_nothing, "ci/report_" + "util" + "s.py", ""),
    (names_that_say_nothing, "system/" + "common" + "/x.py", ""),
    (words_left_unsaid, "README.md", "Run it in /" + "work/main."),
    (words_left_unsaid, "docs/design.md", "as " + "issue" + " 12 asks"),
    (words_left_unsaid, "ci/x.py", "# TO" + "DO: later"),
]


@pytest.mark.parametrize(("rule", "path", "text"), PLANTED)
def test_a_planted_violation_is_found(rule: Rule, path: str, text: str) -> None:
    assert len(list(rule(PurePosixPath(path), text))) == 1


ALLOWED: list[tuple[Rule, str, str]] = [
    (imports_of_ours, "ci/stand.py", "from chaos.lease import Lease\nfrom system import supervisor"),
    (imports_of_ours, "migrations/env.py", "from system.models import metadata"),
    (imports_of_ours, "system/app.py", "from system.errors import Invalid\nfrom . import lanes"),
    (imports_of_locust, LOCUSTFILE, "from locust import task"),
    (imports_of_another_sqlite, "system/database.py", "import pysqlite3.dbapi2 as sqlite"),
    (modules_without_a_docstring, "ci/__init__.py", ""),
    (names_that_say_nothing, "backups/commonplace.py", ""),
    (words_left_unsaid, "README.md", "an issued challenge at https://example.org/workers/roots"),
]


@pytest.mark.parametrize(("rule", "path", "text"), ALLOWED)
def test_what_is_allowed_is_not_found(rule: Rule, path: str, text: str) -> None:
    assert list(rule(PurePosixPath(path), text)) == []


@pytest.mark.parametrize(
    ("path", "size_bytes"),
    [("system/gym.db", 10), ("ci/run.log", 1), ("ci/big.py", 10**6), ("system/openapi/assets/bundle.js", 10**6)],
)
def test_planted_data_is_found(path: str, size_bytes: int) -> None:
    assert len(list(data_among_code(PurePosixPath(path), size_bytes))) == 1
