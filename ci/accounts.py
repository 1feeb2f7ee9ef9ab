"""After a load on a stand of its own: every write that it began is looked for in storage, and accounted for.

load ─▶ the outbox empties ─▶ the service is asked about unknown writes ─▶ storage is read ─▶ criteria about data
"""

from __future__ import annotations

import time

from sqlalchemy.exc import DBAPIError

from ci import aftermath, survey, verdict
from ci.record import Criterion
from ci.sampler import Sampler
from ci.stand import Stand
from loadtests.plan import LoadPlan

QUIET_WITHIN_S = 15.0


def settle(stand: Stand, plan: LoadPlan, sampler: Sampler) -> tuple[Criterion, ...]:
    """What became of the writes of a load that has ended, while its stand still serves.

    Leaves `asked.jsonl`, `survivors.jsonl` and `state.json` in the load's directory. What cannot be read is unknown.
    """
    since = time.monotonic()
    while not sampler.delivered(since) and time.monotonic() < since + QUIET_WITHIN_S:
        time.sleep(0.1)
    aftermath.ask_again(plan.directory, stand.port)
    try:
        survey.survey(stand.database_url, plan.run, plan.directory)
    except DBAPIError:
        (plan.directory / "survivors.jsonl").unlink(missing_ok=True)
    return verdict.account_load(plan.directory, plan.users)
