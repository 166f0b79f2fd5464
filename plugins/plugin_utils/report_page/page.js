// What a page does beyond standing there: tells what is pointed at, sorts, filters and continues the tables.
"use strict";

(() => {
  const tip = document.getElementById("tip");
  // A dot is small and a finger is not.
  const REACH = 14;
  let told = null;

  const nearest = (svg, x, y) => {
    let best = null;
    let least = REACH;
    for (const mark of svg.querySelectorAll("[data-tip]")) {
      const box = mark.getBoundingClientRect();
      const away = Math.hypot(
        Math.max(box.left - x, 0, x - box.right),
        Math.max(box.top - y, 0, y - box.bottom),
      );
      if (away < least) {
        least = away;
        best = mark;
      }
    }
    return best;
  };

  const hide = () => {
    tip.hidden = true;
    if (told) told.classList.remove("told");
    told = null;
  };

  const point = (event) => {
    const svg = event.target instanceof Element ? event.target.closest(".picture svg") : null;
    const mark = svg && (event.target.closest("[data-tip]") || nearest(svg, event.clientX, event.clientY));
    if (!mark) {
      hide();
      return;
    }
    if (mark !== told) {
      hide();
      told = mark;
      told.classList.add("told");
      tip.textContent = mark.dataset.tip;
      tip.hidden = false;
    }
    const box = tip.getBoundingClientRect();
    const right = event.clientX + 14 + box.width > window.innerWidth;
    const left = right ? Math.max(4, event.clientX - 14 - box.width) : event.clientX + 14;
    const below = event.clientY + 14 + box.height > window.innerHeight;
    tip.style.left = `${left}px`;
    tip.style.top = `${below ? Math.max(4, event.clientY - 14 - box.height) : event.clientY + 14}px`;
  };

  document.addEventListener("pointermove", point, { passive: true });
  document.addEventListener("pointerdown", point, { passive: true });
  document.addEventListener("pointerleave", hide);
  document.addEventListener("scroll", hide, { passive: true });
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());

  const STEP = 200;
  const data = JSON.parse(document.getElementById("data").textContent);
  const words = new Intl.Collator("en", { numeric: true });

  for (const [name, table] of Object.entries(data)) {
    const element = document.getElementById(`table-${name}`);
    const body = element.tBodies[0];
    const heads = [...element.tHead.rows[0].cells];
    const filter = document.querySelector(`[data-filter="${name}"]`);
    const count = document.querySelector(`[data-count="${name}"]`);
    const more = document.querySelector(`[data-more="${name}"]`);
    const what = count.textContent.trim().split(" ").pop();
    const first = body.rows.length;
    const text = (row, place) => (table.shared[place] ? table.shared[place][row[place]] : row[place]);
    let order = table.rows;
    let shown = first;

    const paint = () => {
      const rows = document.createDocumentFragment();
      for (const row of order.slice(0, shown)) {
        const line = rows.appendChild(document.createElement("tr"));
        row.forEach((_value, place) => {
          const cell = line.appendChild(document.createElement("td"));
          cell.textContent = text(row, place);
          if (table.numeric[place]) cell.className = "number";
        });
      }
      body.replaceChildren(rows);
      const part = order.length < table.rows.length ? `${order.length} of ` : "";
      count.textContent = `${part}${table.rows.length} ${what}`;
      if (more) {
        more.hidden = shown >= order.length;
        more.textContent = `Show more (${Math.min(shown, order.length)} of ${order.length})`;
      }
    };

    // What was not measured stands last, whichever way the rest is sorted.
    const key = (row, place) => {
      const value = text(row, place);
      if (value === "-" || value === "") return null;
      return table.numeric[place] ? parseFloat(value.replace(/[\s\u202f]/g, "")) : value;
    };

    const arrange = () => {
      const asked = filter.value.trim().toLowerCase();
      order = table.rows;
      if (asked) {
        order = order.filter((row) => row.some((_value, place) => text(row, place).toLowerCase().includes(asked)));
      }
      const place = heads.findIndex((head) => head.ariaSort !== "none");
      if (place >= 0) {
        const turn = heads[place].ariaSort === "ascending" ? 1 : -1;
        const keyed = order.map((row) => [key(row, place), row]);
        keyed.sort(([a], [b]) => {
          if (a === null || b === null) return (a === null) - (b === null);
          return turn * (table.numeric[place] ? a - b : words.compare(a, b));
        });
        order = keyed.map(([, row]) => row);
      }
      paint();
    };

    heads.forEach((head) => {
      head.firstElementChild.addEventListener("click", () => {
        const next = head.ariaSort === "ascending" ? "descending" : "ascending";
        heads.forEach((other) => (other.ariaSort = "none"));
        head.ariaSort = next;
        arrange();
      });
    });
    filter.addEventListener("input", () => {
      shown = first;
      arrange();
    });
    if (more) {
      more.addEventListener("click", () => {
        shown += STEP;
        paint();
      });
      paint();
    }
  }
})();
