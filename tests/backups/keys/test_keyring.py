"""Keyrings: who opens a backup, who does not, what each is told, and that nobody is told a secret."""

from __future__ import annotations

import base64
import io
import json
import os
import stat
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyrage
import pytest
from blake3 import blake3

from backups.errors import BackupError, Damaged, KeyMissing, KeyRotated, KeyUnusable, WrongKey
from backups.keys import keyring as keys
from backups.keys.age import generate
from backups.keys.envelope import Envelope
from backups.keys.host_secret import HostKeys
from backups.keys.keyring import Keyring, rewrap
from backups.keys.sealing import PLAIN
from backups.keys.secret import Secret

ID = "20261123T090000Z-000007-full-sqlite-1f3a"
OTHER_ID = "20261124T090000Z-000008-full-sqlite-77c0"
PLACE = f"{ID}/pack-0000/0"


@dataclass(frozen=True)
class Holder:
    """Somebody with an identity: the file it is in, its secret text, and the recipient that all may know."""

    file: Path
    secret: str = field(repr=False)
    recipient: str


@pytest.fixture
def holders(tmp_path: Path) -> list[Holder]:
    found = []
    for number in range(3):
        text, recipient = generate()
        file = tmp_path / f"identity-{number}"
        file.write_text(text, encoding="utf-8")
        found.append(Holder(file, text.splitlines()[-1], recipient))
    return found


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return tmp_path / "state" / "host-secret"


def sealed(keyring: Keyring, backup_id: str = ID) -> tuple[bytes, Envelope]:
    sealer, envelope = keyring.new(backup_id)
    assert envelope is not None
    return sealer.seal(PLACE, b"pages"), envelope


def changed(text: str, place: int) -> str:
    content = bytearray(base64.b64decode(text))
    content[place] ^= 1
    return base64.b64encode(content).decode()


# Sealing and opening


def test_an_identity_opens_what_was_sealed_to_its_recipient_on_a_machine_that_has_nothing_else(
    holders: list[Holder], secret: Path
) -> None:
    host = Keyring(recipients=(holders[0].recipient,), host_secret=secret)
    piece, envelope = sealed(host)
    elsewhere = Keyring(identities=(holders[0].file,))
    assert elsewhere.open(envelope).open(PLACE, piece) == b"pages"
    assert elsewhere.keys_of(envelope).hash_key == host.hash_key
    assert elsewhere.keys_of(envelope).mac(b"manifest") == host.mac(b"manifest")
    assert elsewhere.prove(envelope) == ""


def test_the_host_itself_keeps_nothing_that_opens_it(holders: list[Holder], secret: Path) -> None:
    """Only the host secret is on its disk, and that opens the index, so that the next run sees what changed."""
    host = Keyring(recipients=(holders[0].recipient,), host_secret=secret)
    piece, envelope = sealed(host)
    index = host.keys_of(envelope).index_sealer(ID).seal(f"{ID}/index/0", b"hashes")
    again = Keyring(recipients=(holders[0].recipient,), host_secret=secret)
    assert again.keys_of(envelope).index_sealer(ID).open(f"{ID}/index/0", index) == b"hashes"
    assert again.hash_key == host.hash_key
    with pytest.raises(KeyMissing, match=f"sealed to {holders[0].recipient}, and no identity is given: name its file"):
        again.open(envelope)
    with pytest.raises(Damaged):
        again.keys_of(envelope).index_sealer(ID).open(PLACE, piece)


def test_any_one_recipient_opens_it_and_files_hold_several_identities(
    holders: list[Holder], secret: Path, tmp_path: Path
) -> None:
    one, two, three = holders
    piece, envelope = sealed(Keyring(recipients=(one.recipient, two.recipient), host_secret=secret))
    for holder in (one, two):
        assert Keyring(identities=(holder.file,)).open(envelope).open(PLACE, piece) == b"pages"
    bunch = tmp_path / "bunch"
    bunch.write_text(f"# the old one\n\n{three.secret}\n  # and the new one\n{two.secret}\n", encoding="utf-8")
    assert Keyring(identities=(bunch,)).open(envelope).open(PLACE, piece) == b"pages"


