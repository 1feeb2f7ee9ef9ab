// k6 plays the scenario: the same file, population, schedule, choices and ledger lines as the Locust adapter.
//
// Started by the k6 adapter with the plan in the environment (plan.py), or in the file GYM_LOAD_PLAN, and with
//   --log-format raw --console-output LEDGER
// so that each console.log is one line of the ledger, written at once: nothing said is lost when k6 is killed. k6 cannot read
// the monotonic clock, so instants are wall seconds (`tw`); the adapter writes the clock and end lines around this script's.
//
// Writes carry `Operation-Id` and never `Idempotency-Key`: Go takes that header as leave to send a POST again by itself.
// Runs on k6 1.1 and on 2.x: no remote imports, no summary flags, only APIs that both have.

import { sleep } from 'k6';
import { SharedArray } from 'k6/data';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter } from 'k6/metrics';

const env = { ...(__ENV.GYM_LOAD_PLAN ? JSON.parse(open(__ENV.GYM_LOAD_PLAN)) : {}), ...__ENV };
const scenario = JSON.parse(open(env.GYM_LOAD_SCENARIO));
const shape = JSON.parse(env.GYM_LOAD_SHAPE);
const open_ = shape.model === 'open';
const patience = scenario.timeout_s + 1 + scenario.think.max_s;

// A SharedArray's function runs once for all VUs, and each access copies one element out of it.
const users = new SharedArray('users', () => playersWithBags(population()));
const tournaments = new SharedArray('tournaments', () => population().tournaments.map((tournament) => tournament.id));
const schedule = new SharedArray('schedule', () => open(env.GYM_LOAD_SCHEDULE).trim().split('\n').map((line) => JSON.parse(line)));
const [password] = new SharedArray('password', () => [population().password || '']);

const BAG_SIZE = 50; // as in virtual_user.py
const REFUSED = 1212; // k6's error code for a connection refused: nothing was sent
const IN_PROGRESS = 'operation-in-progress';

const invoked = new Counter('ledger_invoked');
const done = new Counter('ledger_done');

const flows = scenario.flows.map((flow) => ({ ...flow, text: flow.body ? JSON.stringify(flow.body) : '' }));
const byName = Object.fromEntries(flows.map((flow) => [flow.name, flow]));

export const options = {
  scenarios: { [shape.model]: open_ ? arrivals() : visitors() },
  // A floor, so that a run by hand that sent nothing is not green. The verdict comes from the ledger.
  thresholds: { http_reqs: [`count>=${scenario.samples_min}`] },
  noCookiesReset: true,
  userAgent: 'gymkhana-k6',
};

// Each VU has its own copy of this module, so these are one virtual user's.
let me = null;
let number = 0;
let random = null;
let steps = 0;
let planned = [];
let bags = {};

export default function () {
  try {
    if (open_) {
      arrive();
    } else {
      visit();
    }
  } catch (error) {
    // k6 logs what a script throws, goes on, and exits 0.
    exec.test.abort(`the script threw ${error}`);
  }
}

// One step of a virtual user, the pause before it included.
function visit() {
  if (me === null) {
    become(exec.vu.idInTest);
    planned = schedule[(number - 1) % schedule.length].steps;
    line({ k: 'user', user: number, tw: Date.now() / 1000, up: true });
  }
  const [flow, thinkMs] = planned[steps % planned.length];
  const due = Date.now() + thinkMs;
  sleep(thinkMs / 1000);
  play(nextStep(flows[flow]), due);
}

// One arrival of the open model: a user of its own with one step.
function arrive() {
  const index = exec.scenario.iterationInTest;
  if (index >= schedule.length) {
    return;
  }
  const { at_ms: at, flow } = schedule[index];
  become(index + 1);
  play(nextStep(flows[flow]), exec.scenario.startTime + at);
}

