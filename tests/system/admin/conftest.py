"""A platform whose admin part has an account of each role, behind a proxy that says where requests come from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.system.admin.visitors import account
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
            _stamped(front)
            yield front
        gym.close()
        return
    with Front(directory, f"sqlite:///{directory / 'gym.db'}", trusted_proxies="127.0.0.1") as front:
        _stamped(front)
        yield front


def _stamped(front: Front) -> None:
    """The console looks at the schema's revision, which a database made by the models alone does not have."""
    from sqlalchemy import text

    from system.database import SCHEMA_REVISION, engine_for

    engine = engine_for(front.config.database_url, writer=True, pooled=False)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text(f"INSERT INTO alembic_version VALUES ('{SCHEMA_REVISION}')"))
    account(front, "admin")