def test_every_backup_has_a_data_key_of_its_own(holders: list[Holder], secret: Path) -> None:
    host = Keyring((holders[0].recipient,), (holders[0].file,), secret)
    piece, first = sealed(host)
    _, second = sealed(host, OTHER_ID)
    assert first.key_id != second.key_id
    assert first.host == second.host
    with pytest.raises(Damaged):
        host.open(second).open(PLACE, piece)


def test_without_recipients_nothing_is_sealed() -> None:
    plain = Keyring.plain()
    assert plain.new(ID) == (PLAIN, None)
    assert plain.open(None) is PLAIN
    assert plain.hash_key == plain.keys_of(None).hash_key == blake3(b"gymkhana unit hash v1").digest()
    assert plain.mac(b"manifest") == ""
    assert plain.prove(None) == ""
    assert plain.keys_of(None).index_sealer(ID) is PLAIN
    assert repr(PLAIN) == "PLAIN"


def test_a_keyring_that_seals_still_opens_older_plain_backups(holders: list[Holder], secret: Path) -> None:
    host = Keyring((holders[0].recipient,), (), secret)
    assert host.open(None) is PLAIN
    assert host.keys_of(None).hash_key == Keyring.plain().hash_key != host.hash_key


def test_recipients_need_a_host_secret(holders: list[Holder]) -> None:
    with pytest.raises(KeyUnusable, match="no host secret is: name the file to keep it in"):
        Keyring(recipients=(holders[0].recipient,))


def test_a_recipient_given_twice_counts_once(holders: list[Holder], secret: Path) -> None:
    recipient = holders[0].recipient
    assert Keyring((recipient, f" {recipient} "), (), secret).recipients == (recipient,)


# What is written down


def test_plain_age_opens_the_envelope(holders: list[Holder], secret: Path) -> None:
    """The format that envelope.py writes down, read without our code."""
    host = Keyring((holders[0].recipient,), (), secret)
    _, envelope = sealed(host)
    identity = pyrage.x25519.Identity.from_str(holders[0].secret)
    inside = json.loads(pyrage.decrypt(base64.b64decode(envelope.wrapped), [identity]))
    assert sorted(inside) == ["backup", "data_key", "format", "host_secret"]
    assert (inside["format"], inside["backup"]) == (1, ID)
    assert base64.b64decode(inside["host_secret"]).hex() in secret.read_text("ascii")
    assert HostKeys(Secret(base64.b64decode(inside["host_secret"]))).hash_key == host.hash_key


def test_an_age_file_is_what_plain_age_would_write(holders: list[Holder]) -> None:
    sealed_file = io.BytesIO(pyrage.encrypt(b"x", [pyrage.x25519.Recipient.from_str(holders[0].recipient)]))
    assert sealed_file.read(21) == b"age-encryption.org/v1"


def test_an_envelope_is_the_same_after_a_trip_through_json(holders: list[Holder], secret: Path) -> None:
    piece, envelope = sealed(Keyring((holders[0].recipient,), (), secret))
    again = msgspec.json.decode(msgspec.json.encode(envelope), type=Envelope)
    assert Keyring(identities=(holders[0].file,)).open(again).open(PLACE, piece) == b"pages"


def test_a_generated_identity_is_the_file_that_age_writes() -> None:
    text, recipient = generate(lambda: datetime(2026, 11, 23, 9, tzinfo=UTC))
    created, public, identity = text.splitlines()
    assert created == "# created: 2026-11-23T09:00:00Z"
    assert public == f"# public key: {recipient}"
    assert str(pyrage.x25519.Identity.from_str(identity).to_public()) == recipient


def test_recipient_files_hold_one_to_a_line(holders: list[Holder], tmp_path: Path) -> None:
    file = tmp_path / "recipients"
    file.write_text(f"# safe\n{holders[0].recipient}\n\n{holders[1].recipient}\n", encoding="utf-8")
    assert keys.read_recipients(file) == (holders[0].recipient, holders[1].recipient)


# Missing, wrong, rotated, damaged


