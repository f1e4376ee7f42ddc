"""The documentation keeps up: settings, words, links and paths are compared with the code, both ways."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, resolve

ROOT = Path(__file__).resolve().parent.parent
READERS = {"text", "required", "flag", "number", "words", "_secret"}
NAME = re.compile(r"[A-Z][A-Z0-9_]+")
# Folders where people keep their checkouts, and the hosts of package registries.
MACHINE_PATH = re.compile(r"(?<![\w.~$}/-])/(?:home|root|work|Users|mnt|srv|workspace)/\w")
REGISTRY = re.compile(
    r"pypi\.org|pythonhosted\.org|registry\.npmjs|npmjs\.(?:com|org)|crates\.io|proxy\.golang\.org|rubygems\.org"
    r"|ghcr\.io|docker\.io|quay\.io|--(?:extra-)?index-url",
    re.IGNORECASE,
)


@cache
def files() -> list[Path]:
    """List what belongs to the repository: tracked by git, or new and not ignored. Without git: what is not hidden."""
    if not (ROOT / ".git").exists():
        found = [path for path in ROOT.rglob("*") if not any(part[0] == "." for part in path.relative_to(ROOT).parts)]
    else:
        trusting = ["git", "-c", "safe.directory=*"]  # the checkout may be another account's
        command = [*trusting, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
        found = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in found if path.is_file()]


def of(suffix: str) -> list[Path]:
    return [path for path in files() if path.suffix == suffix]


PAGES = of(".md")


# Settings


def is_environ(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "environ"


def called_names(call: ast.Call) -> list[ast.expr]:
    """Return the argument that names a variable, of a call that reads one."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    owner = function.value if isinstance(function, ast.Attribute) else None
    is_reader = name in READERS and (owner is None or (isinstance(owner, ast.Name) and owner.id == "env"))
    is_look_up = name in {"get", "setdefault", "pop"} and owner is not None and is_environ(owner)
    return call.args[:1] if is_reader or is_look_up or name == "getenv" else []


def variables_read(source: str) -> set[str]:
    """Find the variables that a module reads: by env's readers, os.environ[...], .get, .setdefault, or `in`."""
    found: list[ast.expr] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            found += called_names(node)
        elif isinstance(node, ast.Subscript) and is_environ(node.value):
            found.append(node.slice)
        elif isinstance(node, ast.Compare) and any(map(is_environ, node.comparators)):
            found.append(node.left)
    texts = (node.value for node in found if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return {text for text in texts if NAME.fullmatch(text)}


def variables_of_the_project() -> set[str]:
    sources = [path for path in of(".py") if path != Path(__file__).resolve()]
    found = set[str]().union(*(variables_read(path.read_text(encoding="utf-8")) for path in sources))
    return found | set(re.findall(r"(?<!\$)\$\{([A-Z_]+)[:}]", (ROOT / "compose.yaml").read_text()))


def test_the_search_finds_every_way_of_reading_a_variable():
    source = """
import os
A = env.text("A_TEXT"), env.required("A_REQUIRED", why="x"), _secret("A_SECRET", why="x"), env.flag("A_FLAG")
B = os.environ["B_ITEM"], os.environ.get("B_GET", ""), os.getenv("B_GETENV"), "B_IN" in os.environ
environ.setdefault("NOT_THIS", 1), other.text("NOR_THIS"), os.environ.get(name), settings["NOR_THAT"]
"""
    assert variables_read(source) == {
        "A_TEXT", "A_REQUIRED", "A_SECRET", "A_FLAG", "B_ITEM", "B_GET", "B_GETENV", "B_IN",
    }  # fmt: skip


def test_every_variable_is_described_and_every_described_one_is_read():
    described = set(re.findall(r"^\| `([A-Z0-9_]+)` \|", (ROOT / "docs/settings.md").read_text(), re.MULTILINE))
    assert described == variables_of_the_project()


# Words, links, paths


def words_of_the_makefile() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_word_exists(page):
    typed = re.findall(r"(?:`|^ {4})make ((?:[A-Z]+=\S+ )*)([a-z-]+)", page.read_text(), re.MULTILINE)
    assert {word for _, word in typed} <= words_of_the_makefile()


def test_contributing_explains_every_word_of_the_makefile():
    explained = set(re.findall(r"^\| `make ([a-z-]+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    assert explained == words_of_the_makefile()


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as its readers' sites make them."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        there = (page.parent / place).resolve() if place else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_every_page_that_the_code_names_exists():
    for path in (path for path in files() if path.suffix in {".py", ".txt", ".toml", ".yaml"}):
        for named in re.findall(r"(?<![\w/.])docs/[\w/.-]+?\.md", path.read_text(encoding="utf-8")):
            assert (ROOT / named).is_file(), (path.name, named)


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        found |= routes(pattern.url_patterns, route) if isinstance(pattern, URLResolver) else {route}
    return found


def test_the_api_page_lists_every_path_and_no_other():
    listed = re.findall(r"^\| `(/[^`]*)` \|", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    samples = {"TOPIC": "orders/create", "TOKEN": "a-token", "ID": "1"}
    paths = [re.sub(r"TOPIC|TOKEN|ID", lambda found: samples[found[0]], path) for path in listed]
    resolved = {resolve(path).route for path in paths}  # raises Resolver404 for one that is not there
    assert {route for route in routes(get_resolver().url_patterns) if not route.startswith("admin/")} == {
        route for route in resolved if not route.startswith("admin/")
    }
    assert len(paths) == len(set(paths)) == len(resolved)


def test_no_file_names_a_machine_or_a_registry():
    named = []
    for path in files():
        text = path.read_bytes().decode("utf-8", "replace")
        named += [
            (path.relative_to(ROOT), found[0]) for found in (*MACHINE_PATH.finditer(text), *REGISTRY.finditer(text))
        ]
    assert named == []
