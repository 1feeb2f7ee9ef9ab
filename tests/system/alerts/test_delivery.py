"""Notices on their way to real receivers: taken, refused, tried again, given up; and what nobody may see."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator

import pytest
import structlog

from ci.loopback import HOST, free_ports
from system.alerts import delivery, trial
from system.alerts import rules as rules_of
from system.alerts.delivery import Delivery, pause_s
from system.alerts.notices import Notice, Shown
from system.alerts.receivers import Receiver, ReceiverRefused, receivers
from system.alerts.states import Course
from system.metrics import ALERT_SENDS
from tests.system.alerts.receiving import Hook, Mailbox, hook, mailbox

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:aiosmtpd")

RULES = {rule.name: rule for rule in rules_of.read()}
PAUSE_S = 0.01


@pytest.fixture
def web() -> Iterator[Hook]:
    with hook() as there:
        yield there


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as there:
        yield there


def notice(*names: str, over: bool = False) -> Notice:
    alerts = tuple(Shown(RULES[name], Course(name, "firing", 1.0, 2.0, 3.0, 0.5), "firing") for name in names)
    return Notice("warning", () if over else alerts, alerts if over else ())


def counted(receiver: str, outcome: str) -> float:
    return float(ALERT_SENDS.labels(receiver, outcome)._value.get())


def deliver(
    to: tuple[Receiver, ...], story: Callable[[Delivery], Awaitable[None]], first_pause_s: float = PAUSE_S
) -> list[Notice]:
    """What was taken while the story was told and until it ended."""
    taken: list[Notice] = []

    async def run() -> None:
        way = Delivery(to, lambda _, notice: taken.append(notice), first_pause_s, random.Random(1))
        running = asyncio.create_task(way.run())
        async with asyncio.timeout(20):
            await story(way)
        running.cancel()

    asyncio.run(run())
    return taken


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def webhook(there: Hook) -> tuple[Receiver, ...]:
    return receivers(there.url, "", "http://gym")


def test_a_webhook_and_a_mailbox_get_it(web: Hook, box: Mailbox) -> None:
    both = receivers(web.url, box.url, "http://gym")
    told = notice("Memory", "DiskFilling")

    async def story(way: Delivery) -> None:
        for one in both:
            way.offer(one.name, "warning", told)
        await until(lambda: bool(web.bodies and box.mails))

    deliver(both, story)
    assert web.told() == [("firing", ["DiskFilling", "Memory"])]
    (mail,) = box.mails
    assert mail["subject"] == "[FIRING:2] Memory, DiskFilling (warning)"
    assert (mail["from"], mail["to"], box.recipients) == ("gym@example.org", "ops@example.org", [["ops@example.org"]])
    assert RULES["Memory"].what_to_do in mail.get_content().replace("=\n", "")


def test_a_receiver_that_answers_500_is_asked_again_and_that_is_counted(web: Hook) -> None:
    to = webhook(web)
    web.refusals = [500, 503, 429]
    before = {outcome: counted("webhook-1", outcome) for outcome in delivery.OUTCOMES}

    async def story(way: Delivery) -> None:
        way.offer("webhook-1", "warning", notice("Memory"))
        await until(lambda: counted("webhook-1", "delivered") > before["delivered"])

    assert len(deliver(to, story)) == 1
    assert web.told() == [("firing", ["Memory"])]
    assert len(web.paths) == 4
    assert counted("webhook-1", "failed") - before["failed"] == 3
    assert counted("webhook-1", "given-up") == before["given-up"]


def test_one_that_says_no_for_good_is_not_asked_again_until_there_is_news(web: Hook) -> None:
    web.refusals = [400, 404]
    before = counted("webhook-1", "given-up")

    async def story(way: Delivery) -> None:
        for _ in range(3):
            way.offer("webhook-1", "warning", notice("Memory"))
            await until(lambda: counted("webhook-1", "given-up") == before + 1)
        way.offer("webhook-1", "warning", notice("Memory", "DiskFilling"))
        await until(lambda: counted("webhook-1", "given-up") == before + 2)
        way.offer("webhook-1", "warning", notice("Memory", over=True))
        await until(lambda: bool(web.bodies))

    deliver(webhook(web), story)
    assert len(web.paths) == 3
    assert web.told() == [("resolved", ["Memory"])]


def test_the_newest_takes_the_place_of_what_waits(web: Hook) -> None:
    web.refusals = [500]

    async def story(way: Delivery) -> None:
        way.offer("webhook-1", "warning", notice("Memory"))
        await until(lambda: len(web.paths) == 1)
        way.offer("webhook-1", "warning", notice("Memory", "DiskFilling"))
        way.offer("webhook-1", "warning", notice("DiskFilling"))
        await until(lambda: bool(web.bodies))

    deliver(webhook(web), story, first_pause_s=0.3)
    assert web.told() == [("firing", ["DiskFilling"])]


def test_what_is_over_before_it_could_be_told_is_not_told(web: Hook) -> None:
    web.refusals = [500]

    async def story(way: Delivery) -> None:
        way.offer("webhook-1", "warning", notice("Memory"))
        await until(lambda: len(web.paths) == 1)
        way.offer("webhook-1", "warning", None)
        way.offer("webhook-1", "critical", notice("Memory"))
        await until(lambda: bool(web.bodies))

    deliver(webhook(web), story, first_pause_s=0.1)
    assert len(web.bodies) == 1, "the other group's"


def test_a_receiver_that_is_away_holds_up_no_other_and_is_given_up(web: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "ATTEMPTS", 2)
    nobody = f"http://{HOST}:{free_ports(1)[0]}/s3cret"
    both = receivers(f"{nobody} {web.url}", "", "http://gym")
    before = counted("webhook-1", "given-up")

    async def story(way: Delivery) -> None:
        for one in both:
            way.offer(one.name, "warning", notice("Memory"))
        await until(lambda: bool(web.bodies) and counted("webhook-1", "given-up") > before)

    assert len(deliver(both, story)) == 1


def test_a_full_mailbox_is_tried_again_and_a_wrong_address_is_not(box: Mailbox) -> None:
    to = receivers("", box.url, "http://gym")
    box.full = True
    (answer,) = asyncio.run(trial.trial(to))
    assert (answer.taken, answer.again, answer.said) == (False, True, "452 the mailbox is full")
    box.refuses = True
    (answer,) = asyncio.run(trial.trial(to))
    assert (answer.taken, answer.again) == (False, False)
    assert "ops@example.org" in answer.said


def test_a_password_is_not_sent_in_the_clear(box: Mailbox) -> None:
    (answer,) = asyncio.run(trial.trial(receivers("", box.url.replace("://", "://me:s3cret@"), "http://gym")))
    assert (answer.taken, answer.again) == (False, False)
    assert "no encryption" in answer.said
    assert box.mails == []


def test_pauses_double_and_are_never_the_same_for_all() -> None:
    dice = random.Random(7)
    pauses = [pause_s(attempt, 1.0, dice) for attempt in range(1, 10)]
    for attempt, pause in enumerate(pauses):
        middle = min(2**attempt, 60)
        assert 0.5 * middle <= pause <= 1.5 * middle
    assert len({pause_s(1, 1.0, dice) for _ in range(10)}) == 10


def test_no_secret_is_ever_logged_or_said(web: Hook, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    nobody = f"http://me:s3cret@{HOST}:{free_ports(1)[0]}/s3cret?key=s3cret"
    to = receivers(f"{web.url} {nobody}", f"smtp://me:s3cret@{HOST}:{free_ports(1)[0]}?to=a@b", "http://gym")
    web.refusals = [400]

    async def story(way: Delivery) -> None:
        way.offer("webhook-1", "warning", notice("Memory"))
        way.offer("webhook-2", "warning", notice("Memory"))
        way.offer("mail", "warning", notice("Memory"))
        await until(lambda: len([one for one in lines if one["event"] == "alert failed"]) >= 3)

    with structlog.testing.capture_logs() as lines:
        deliver(to, story)
    answers = asyncio.run(trial.trial(to))
    said = repr(lines) + repr(answers) + repr(to) + " ".join(one.shown for one in to)
    assert "s3cret" not in said
    assert [record for record in caplog.records if record.name != "mail.log" and "s3cret" in record.getMessage()] == []


@pytest.mark.parametrize(
    ("webhooks", "mail", "setting"),
    [
        ("ftp://s3cret", "", "GYM_ALERT_WEBHOOKS"),
        ("http://", "", "GYM_ALERT_WEBHOOKS"),
        ("http://h:s3cret/", "", "GYM_ALERT_WEBHOOKS"),
        ("", "http://s3cret?to=a@b", "GYM_ALERT_MAIL"),
        ("", "smtp://me:s3cret@h", "GYM_ALERT_MAIL"),
        ("", "smtp://h?to=nobody", "GYM_ALERT_MAIL"),
    ],
)
def test_an_address_that_is_none_is_refused_without_being_repeated(webhooks: str, mail: str, setting: str) -> None:
    with pytest.raises(ReceiverRefused, match=setting) as refused:
        receivers(webhooks, mail, "")
    assert "s3cret" not in str(refused.value)