def test_a_wrong_key_is_told_from_a_rotated_one(holders: list[Holder], secret: Path) -> None:
    old, new, stranger = holders
    _, before = sealed(Keyring((old.recipient,), (), secret))
    _, since = sealed(Keyring((new.recipient,), (), secret), OTHER_ID)
    with pytest.raises(
        WrongKey, match=f"sealed to {old.recipient}, and the identity at hand is that of {stranger.recipient}: "
    ):
        Keyring(identities=(stranger.file,)).open(before, others=(since,))
    with pytest.raises(KeyRotated, match="keys were rotated in between, so name the file of the other identity"):
        Keyring(identities=(new.file,)).open(before, others=(since,))
    with pytest.raises(KeyRotated):
        Keyring((new.recipient,), (new.file,), secret).open(before)
    with pytest.raises(KeyRotated):
        Keyring(identities=(old.file,)).open(since, others=(before,))
    with pytest.raises(WrongKey):
        Keyring(identities=(new.file,)).open(before)


def test_proof_is_the_sentence_that_opening_would_say(holders: list[Holder], secret: Path) -> None:
    host = Keyring((holders[0].recipient,), (), secret)
    _, envelope = sealed(host)
    assert "no identity is given" in host.prove(envelope)
    assert "name the file of the right identity" in replace(host, identities=(holders[1].file,)).prove(envelope)
    assert "canary" in replace(host, identities=(holders[0].file,)).prove(
        msgspec.structs.replace(envelope, canary=changed(envelope.canary, 20))
    )


def test_every_error_of_a_key_ends_with_2_and_damage_with_1() -> None:
    assert {kind.exit_code for kind in (KeyMissing, WrongKey, KeyRotated, KeyUnusable)} == {2}
    assert Damaged.exit_code == 1
    assert not any(issubclass(kind, Damaged) for kind in (KeyMissing, WrongKey, KeyRotated, KeyUnusable))


def test_every_flipped_byte_of_an_envelope_is_damage(holders: list[Holder], secret: Path) -> None:
    """A byte of a stanza makes the file one for nobody; the recipients listed say that it was once for this identity."""
    ring = Keyring((holders[0].recipient,), (holders[0].file,), secret)
    _, envelope = sealed(ring)
    for place in range(len(base64.b64decode(envelope.wrapped))):
        with pytest.raises(Damaged, match=f"The envelope of the key {envelope.key_id}"):
            ring.open(msgspec.structs.replace(envelope, wrapped=changed(envelope.wrapped, place)))
    for place in range(len(base64.b64decode(envelope.canary))):
        with pytest.raises(Damaged, match="canary"):
            ring.open(msgspec.structs.replace(envelope, canary=changed(envelope.canary, place)))


@pytest.mark.parametrize(
    "field", [{"wrapped": "no base64!"}, {"wrapped": ""}, {"canary": ""}, {"host": "0" * 16}, {"key_id": "0" * 16}]
)
def test_a_mended_envelope_is_damage(field: dict[str, str], holders: list[Holder], secret: Path) -> None:
    ring = Keyring((holders[0].recipient,), (holders[0].file,), secret)
    _, envelope = sealed(ring)
    with pytest.raises(Damaged):
        ring.open(msgspec.structs.replace(envelope, **field))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"{}",
        b'{"format":2,"backup":"b","data_key":"","host_secret":""}',
        b'{"format":1,"backup":"b","data_key":"AAAA","host_secret":"AAAA"}',
    ],
)
def test_an_envelope_of_something_else_is_damage(content: bytes, holders: list[Holder], secret: Path) -> None:
    ring = Keyring((holders[0].recipient,), (holders[0].file,), secret)
    _, envelope = sealed(ring)
    wrapped = pyrage.encrypt(content, [pyrage.x25519.Recipient.from_str(holders[0].recipient)])
    with pytest.raises(Damaged, match="opens, and there are no keys in it"):
        ring.open(msgspec.structs.replace(envelope, wrapped=base64.b64encode(wrapped).decode()))


def test_the_envelope_of_another_backup_is_not_taken(holders: list[Holder], secret: Path) -> None:
    ring = Keyring((holders[0].recipient,), (holders[0].file,), secret)
    piece, envelope = sealed(ring)
    _, other = sealed(ring, OTHER_ID)
    with pytest.raises(Damaged, match="holds the keys of something else"):
        ring.open(msgspec.structs.replace(envelope, wrapped=other.wrapped))
    with pytest.raises(Damaged, match="is not what was sealed there"):
        ring.open(other).open(PLACE, piece)


