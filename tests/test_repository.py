"""The repository agrees with itself: lock and ranges, documents and commands, rules and scripts."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
NOT_OURS = {
    ".git",
    ".venv",
    ".snakemake",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    "bench",
    "comparison",
    "demo",
    "incoming",
    "products",
}


def tracked_files() -> list[Path]:
    """Files under version control or about to be; in a copy without git, all files that no tool made."""
    git = [
        "git",
        "-c",
        "safe.directory=*",
        "-C",
        str(ROOT),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    try:
        listed = subprocess.run(git, capture_output=True, check=True, text=True).stdout.split("\0")
        files = [ROOT / name for name in listed if name]
    except (FileNotFoundError, subprocess.CalledProcessError):
        files = [p for p in ROOT.rglob("*") if not NOT_OURS & set(p.relative_to(ROOT).parts)]
    return [path for path in files if path.is_file() and not path.is_symlink()]


def read_text(path: Path) -> str | None:
    """Text of a file; None for a binary one."""
    content = path.read_bytes()
    return None if b"\0" in content else content.decode()


def documents() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def lock_entries() -> list[tuple[Requirement, list[str]]]:
    """The lock's requirements, each with its hashes."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    entries = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            requirement, *hashes = re.split(r"\s+--hash=", line.strip())
            entries.append((Requirement(requirement), hashes))
    return entries


def locked_version(name: str, python: str) -> Version | None:
    """The version that the lock installs with a Python; None if it installs none."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    versions = [
        Version(str(requirement.specifier).removeprefix("=="))
        for requirement, _ in lock_entries()
        if canonicalize_name(requirement.name) == canonicalize_name(name)
        and (requirement.marker is None or requirement.marker.evaluate(environment))
    ]
    assert len(versions) <= 1, f"{name} is locked twice for Python {python}: {versions}"
    return versions[0] if versions else None


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_holds_every_dependency_in_its_range(python):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    wanted = [requirement for requirement in map(Requirement, lines) if requirement.name != project["name"]]
    outside = []
    for requirement in wanted:
        if requirement.marker is None or requirement.marker.evaluate({"python_version": python}):
            version = locked_version(requirement.name, python)
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                outside.append(f"{requirement}: locked {version}")
    assert not outside, f"run `make lock`: {outside}"


def test_the_lock_pins_exactly_with_hashes_and_names_no_place():
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"://|^\s*-(?!-hash=)| @ |file:", text, flags=re.MULTILINE)
    entries = lock_entries()
    assert len(entries) > 100  # Snakemake alone brings half of that: fewer means that the lock was not parsed
    for requirement, hashes in entries:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), requirement


def test_conda_environments_and_the_lock_agree():
    different = []
    for path in sorted((ROOT / "envs").glob("*.yaml")):
        for name, version in re.findall(
            r"^\s*-\s*([A-Za-z0-9_.-]+)\s*==?\s*([0-9][^\s*]*)$", path.read_text(), re.MULTILINE
        ):
            locked = locked_version(name, "3.11")
            if locked is not None and Version(version) != locked:
                different.append(f"{path.name}: {name} {version}, locked {locked}")
    assert not different


def test_no_tracked_file_knows_a_machine_or_a_registry():
    # Written so that this file does not match itself.
    forbidden = re.compile(
        r"(?<![\w.])/(?:[w]ork|[r]oot|[h]ome)/\w|/[t]mp/v\b|[p]ypi\.org|[p]ythonhosted|[a]naconda\.org|--(?:extra-)?[i]ndex-url|--[f]ind-links"
    )
    found = []
    for path in tracked_files():
        for number, line in enumerate((read_text(path) or "").splitlines(), start=1):
            if forbidden.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found, "\n".join(found)


def test_every_make_command_in_the_documents_is_a_target():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {
        (path.name, target)
        for path in documents()
        for target in re.findall(
            r"(?:`|^)(?:[A-Z]+=\S+ )?make ([a-z]+)", path.read_text(), flags=re.MULTILINE
        )
    }
    assert ("README.md", "demo") in named
    assert {target for _, target in named} <= targets, sorted(named)


def test_make_alone_lists_every_target():
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert phony is not None
    listed = subprocess.run(
        ["make", "--no-print-directory", "-C", ROOT], capture_output=True, check=True, text=True
    ).stdout
    assert set(re.findall(r"make ([a-z]+)", listed)) == set(phony[1].split())


def test_every_contimg_command_in_the_documents_exists(capsys):
    from contimg.cli.main import main

    named = {
        command
        for path in documents()
        for command in re.findall(r"(?:`|^|bin/)contimg ([a-z][a-z-]*)", path.read_text(), flags=re.MULTILINE)
    }
    assert "simulate" in named
    for command in sorted(named):
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code == 0, f"contimg {command}: {capsys.readouterr().err}"


def typed(page: str) -> list[list[str]]:
    """Commands that a reader types: lines of code blocks, and those that begin a line of their own in code quotes."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"^```\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"^`([^`]+)`", text, flags=re.MULTILINE)
    words = [
        shlex.split(line, comments=True) for line in lines if line.startswith(("contimg ", "snakemake "))
    ]
    return [found for found in words if "…" not in " ".join(found)]


@pytest.mark.parametrize(
    "page", ["README.md", "docs/first_hour.md", "docs/cookbook.md", "docs/registry.md", "docs/run.md"]
)
def test_what_a_reader_types_is_taken_as_it_stands(page):
    """Options and arguments of contimg; of snakemake the targets, and keys and values of --config."""
    from contimg.cli.main import _parser
    from contimg.config.files import merge_pairs
    from contimg.config.load import load
    from contimg.core.names import product_of
    from contimg.plan.graph import TARGETS

    commands = typed(page)
    assert commands
    for program, *words in commands:
        if program == "contimg":
            _parser(words[0]).parse_args(words)  # exits with 2 at what it does not know
            continue
        given: dict[str, list[str]] = {"": []}
        for word in words:
            if word.startswith("-"):
                given[option := word] = []
            else:
                given[option if len(given) > 1 else ""].append(word)
        assert set(given) <= {"", "-n", "--cores", "--config", "--configfile", "--profile", "--resources"}, (
            words
        )
        load(
            merge_pairs({}, given.get("--config", []), option="--config", example="end=2025-10-31"),
            check=False,
        )
        several = given[""] + given.get("-n", []) + given.get("--cores", [])[1:]
        for target in several:
            assert target in TARGETS or product_of(target), f"{page}: {target}"


def test_the_settings_that_the_demo_writes_are_those_of_a_run(tmp_path):
    import yaml

    from contimg.config.load import load

    script = (ROOT / "tools" / "demo.sh").read_text()
    (written,) = re.findall(
        r'> "\$demo/night.yaml" <<END\n(.*?)^END$', script, flags=re.MULTILINE | re.DOTALL
    )
    config = load(yaml.safe_load(written.replace("$demo", str(tmp_path))), check=False)
    assert (config.incoming, config.products) == (tmp_path / "incoming", tmp_path / "products")
    assert config.catalog == tmp_path / "incoming" / "sources.csv"
    assert script.count("snakemake --cores") == script.count('--configfile "$demo/night.yaml"') == 1


def test_links_between_documents_lead_somewhere():
    broken = [
        f"{path.relative_to(ROOT)} -> {target}"
        for path in documents()
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text())
        if not (path.parent / target).exists()
    ]
    assert not broken


def test_the_index_of_the_documentation_names_every_page():
    index = (ROOT / "docs" / "README.md").read_text()
    found = (path for end in ("md", "ipynb") for path in (ROOT / "docs").rglob(f"*.{end}"))
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in found]
    missing = [page for page in pages if page != "README.md" and f"({page})" not in index]
    assert not missing


