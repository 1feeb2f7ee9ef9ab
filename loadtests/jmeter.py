"""JMeter plays the scenario: the files it needs, and the command line that plays them.

here: clock line, schedule, plan.jmx -> JMeter, whose users (`groovy/`) write all other lines -> ledger
"""

from __future__ import annotations

from pathlib import Path

from loadtests import jmeter_plan
from loadtests.jmeter_home import compiled, find_java, find_jmeter
from loadtests.ledger import append, clock_line
from loadtests.made_once import cache
from loadtests.plan import LoadPlan
from loadtests.scenario_file import read

USERS = Path(__file__).with_name("groovy")
"""The source of what JMeter's users do."""

HEAP_MB = 192
USERS_PER_HEAP_MB = 2
"""A user's copy of the plan takes a quarter of a megabyte; with little to spare the collector never rests."""

STACK_KB = 320
"""Each user is a thread. What JMeter needs of the usual 1024 is a fifth."""

PROPERTIES = {
    "httpclient.reset_state_on_thread_group_iteration": "false",  # true gives each request a connection of its own
    "httpclient4.retrycount": "0",
    "httpclient4.time_to_live": "86400000",  # a connection lasts as long as its user
    "jmeterengine.nongui.port": "0",  # else JMeter takes orders on a UDP port
    "summariser.name": "",
}


def command(plan: LoadPlan, sources: Path = USERS) -> list[str]:
    """What plays the plan, once `prepare` has laid its files out. Raises ToolError when there is no JMeter, or no Java."""
    java, home = find_java(), find_jmeter()
    classes = compiled(sources, home, java, cache())
    heap_mb = HEAP_MB + plan.users // USERS_PER_HEAP_MB
    words = [java, f"-Xss{STACK_KB}k", f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"]
    words += ["-Djava.awt.headless=true"]
    words += ["-jar", str(home / "bin" / "ApacheJMeter.jar"), "-n"]
    words += ["-t", str(_jmx(plan)), "-j", str(plan.log.with_name("jmeter.log").resolve())]
    return words + [f"-J{name}={value}" for name, value in {**PROPERTIES, "user.classpath": str(classes)}.items()]


def prepare(plan: LoadPlan) -> None:
    """The plan's directory, where its schedule lies, holds JMeter's plan as well, and a ledger with its clock line."""
    scenario = read(plan.scenario)
    _jmx(plan).write_text(jmeter_plan.jmx(scenario, plan), "utf-8")
    append(plan.ledger, clock_line(plan.run, "jmeter"))


def _jmx(plan: LoadPlan) -> Path:
    return plan.directory.resolve() / "logs" / "plan.jmx"
