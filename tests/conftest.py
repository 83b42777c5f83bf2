"""Which tests run beside each other on two workers (`make test`, `make unit`), and in which order.

A worker takes a whole group: everything that looks at one simulated night, so that the night is made once, or one file.
Groups are dealt out in the order of collection; the long ones come first, so that both workers end together.
Without workers (plain `pytest`) the order is the same.
"""

import pytest

NIGHTS = ("cluster", "night", "clean", "south", "epochs", "north")
"""Fixtures, each a night through the workflow (tests/e2e/conftest.py) or the SLURM of this machine: one group each.

A test that uses two of them belongs to the first.
"""
# Files that take half a minute and more after the nights, the longest first.
LONG = (
    "e2e/test_threads.py",
    "e2e/test_faults.py",
    "e2e/test_realsky.py",
    "jobs/test_selfcal_image.py",
    "jobs/test_transit.py",
    "jobs/test_extended.py",
    "telescope/test_beam_file.py",
    "jobs/test_bright.py",
    "drift/test_find.py",
)


def group_of(item: pytest.Item) -> str:
    """The group of a test: the night it looks at, or its file."""
    own = "/".join(item.path.parts[-2:])
    if not own.startswith("e2e/"):
        return own
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    named = [*getattr(item, "fixturenames", ()), *(value for value in parameters if isinstance(value, str))]
    return next((night for night in NIGHTS if night in named), own)


def rank(group: str) -> int:
    """Place of a group in the order."""
    first = (*NIGHTS, *LONG)
    return first.index(group) if group in first else len(first)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with its group, and put the long groups first."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
    items.sort(key=lambda item: rank(group_of(item)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Stop where a worker does not know the groups: two workers would share a night, or the machine's SLURM."""
    if hasattr(session.config, "workerinput") and getattr(session.config.option, "loadgroup", False):
        lost = [item.nodeid for item in session.items if "@" not in item.nodeid]
        if lost:
            raise pytest.UsageError(
                f"{len(lost)} tests without a group, such as {lost[0]}: see tests/conftest.py"
            )