def test_every_rule_script_has_a_rule_of_its_name():
    rules = "\n".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    called = set(re.findall(r'"\.\./scripts/(\w+)\.py"', rules))
    present = {path.stem for path in (ROOT / "scripts").glob("*.py")} - {"casasiteconfig"}
    assert called == present
    assert present <= set(re.findall(r"^rule (\w+):", rules, flags=re.MULTILINE))
    assert len(present) >= 4  # convert, calibrate, image, mosaic


def test_shell_scripts_are_executable_and_parse():
    scripts = [*sorted((ROOT / "tools").glob("*.sh")), ROOT / ".ci" / "run"]
    assert len(scripts) > 5
    for path in scripts:
        assert path.stat().st_mode & 0o111, f"{path} is not executable"
        subprocess.run(["bash", "-n", path], check=True)


def test_the_changelog_speaks_of_the_present_version():
    from contimg import __version__

    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert headings
    assert headings[0] == "Unreleased" or headings[0].startswith(__version__)


def test_every_working_rule_starts_again_as_a_cluster_needs_it():
    # Where a rule says another number, its cluster job tries again inside its allocation, with the old memory.
    told = {
        value
        for path in (ROOT / "rules").glob("*.smk")
        for value in re.findall(r"^    retries: (.*)$", path.read_text(), flags=re.MULTILINE)
    }
    assert told == {"RESTARTS"}


LIBRARY = ROOT / "scripts" / "contimg"
STAGES = (
    "publish",
    "variability",
    "photometry",
    "mosaic",
    "qa",
    "beam",
    "firstlight",
    "calibrate",
    "convert",
    "image",
)
HEAVY = ("casacore", "casatasks", "casatools", "numba", "matplotlib", "scipy")
LIGHT = ("contimg.cli.main", "contimg.night.night", "contimg.config.load")
MOST_LINES = 460
"""Of a module: beyond, it does two things. Kernels of one equation are the longest."""
MOST_LINES_OF_A_DOCSTRING = 14
"""Of a module: what it is, its equation, shapes, units, frames, signs, source. How and why are in docs/."""
MOST_LINES_OF_A_FUNCTION = 72
"""Below its docstring."""
WRITERS_OF_CALTABLES = ("bandpass", "channels", "depart", "solve")


