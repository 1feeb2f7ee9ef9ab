"use strict";
// Nothing here is needed to read the page: it adds sorting, a cross-hair over the charts, and copy buttons.
(() => {
  const make = (tag, props = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), props);
    node.append(...children);
    return node;
  };

  function sortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    const key = (row, n) => {
      const text = row.cells[n].dataset.sort ?? row.cells[n].textContent.trim();
      const number = Number.parseFloat(text.replaceAll(",", ""));
      return Number.isNaN(number) ? text.toLowerCase() : number;
    };
    const compare = (a, b) =>
      typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1;
    heads.forEach((head, n) => {
      const button = make("button", { type: "button", textContent: head.textContent });
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const falling = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => compare(key(a, n), key(b, n)) * (falling ? -1 : 1));
        table.tBodies[0].append(...rows);
      });
    });
  }

  function copyable(box) {
    const text = box.querySelector("code, pre");
    const button = make("button", { type: "button", className: "copy", textContent: "Copy" });
    button.addEventListener("click", async () => {
      getSelection().selectAllChildren(text);
      try {
        await navigator.clipboard.writeText(text.textContent.trim());
        button.textContent = "Copied";
      } catch {
        button.textContent = "Press Ctrl+C";
      }
    });
    box.append(button);
  }

  // The cross-hair reads the tables behind the charts, so that it can show nothing they do not.
  function crosshair(figure, tables) {
    const plots = figure.querySelector(".plots");
    const chart = figure.querySelector(".plot");
    if (!chart) return;
    const times = [...tables[0].tBodies[0].rows].map((row) => Number.parseFloat(row.cells[0].textContent));
    const begin = Number.parseFloat(figure.dataset.begin);
    const end = Number.parseFloat(figure.dataset.end);
    const cursor = make("div", { className: "cursor", hidden: true });
    const readout = make("div", { className: "readout", hidden: true });
    readout.setAttribute("role", "status");
    plots.append(cursor, readout);
    let at = -1;

    const swatch = (head) => figure.querySelector(`.legend .swatch .${head.dataset.style}`).closest("svg").cloneNode(true);
    const values = (n) =>
      tables.flatMap((table) =>
        [...table.tHead.rows[0].cells].slice(1).map((head, i) => {
          const text = table.tBodies[0].rows[n].cells[i + 1].textContent.trim();
          const told = text === "–" ? "not measured" : `${text} ${head.dataset.unit}`;
          return make("span", {}, swatch(head), head.firstChild.textContent, make("i", { textContent: told }));
        }),
      );
    const show = (n) => {
      at = Math.max(0, Math.min(times.length - 1, n));
      const box = chart.getBoundingClientRect();
      const left = box.left - plots.getBoundingClientRect().left;
      const x = left + (box.width * (times[at] + 0.5 - begin)) / (end - begin);
      cursor.hidden = readout.hidden = false;
      cursor.style.left = `${x}px`;
      readout.replaceChildren(make("b", { textContent: `second ${times[at]}` }), ...values(at));
      const room = x + readout.offsetWidth + 16 < plots.clientWidth;
      readout.style.left = `${Math.max(0, room ? x + 14 : x - readout.offsetWidth - 14)}px`;
      readout.style.top = "84px";
    };
    const hide = () => {
      cursor.hidden = readout.hidden = true;
    };
    plots.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      const t = begin + ((end - begin) * (event.clientX - box.left)) / box.width;
      show(times.filter((time) => time <= t).length - 1);
    });
    plots.addEventListener("pointerleave", hide);
    plots.addEventListener("blur", hide);
    plots.tabIndex = 0;
    plots.setAttribute("role", "group");
    plots.setAttribute("aria-label", "Charts; the left and right arrow keys read them second by second");
    plots.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      show(at + step);
    });
  }

  document.querySelectorAll("[data-sortable]").forEach(sortable);
  document.querySelectorAll("[data-copy]").forEach(copyable);
  const tables = [...document.querySelectorAll("[data-series]")].filter((table) => table.tBodies[0].rows.length);
  document.querySelectorAll("[data-timeline]").forEach((figure) => tables.length && crosshair(figure, tables));
})();