export function handleSummary(data) {
  const count = (name) => (data.metrics[name] ? data.metrics[name].values.count : 0);
  const summary = { invoked: count('ledger_invoked'), done: count('ledger_done'), dropped: count('dropped_iterations') };
  return { [env.GYM_LOAD_K6_SUMMARY]: JSON.stringify(summary) };
}

// From now on this VU is user `as` of the run.
function become(as) {
  number = as;
  me = users[(number - 1) % users.length];
  random = generator(`${env.GYM_LOAD_SEED}-${number}`);
  steps = 0;
  bags = JSON.parse(JSON.stringify(me.bags)); // what a SharedArray hands out is frozen
}

function nextStep(scheduled) {
  steps += 1;
  let flow = scheduled;
  const taken = take(flow.takes);
  if (flow.takes && taken === null) {
    flow = byName[flow.otherwise];
  }
  return {
    flow,
    path: render(flow.path, taken),
    body: render(flow.text, taken),
    op: flow.write ? `${env.GYM_LOAD_RUN}.${number}.${steps}` : null,
    taken,
  };
}

function play(step, due) {
  const { flow, op } = step;
  const user = number;
  const began = Date.now();
  const tw = began / 1000;
  const headers = { Authorization: `Bearer ${me.token}` };
  if (op !== null) {
    headers['Content-Type'] = 'application/json';
    headers['Operation-Id'] = op;
    headers['Run-Id'] = env.GYM_LOAD_RUN;
    invoked.add(1);
    line({ k: 'invoke', op, flow: flow.name, user, tw });
  }
  const response = http.request(flow.method, env.GYM_LOAD_URL + step.path, step.body || null, {
    headers,
    timeout: `${scenario.timeout_s}s`,
    redirects: 0,
    tags: { name: flow.name },
  });
  const became = outcome(response);
  const sequence = response.headers['Commit-Sequence'];
  done.add(1);
  line({
    k: 'done',
    op,
    flow: flow.name,
    user,
    tw,
    d: (response.timings.blocked + response.timings.duration) / 1000,
    status: response.status,
    outcome: became,
    write: flow.write === true,
    digest: response.headers['Effect-Digest'] || null,
    seq: sequence ? Number(sequence) : null,
    err: response.error || null,
    db: databaseMs(response.headers['Server-Timing']),
    lag: Math.max(began - due, 0),
  });
  learn(step, became, response);
}

// The same classes as outcome() in ledger.py.
function outcome(response) {
  const { status } = response;
  if (status === 0) {
    return response.error_code === REFUSED ? 'refused' : 'unknown';
  }
  if (status >= 200 && status < 300) {
    return response.error_code === 0 ? 'ok' : 'unknown';
  }
  if (status === 503) {
    return response.headers.Outcome === 'not-applied' ? 'refused' : 'unknown';
  }
  if (status === 408 || (status === 409 && object(response).code === IN_PROGRESS)) {
    return 'unknown';
  }
  return status >= 400 && status < 500 ? 'refused' : 'unknown';
}

// What VirtualUser.learn does: moves the id the step took, and remembers what the answer lists.
function learn(step, became, response) {
  const { flow, taken } = step;
  if (taken !== null && flow.takes) {
    if (became === 'ok') {
      put(flow.keeps, taken);
    } else if (became === 'unknown' || response.status < 400 || response.status >= 500) {
      put(flow.takes, taken);
    }
  }
  if (!flow.learns || became !== 'ok') {
    return;
  }
  const answer = object(response);
  for (const rule of flow.learns) {
    for (const item of answer[rule.at] || []) {
      if (fits(rule, item)) {
        put(rule.into, item[rule.id || 'id']);
      }
    }
  }
}

function fits(rule, item) {
  if (item === null || typeof item !== 'object' || !Number.isInteger(item[rule.id || 'id'])) {
    return false;
  }
  return Object.entries(rule.where || {}).every(([field, wanted]) => item[field] === (wanted === '{me}' ? me.id : wanted));
}

