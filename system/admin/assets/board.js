/* A board that goes on: what the stream tells is put where the page has it, and a page that is told nothing says so.
   Everything is there without this script, as it was when the page was loaded; the charts are tables then. */
"use strict";
(() => {
  const board = document.getElementById("board");
  const mark = document.getElementById("live");
  const asOf = document.getElementById("as-of");
  const missing = document.getElementById("missing");
  const STALE_MS = 4000, GIVEN_UP_MS = 15000, TABLE_ROWS = 60, TONES = 6, LEAST_S = 300;
  const ROLES = ["", "viewer", "operator", "admin"];
  const plots = new Map();
  let heard = Date.now(), stream = null, over = false;

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value !== "") made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const clock = (ms) => new Date(ms).toISOString().slice(11, 19);
  const instant = (ms) => new Date(ms).toISOString().slice(0, 19).replace("T", " ");
  const number = (value) => {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    const digits = Number.isInteger(value) || size >= 100 ? 0 : size >= 10 ? 1 : 2;
    return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  };
  const marked = (one) => one.mark ? element("span", { class: `mark ${one.mark}` }, one.text) : one.text;

  /* Tables and figures */
  const cell = (one, column) => {
    const place = element(column.kind === "name" ? "th" : "td", { class: column.kind || "text" });
    if (column.kind === "name") place.setAttribute("scope", "row");
    if (one.post) {
      if (ROLES.indexOf(board.dataset.role) >= ROLES.indexOf(one.least || "")) {
        place.append(element("form", { method: "post", action: one.post }, element("button", { class: "quiet" }, one.text)));
      }
    } else if (one.href) place.append(element("a", { href: one.href }, one.text));
    else if (one.mark) place.append(marked(one));
    else place.append(column.kind === "id" || column.kind === "code" ? element("code", {}, one.text) : one.text);
    if (one.note) place.append(" ", element("span", { class: "none" }, one.note));
    return place;
  };
  const row = (cells) => element("tr", {}, ...cells);
  const nothing = (text, width) => row([element("td", { class: "none", colspan: width }, text)]);
  const keepingFocus = (part, change) => {
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const at = focused && (focused.getAttribute("href") || focused.form?.getAttribute("action"));
    change();
    if (!at) return;
    const same = [...part.querySelectorAll("a, button")].find((one) => (one.getAttribute("href") || one.form?.getAttribute("action")) === at);
    if (same) same.focus({ preventScroll: true });
  };
  const drawTable = (part, panel) => {
    const body = part.querySelector("tbody");
    const rows = panel.rows.map((cells) => row(cells.map((one, place) => cell(one, panel.columns[place]))));
    keepingFocus(body, () => body.replaceChildren(...(rows.length ? rows : [nothing(panel.empty, panel.columns.length)])));
  };
  const drawFigures = (part, panel) => part.querySelector("dl").replaceChildren(...panel.items.map((one) => element(
    "div", {}, element("dt", {}, one.label), element("dd", {}, marked(one)), element("dd", { class: "note" }, one.note || ""))));

  /* Charts */
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const tell = (part, panel, place) => {
    const at = place ?? panel.at.length - 1;
    const words = part.querySelectorAll(".key b");
    panel.series.forEach((one, number_) => {
      const value = at < 0 ? null : one.values[at];
      words[number_].textContent = `${number(value)}${panel.unit && value !== null ? ` ${panel.unit}` : ""}`;
    });
  };
  const stamp = (panel) => panel.at.length > 1 && panel.at[panel.at.length - 1] - panel.at[0] > 2 * 86400 ? "{D} {MMM}" : "{HH}:{mm}";
  const plotted = (panel) => [panel.at, ...panel.series.map((one) => one.values)];
  const plot = (part, panel) => {
    const place = part.querySelector(".plot");
    const ink = { stroke: colour("--faint"), font: `12px ${colour("--sans")}`, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    const made = new uPlot({
      width: place.clientWidth, height: 190,
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: {
        x: { range: (shown) => {
          const at = shown.data[0], end = at.length ? at[at.length - 1] : Date.now() / 1000;
          return [Math.min(at[0] ?? end, end - LEAST_S), end];
        } },
        y: { range: (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.1 : 1] },
      },
      axes: [{ ...ink, values: stamp(panel), space: 60, size: 30 }, { ...ink, size: 56, values: (_, ticks) => ticks.map(number) }],
      series: [{}, ...panel.series.map((one, place_) => ({
        label: one.label, stroke: colour(`--tone-${place_ % TONES}`), width: 1.75, points: { show: panel.at.length < 3 },
      }))],
      hooks: { setCursor: [(shown) => tell(part, plots.get(part.id)?.panel ?? panel, shown.cursor.idx)] },
    }, plotted(panel), place);
    plots.set(part.id, { made, panel });
    tell(part, panel);
  };
  const drawChart = (part, panel) => {
    const known = plots.get(part.id);
    const same = known && known.panel.series.map((one) => one.label).join() === panel.series.map((one) => one.label).join();
    if (same && (known.panel.at.length < 3) === (panel.at.length < 3)) {
      known.panel = panel;
      known.made.setData(plotted(panel));
      tell(part, panel, known.made.cursor.idx);
    } else {
      known?.made.destroy();
      part.querySelector(".key").replaceChildren(...panel.series.map((one, place) => element(
        "li", {}, element("i", { class: `tone-${place % TONES}` }), `${one.label} `, element("b"))));
      plot(part, panel);
    }
    const newest = panel.at.map((at, place) => place).slice(-TABLE_ROWS).reverse();
    const rows = newest.map((place) => row([element("td", { class: "when" }, instant(panel.at[place] * 1000)),
      ...panel.series.map((one) => element("td", { class: "number" }, number(one.values[place])))]));
    part.querySelector("tbody").replaceChildren(...(rows.length ? rows : [nothing("Nothing yet.", panel.series.length + 1)]));
  };

  const name = (part, panel) => {
    const title = part.querySelector("h2"), about = part.querySelector(".about");
    if (title.textContent !== panel.title) title.textContent = panel.title;
    if (about && about.textContent !== panel.note) about.textContent = panel.note;
    if (!about && panel.note) title.after(element("p", { class: "about" }, panel.note));
    const older = part.querySelector(".more a");
    if (older && panel.older) older.setAttribute("href", panel.older);
  };
  const draw = { figures: drawFigures, table: drawTable, chart: drawChart };

  /* The stream */
  const say = (word, kind) => {
    if (mark.textContent === word) return;
    mark.textContent = word;
    mark.className = `mark ${kind}`;
    board.classList.toggle("stale", kind === "off");
  };
  const take = (told) => {
    heard = Date.now();
    asOf.textContent = clock(told.as_of_ms);
    missing.hidden = !told.missing;
    if (missing.textContent !== told.missing) missing.textContent = told.missing;
    for (const panel of told.panels) {
      const part = document.getElementById(`panel-${panel.id}`);
      if (!part) { location.reload(); return; }
      name(part, panel);
      draw[panel.kind](part, panel);
    }
    for (const part of board.children) part.classList.toggle("gone", !told.ids.includes(part.id.slice(6)));
    say("live", "on");
  };
  const stop = (words) => {
    over = true;
    stream?.close();
    say(words, "off");
  };
  const again = () => {
    stream.close();
    stream = null;
    if (over) return;
    setTimeout(async () => {
      try {
        const answer = await fetch(location.href, { headers: { Accept: "application/json" } });
        if (answer.status === 401 || answer.status === 403) return stop("log in again");
      } catch { /* Nobody answers; the stream will not either, and it is tried again. */ }
      connect();
    }, 1000 + 1000 * Math.random());
  };
  const connect = () => {
    stream = new EventSource(board.dataset.live);
    stream.addEventListener("message", (message) => take(JSON.parse(message.data)));
    stream.addEventListener("over", () => stop("log in again"));
    stream.addEventListener("error", () => { if (!over) again(); });
  };

  for (const part of board.querySelectorAll("[data-chart]")) plot(part, JSON.parse(part.dataset.chart));
  new ResizeObserver(() => {
    for (const [id, { made }] of plots) made.setSize({ width: document.querySelector(`#${id} .plot`).clientWidth, height: 190 });
  }).observe(board);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const [id, { made, panel }] of [...plots]) {
      made.destroy();
      plot(document.getElementById(id), panel);
    }
  });
  if (!board.dataset.live) return;
  connect();
  setInterval(() => {
    const silent = Date.now() - heard;
    if (!over && silent > STALE_MS) say("stale", "off");
    if (!over && silent > GIVEN_UP_MS && stream) { heard = Date.now() - STALE_MS; again(); }
  }, 500);
})();