def packages() -> list[str]:
    return sorted(path.parent.name for path in LIBRARY.glob("*/__init__.py"))


def test_the_map_of_contributing_is_the_tree_on_disk():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = text[text.index("<!-- floors") : text.index("<!-- /floors -->")]
    rows = [line.split("|")[2] for line in table.splitlines() if line.startswith("| ")][1:]
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == packages()


def test_a_rules_script_takes_its_job_from_its_stage():
    for path in sorted((ROOT / "scripts").glob("*_*.py")):
        jobs = re.findall(
            r"^from contimg\.(\w+)\.(?:\w*job|build|page|facts)\b", path.read_text(), flags=re.MULTILINE
        )
        assert jobs or "contimg.registry" in path.read_text(), path.name


def test_no_module_does_two_things():
    long = [
        f"{path.relative_to(LIBRARY)}: {n}"
        for path in sorted(LIBRARY.rglob("*.py"))
        if (n := len(path.read_text().splitlines())) > MOST_LINES
    ]
    assert long == []


def test_how_and_why_of_a_module_are_in_its_packages_page():
    """A docstring has no room for it; every page that one names is there."""
    long, gone = [], []
    for path in sorted(LIBRARY.rglob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        if (n := len(text.splitlines())) > MOST_LINES_OF_A_DOCSTRING:
            long.append(f"{path.relative_to(LIBRARY)}: {n}")
        for page, heading in re.findall(r'docs/([\w/]+\.md)(?:, "([^"]+)")?', " ".join(text.split())):
            there = ROOT / "docs" / page
            if not there.is_file() or (heading and f"# {heading}\n" not in there.read_text()):
                gone.append(f"{path.relative_to(LIBRARY)}: {page}, {heading}")
    assert long == []
    assert gone == []


def test_no_function_does_two_things():
    """A docstring may be as long as it needs to be; what is below it fits on a page."""
    long = []
    for path in sorted([*(ROOT / "scripts").rglob("*.py"), *(ROOT / "tools").glob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                n = (node.end_lineno or 0) - first.lineno + 1
                if n > MOST_LINES_OF_A_FUNCTION:
                    long.append(f"{path.relative_to(ROOT)}: {node.name}, {n}")
    assert long == []


def test_only_private_sets_and_caltables_are_opened_for_writing():
    """No job changes its input: nothing but `PrivateSet` changes the data of a Measurement Set that is written."""
    own = {"ms/private.py", "ms/subtables.py", *(f"calibrate/{name}.py" for name in WRITERS_OF_CALTABLES)}
    writing = {
        str(path.relative_to(LIBRARY))
        for path in LIBRARY.rglob("*.py")
        if "readonly=False" in path.read_text()
    }
    assert writing == own


def test_constants_have_one_place():
    digits = re.compile(r"299_?792_?458|\b1\.4826|\b86_?400\.0|\b2_?400_?000\.5|\b40587|\b1\.0027")
    mine = LIBRARY / "core" / "constants.py"
    found = [
        f"{path.relative_to(LIBRARY)}: {line.strip()}"
        for path in sorted(LIBRARY.rglob("*.py"))
        if path != mine and "simulate" not in path.parts  # it shares nothing with what it tests
        for line in path.read_text().splitlines()
        if digits.search(line.split("#")[0]) and "MAD" not in line and "median of" not in line
    ]
    assert found == []


def test_modules_named_in_documents_are_there():
    names = {path.name for path in tracked_files() if path.suffix == ".py"}
    gone = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in documents()
        for name in re.findall(r"`(?:[\w/]*/)?(\w+\.py)`", path.read_text())
        if name not in names and path.name != "CHANGELOG.md"
    ]
    assert gone == []


@pytest.mark.parametrize("module", LIGHT)
def test_what_every_run_imports_is_light(module):
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        check=True,
        text=True,
    )
    assert said.stdout.split() == []


def test_every_package_has_a_page_and_a_folder_of_tests():
    aside = {"api", "client"}  # docs/service.md is theirs too
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} | aside
    tests = {path.name for path in (ROOT / "tests" / "unit").iterdir()}
    assert [name for name in packages() if name not in pages] == []
    assert [name for name in packages() if name not in tests] == []


def test_every_stage_has_its_options_and_its_job():
    there = [stage for stage in STAGES if stage in packages()]
    without = {"publish": {"options.py"}, "beam": {"options.py"}}  # what they do is not configured
    missing = [
        f"{stage}/{name}"
        for stage in there
        for name in ("options.py", "job.py")
        if not (LIBRARY / stage / name).is_file() and name not in without.get(stage, set())
    ]
    assert missing == []