function take(bag) {
  const ids = bags[bag] || [];
  return ids.length ? ids.splice(below(ids.length), 1)[0] : null;
}

function put(bag, id) {
  if (!bag) {
    return;
  }
  bags[bag] = bags[bag] || [];
  if (bags[bag].length < BAG_SIZE && !bags[bag].includes(id)) {
    bags[bag].push(id);
  }
}

// The holes of template.py: a hole that is a whole JSON string becomes a typed value.
function render(text, taken) {
  return text.replace(/"\{([^{}"]+)\}"|\{([^{}"]+)\}/g, (_, typed, plain) => {
    const value = JSON.stringify(fill(typed || plain, taken));
    return typed ? value : value.replace(/^"|"$/g, '');
  });
}

function fill(hole, taken) {
  const range = /^(-?\d+)\.\.(-?\d+)$/.exec(hole);
  if (range) {
    return Number(range[1]) + below(Number(range[2]) - Number(range[1]) + 1);
  }
  if (hole.includes('|')) {
    const words = hole.split('|');
    return words[below(words.length)];
  }
  switch (hole) {
    case 'me':
      return me.id;
    case 'user':
      return number;
    case 'name':
      return me.name;
    case 'password':
      return password;
    case 'other':
      return other();
    case 'tournament':
      return tournaments[below(tournaments.length)];
    case 'taken':
      return taken;
    case 'n':
      return steps;
    default:
      throw new Error(`unknown hole {${hole}}`);
  }
}

function other() {
  for (;;) {
    const { id } = users[below(users.length)];
    if (id !== me.id) {
      return id;
    }
  }
}

function below(count) {
  return Math.floor(random() * count);
}

// mulberry32, seeded with the FNV-1a hash of a text: small, fast, and the same on every machine.
function generator(text) {
  let state = 2166136261;
  for (const character of text) {
    state = Math.imul(state ^ character.charCodeAt(0), 16777619);
  }
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function population() {
  return JSON.parse(open(env.GYM_LOAD_POPULATION));
}

// What Script.first_bags does, for all players at once.
function playersWithBags({ users: players, matches, tournaments: all }) {
  const own = new Map(players.map((player) => [player.id, []]));
  for (const match of matches) {
    (own.get(match.home_id) || []).push(match);
    (own.get(match.away_id) || []).push(match);
  }
  const open = all.filter((tournament) => tournament.open).map((tournament) => tournament.id);
  return players.map((player) => {
    const played = own.get(player.id);
    const entered = new Set(played.map((match) => match.tournament_id));
    const bags = { matches: played.map((match) => match.id), tournaments: open.filter((id) => !entered.has(id)) };
    return { ...player, bags };
  });
}

function visitors() {
  return {
    executor: 'ramping-vus',
    startVUs: 0,
    stages: shape.stages.map(({ seconds, target }) => ({ target, duration: milliseconds(seconds) })),
    gracefulStop: `${patience}s`,
    gracefulRampDown: `${patience}s`,
  };
}

// As many VUs as there may be requests in flight, made before the first one: k6 adds them too slowly during the run.
function arrivals() {
  return {
    executor: 'ramping-arrival-rate',
    startRate: 0,
    timeUnit: '1s',
    preAllocatedVUs: Number(env.GYM_LOAD_USERS),
    stages: shape.stages.map(({ seconds, target }) => ({ target, duration: milliseconds(seconds) })),
    gracefulStop: `${patience}s`,
  };
}

function milliseconds(seconds) {
  return `${Math.ceil(seconds * 1000)}ms`;
}

function object(response) {
  try {
    const value = JSON.parse(response.body);
    return value !== null && typeof value === 'object' ? value : {};
  } catch (_) {
    return {};
  }
}

function databaseMs(timing) {
  const match = /(?:^|,)\s*db\s*;[^,]*?dur=([\d.]+)/.exec(timing || '');
  return match ? Number(match[1]) : null;
}

function line(fields) {
  console.log(JSON.stringify(fields));
}
