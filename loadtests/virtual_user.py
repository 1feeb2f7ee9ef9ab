"""A virtual user: decides what to do next, remembers what it learnt, and never touches a socket.

Adapters ask for the next step, send it, and tell the user how it ended. Flows and pauses come from the schedule and every
other choice from the user's own generator, so user 17 of seed 42 does the same on every run, whichever tool plays it, for as
long as the service answers the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import msgspec

from loadtests import template
from loadtests.chance import below, generator
from loadtests.ledger import Outcome
from loadtests.population import Player, Population, require
from loadtests.scenario import Flow, Learn, Scenario
from loadtests.template import Choice, Hole, Name, Range, Template

BAG_SIZE = 50
"""A user remembers at most this many ids of a kind; what it forgets, it learns again."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request to send. `op` is the operation id of a write, None for a read; `body` is empty when there is none."""

    flow: Flow
    path: str
    body: bytes
    op: str | None
    taken: int | None


@dataclass(frozen=True, slots=True)
class _Act:
    """A flow with its templates parsed."""

    flow: Flow
    path: Template
    body: Template


class Script:
    """What all virtual users of a run share: the parsed flows and the population.

    Raises PopulationError when the population cannot fill the flows. A flow that needs the shared password is left out when
    the population has none.
    """

    def __init__(self, scenario: Scenario, population: Population, *, seed: int, run: str, users: int) -> None:
        self.scenario = scenario
        self.population = population
        self.seed = seed
        self.run = run
        password = population.password is not None
        acts = [_parsed(flow) for flow in scenario.flows if flow.playable(password)]
        require(population, users, frozenset().union(*(act.path.names | act.body.names for act in acts)))
        self._by_name = {act.flow.name: act for act in acts}
        self._matches = population.matches_by_player()
        self.tournaments = [tournament.id for tournament in population.tournaments]

    def scheduled(self, index: int) -> _Act:
        """The flow that the schedule calls `index`."""
        return self._by_name[self.scenario.flows[index].name]

    def first_bags(self, player: Player) -> dict[str, list[int]]:
        """What a player knows from the start: their own matches, and the open tournaments they do not play in yet."""
        own = self._matches.get(player.id, [])
        entered = {match.tournament_id for match in own}
        enterable = [one.id for one in self.population.tournaments if one.open and one.id not in entered]
        return {"matches": [match.id for match in own], "tournaments": enterable}

    def named(self, name: str | None) -> _Act:
        """The flow called `name`; a sound scenario names only flows that are there."""
        return self._by_name[name or ""]


class VirtualUser:
    """User `number` (from 1) of a script, playing one player of the population."""

    def __init__(self, number: int, script: Script, steps: Sequence[tuple[int, int]]) -> None:
        players = script.population.users
        self.number = number
        self.player: Player = players[(number - 1) % len(players)]
        self._script = script
        self._draw = generator(f"{script.seed}-{number}")
        self._planned: Iterator[tuple[int, int]] = cycle(steps)
        self._flow = 0
        self._steps = 0
        self._bags = script.first_bags(self.player)

    def think(self) -> float:
        """Seconds to pause before the next step, which the schedule has chosen with this pause."""
        self._flow, think_ms = next(self._planned)
        return think_ms / 1000

    def next_step(self) -> Step:
        """What to send after the pause. An id taken from a bag stays out of it until `learn` says how the step ended."""
        self._steps += 1
        act = self._script.scheduled(self._flow)
        taken = self._take(act.flow.takes)
        if act.flow.takes is not None and taken is None:
            act = self._script.named(act.flow.otherwise)
        return Step(
            flow=act.flow,
            path=self._render(act.path, taken),
            body=self._render(act.body, taken).encode(),
            op=f"{self._script.run}.{self.number}.{self._steps}" if act.flow.write else None,
            taken=taken,
        )

    def learn(self, step: Step, outcome: Outcome, status: int, content: bytes) -> None:
        """Takes in how `step` ended: moves the id it took, and remembers what the answer lists."""
        flow = step.flow
        if step.taken is not None and flow.takes is not None:
            if outcome == "ok":
                self._put(flow.keeps, step.taken)
            elif outcome == "unknown" or not 400 <= status < 500:
                self._put(flow.takes, step.taken)
        if flow.learns and outcome == "ok":
            answer = _object(content)
            for rule in flow.learns:
                for item in answer.get(rule.at) or ():
                    if self._matches(rule, item):
                        self._put(rule.into, item[rule.id])

    def _take(self, bag: str | None) -> int | None:
        ids = self._bags.get(bag or "")
        return ids.pop(below(self._draw, len(ids))) if ids else None

    def _put(self, bag: str | None, id_: int) -> None:
        if bag is None:
            return
        ids = self._bags.setdefault(bag, [])
        if id_ not in ids and len(ids) < BAG_SIZE:
            ids.append(id_)

    def _matches(self, rule: Learn, item: Any) -> bool:
        if not isinstance(item, dict) or not isinstance(item.get(rule.id), int):
            return False
        mine = self.player.id
        return all(item.get(field) == (mine if wanted == "{me}" else wanted) for field, wanted in rule.where.items())

    def _render(self, text: Template, taken: int | None) -> str:
        return "".join(
            part if isinstance(part, str) else template.literal(self._value(part, taken), typed=part.typed)
            for part in text.parts
        )

    def _value(self, hole: Hole, taken: int | None) -> int | str:
        match hole.source:
            case Range(low, high):
                return low + below(self._draw, high - low + 1)
            case Choice(words):
                return words[below(self._draw, len(words))]
            case Name(name):
                return self._named_value(name, taken)

    def _named_value(self, name: str, taken: int | None) -> int | str:
        match name:
            case "me":
                return self.player.id
            case "user":
                return self.number
            case "name":
                return self.player.name
            case "password":
                return self._script.population.password or ""
            case "other":
                return self._other()
            case "tournament":
                tournaments = self._script.tournaments
                return tournaments[below(self._draw, len(tournaments))]
            case "taken" if taken is not None:
                return taken
            case "n":
                return self._steps
        raise KeyError(name)

    def _other(self) -> int:
        players = self._script.population.users
        while True:
            player = players[below(self._draw, len(players))]
            if player.id != self.player.id:
                return player.id


def _parsed(flow: Flow) -> _Act:
    body = Template(()) if flow.body is None else template.parse_body(flow.body)
    return _Act(flow, template.parse(flow.path), body)


def _object(content: bytes) -> Mapping[str, Any]:
    """The JSON object in `content`; empty when it is none, which teaches nothing."""
    try:
        answer = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}
