"""A platform whose admin part has an account of each role, behind a proxy that says where requests come from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.system.admin.browsing import ARGUMENTS, CHROMIUM
from tests.system.admin.visitors import account, stamp
from tests.system.conftest import ENGINES
from tests.system.front import Front
from tests.system.gym import PostgresGym

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module", params=ENGINES)
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """Shared by the tests of a module. Requests come from 127.0.0.1, whose word on addresses is taken."""
    directory = tmp_path_factory.mktemp("house")
    if request.param == "postgres":
        gym = PostgresGym(request.getfixturevalue("postgres_templates"), f"house_{next(_NUMBERS)}", "empty")
        with Front(directory, gym.url, trusted_proxies="127.0.0.1") as front:
            _opened(front)
            yield front
        gym.close()
        return
    with Front(directory, f"sqlite:///{directory / 'gym.db'}", trusted_proxies="127.0.0.1") as front:
        _opened(front)
        yield front


def _opened(front: Front) -> None:
    stamp(front)
    account(front, "admin")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