# Rotation


def test_new_backups_follow_the_recipients_and_old_ones_stay_as_they_were(holders: list[Holder], secret: Path) -> None:
    old, new, _ = holders
    piece, before = sealed(Keyring((old.recipient,), (), secret))
    _, both = sealed(Keyring((old.recipient, new.recipient), (), secret))
    _, after = sealed(Keyring((new.recipient,), (), secret))
    with_old, with_new = Keyring(identities=(old.file,)), Keyring(identities=(new.file,))
    opens = [[ring.prove(envelope) == "" for envelope in (before, both, after)] for ring in (with_old, with_new)]
    assert opens == [[True, True, False], [False, True, True]]
    assert with_old.open(before).open(PLACE, piece) == b"pages"


def test_keys_wrapped_again_open_with_the_new_identity(holders: list[Holder], secret: Path) -> None:
    old, new, stranger = holders
    piece, envelope = sealed(Keyring((old.recipient,), (), secret))
    again = rewrap(envelope, (old.file,), (new.recipient,))
    assert (again.key_id, again.host, again.recipients) == (envelope.key_id, envelope.host, (new.recipient,))
    with_new = Keyring(identities=(new.file,))
    assert with_new.open(again).open(PLACE, piece) == b"pages"
    assert with_new.open(envelope, others=(again,)).open(PLACE, piece) == b"pages"
    assert Keyring(identities=(old.file,)).open(envelope, others=(again,)).open(PLACE, piece) == b"pages"
    with pytest.raises(WrongKey):
        Keyring(identities=(stranger.file,)).open(envelope, others=(again,))


def test_a_wrapping_beside_it_makes_good_for_a_damaged_envelope(holders: list[Holder], secret: Path) -> None:
    old, new, _ = holders
    piece, envelope = sealed(Keyring((old.recipient,), (), secret))
    again = rewrap(envelope, (old.file,), (old.recipient, new.recipient))
    damaged = msgspec.structs.replace(envelope, wrapped="")
    assert Keyring(identities=(old.file,)).open(damaged, others=(again,)).open(PLACE, piece) == b"pages"


def test_a_wrapping_of_other_keys_under_the_same_name_is_refused(holders: list[Holder], secret: Path) -> None:
    """Whoever can write to the store can wrap keys of his own; they do not become those of the backup."""
    old, new, _ = holders
    _, envelope = sealed(Keyring((old.recipient,), (), secret))
    _, forged = sealed(Keyring((new.recipient,), (), secret))
    forged = msgspec.structs.replace(forged, key_id=envelope.key_id)
    with pytest.raises(Damaged, match="holds the keys of something else"):
        Keyring(identities=(new.file,)).open(envelope, others=(forged,))


def test_only_who_opens_it_wraps_it_again_and_for_somebody(holders: list[Holder], secret: Path) -> None:
    old, new, _ = holders
    _, envelope = sealed(Keyring((old.recipient,), (), secret))
    with pytest.raises(WrongKey):
        rewrap(envelope, (new.file,), (new.recipient,))
    with pytest.raises(KeyMissing):
        rewrap(envelope, (), (new.recipient,))
    with pytest.raises(KeyUnusable, match="No recipient is given"):
        rewrap(envelope, (old.file,), ())


# The host's secret


def test_the_host_secret_is_made_once_for_its_owner_alone(holders: list[Holder], secret: Path) -> None:
    first = Keyring((holders[0].recipient,), (), secret).hash_key
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert [path.name for path in secret.parent.iterdir()] == ["host-secret"]
    assert Keyring((holders[0].recipient,), (), secret).hash_key == first


def test_the_umask_has_no_say_in_it(holders: list[Holder], secret: Path) -> None:
    before = os.umask(0)
    try:
        assert Keyring((holders[0].recipient,), (), secret).hash_key
    finally:
        os.umask(before)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_many_who_make_it_at_once_get_the_same_one(holders: list[Holder], secret: Path) -> None:
    together = threading.Barrier(8)
    found: list[bytes] = []

    def first_use() -> None:
        ring = Keyring((holders[0].recipient,), (), secret)
        together.wait()
        found.append(ring.hash_key)

    threads = [threading.Thread(target=first_use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_host_secret_that_others_may_read_is_refused(mode: int, holders: list[Holder], secret: Path) -> None:
    ring = Keyring((holders[0].recipient,), (), secret)
    assert ring.hash_key
    secret.chmod(mode)
    with pytest.raises(KeyUnusable, match=rf"mode 0{mode:o}\): run chmod 600"):
        _ = Keyring((holders[0].recipient,), (), secret).hash_key


HEAD = "gymkhana-host-secret-"


@pytest.mark.parametrize(
    "content",
    ["", f"{HEAD}1:", f"{HEAD}1:{'0' * 63}", f"{HEAD}1:{'z' * 64}", f"{HEAD}2:{'0' * 64}", "x" * 87],
)
def test_a_host_secret_that_is_none_is_never_replaced(content: str, holders: list[Holder], tmp_path: Path) -> None:
    file = tmp_path / "cut"
    file.write_text(content, encoding="ascii")
    file.chmod(0o600)
    with pytest.raises(KeyUnusable, match="cut holds no host secret: put back the file that was there"):
        _ = Keyring((holders[0].recipient,), (), file).hash_key
    assert file.read_text("ascii") == content


def test_a_host_secret_that_is_no_file_is_refused(holders: list[Holder], tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="cannot be read: Is a directory"):
        _ = Keyring((holders[0].recipient,), (), tmp_path).hash_key


def test_only_who_seals_makes_a_host_secret(holders: list[Holder], secret: Path, tmp_path: Path) -> None:
    _, envelope = sealed(Keyring((holders[0].recipient,), (), secret))
    reader = Keyring((), (holders[0].file,), tmp_path / "none")
    assert reader.keys_of(envelope).host == envelope.host
    assert not (tmp_path / "none").exists()


def test_hosts_are_told_apart_and_disown_each_others_manifests(
    holders: list[Holder], secret: Path, tmp_path: Path
) -> None:
    here = Keyring((holders[0].recipient,), (), secret)
    there = Keyring((holders[0].recipient,), (), tmp_path / "there")
    _, envelope = sealed(here)
    mac = here.mac(b"manifest")
    assert here.keys_of(envelope).authentic(b"manifest", mac)
    assert not here.keys_of(envelope).authentic(b"manifest!", mac)
    assert not here.keys_of(envelope).authentic(b"manifest", "")
    assert not HostKeys(None).authentic(b"manifest", mac)
    assert not there.keys_of(sealed(there)[1]).authentic(b"manifest", mac)
    with pytest.raises(KeyMissing):
        there.keys_of(envelope)


def test_no_two_purposes_share_a_key(holders: list[Holder], secret: Path) -> None:
    ring = Keyring((holders[0].recipient,), (), secret)
    raw = bytes.fromhex(secret.read_text("ascii").strip().split(":")[1]) if ring.hash_key else b""
    assert ring.hash_key != raw
    assert ring.mac(b"x") not in (blake3(b"x", key=ring.hash_key).hexdigest(), blake3(b"x", key=raw).hexdigest())
    own = ring.keys_of(sealed(ring)[1])
    with pytest.raises(Damaged):
        own.index_sealer(OTHER_ID).open(PLACE, own.index_sealer(ID).seal(PLACE, b"hashes"))


# Key files that are none


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (None, KeyMissing, "There is no identity file"),
        (b"", KeyMissing, "holds no identity"),
        (b"# only words\n", KeyMissing, "holds no identity"),
        (b"\xff\xfe", KeyUnusable, "Line 1 of the identity file"),
        (b"# fine\nage1qqqq\n", KeyUnusable, "Line 2 of the identity file"),
        (b"-----BEGIN AGE ENCRYPTED FILE-----\n", KeyUnusable, "itself sealed: open it first, with: age --decrypt"),
        (b"age-encryption.org/v1\n-> scrypt x 18\n", KeyUnusable, "itself sealed"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\n", KeyUnusable, "the only one known here"),
    ],
)
def test_an_identity_file_that_is_none(
    content: bytes | None, error: type[BackupError], says: str, tmp_path: Path
) -> None:
    file = tmp_path / "identity"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(error, match=says):
        keys.read_identities((file,))


def test_a_key_file_that_is_a_directory(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="cannot be read: Is a directory"):
        keys.read_identities((tmp_path,))


def test_a_secret_given_as_a_recipient_is_refused_and_not_repeated(
    holders: list[Holder], secret: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyUnusable, match="is a secret identity: give its public recipient") as refused:
        Keyring((holders[0].secret,), (), secret)
    assert holders[0].secret not in str(refused.value)
    file = tmp_path / "recipients"
    file.write_text(holders[0].secret.lower(), encoding="utf-8")
    with pytest.raises(KeyUnusable, match=r"Line 1 of the recipient file .* is a secret identity"):
        keys.read_recipients(file)


@pytest.mark.parametrize("recipient", ["", "age1", "ssh-ed25519 AAAA", "age1" + "q" * 58])
def test_a_recipient_that_is_none_is_refused(recipient: str, secret: Path) -> None:
    with pytest.raises(KeyUnusable, match=r"^The recipient given is no age recipient of the kind age1…"):
        Keyring((recipient,), (), secret)


# Secrets stay secret


def told(act: Callable[[], object]) -> str:
    """Everything an error lets out: its text, its chain, the traceback, and every local in it."""
    try:
        act()
    except BackupError as error:
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        return "".join((*shown.format(), repr(error), str(error), repr(error.__context__), repr(error.__cause__)))
    raise AssertionError("nothing was raised")


def test_no_secret_is_in_any_repr_error_or_traceback(holders: list[Holder], secret: Path, tmp_path: Path) -> None:
    """Planted: identities, the host secret, a data key. Searched for in the forms that they could be printed in."""
    mine, other, _ = holders
    ring = Keyring((mine.recipient,), (mine.file,), secret)
    _, envelope = sealed(ring)
    identity = pyrage.x25519.Identity.from_str(mine.secret)
    inside = json.loads(pyrage.decrypt(base64.b64decode(envelope.wrapped), [identity]))
    planted = [mine.secret[:40], other.secret[:40]]
    for raw in (*(base64.b64decode(inside[name]) for name in ("data_key", "host_secret")), ring.hash_key):
        planted += [raw.hex(), base64.b64encode(raw).decode(), repr(raw)[2:-1], str(list(raw))[1:-1]]
    half = tmp_path / "half"
    half.write_text(f"{mine.secret[:-1]}\n", encoding="utf-8")
    mixed = tmp_path / "mixed"
    mixed.write_bytes(other.secret.encode() + b"\n\xff\n")
    cut = tmp_path / "cut"
    cut.write_text(secret.read_text("ascii")[:-3], encoding="ascii")
    cut.chmod(0o600)

    forged = msgspec.structs.replace(envelope, host="0" * 16)
    wrong_canary = msgspec.structs.replace(envelope, canary=changed(envelope.canary, 3))
    errors = [
        lambda: Keyring(identities=(half,)).open(envelope),
        lambda: Keyring(identities=(mixed,)).open(envelope),
        lambda: Keyring(identities=(other.file,)).open(envelope),
        lambda: Keyring((mine.recipient,), (), cut).hash_key,
        lambda: ring.open(forged),
        lambda: ring.open(wrong_canary),
        lambda: ring.open(envelope).open(PLACE, b"x" * 100),
        lambda: rewrap(envelope, (mine.file,), ("age1",)),
        lambda: rewrap(forged, (mine.file,), (other.recipient,)),
    ]
    shown = [told(error) for error in errors]
    things: list[object] = [ring, envelope, ring.opened(envelope), ring.opened(envelope).keys, ring.inside(envelope)]
    things += [ring.new(ID), keys.read_identities((mine.file,)), ring.keys_of(envelope).index_sealer(ID), vars(ring)]
    shown += [f"{thing} {thing!r}" for thing in things]
    assert [word for word in planted for text in shown if word in text] == []


def test_a_secret_that_slips_is_found(tmp_path: Path) -> None:
    """The search of the test above, shown to find something: a local that holds the planted text."""

    def slip() -> None:
        planted = "AGE-SECRET-KEY-1PLANTED"
        assert planted
        raise BackupError("no")

    assert "AGE-SECRET-KEY-1PLANTED" in told(slip)
