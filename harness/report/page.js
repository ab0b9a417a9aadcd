"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const { pool, cells, grids, columns, names, symbols, releases } = data;
  // As harness/report/page.py and inlined.py write them.
  const [GRID, NAME, COLUMN, SYMBOL, ID, HAPPENED, EXPECTED, PREDICTED, PINS, EVIDENCE, EXPLAINED,
    BEFORE, SECONDS, STARTED] = Array.from({ length: 14 }, (_, place) => place);
  const [TITLE, PLATFORM, BASE, PYTHON, FLAVOUR, KIND, REMEDY] = [0, 1, 2, 3, 4, 5, 6];
  const [UV, RELEASE, REPLICA, MODEL] = [0, 1, 2, 3];

  const count = cells.length;
  const byId = new Map(cells.map((cell, number) => [cell[ID], number]));
  const gridOf = (number) => grids[cells[number][GRID]];
  const columnOf = (number) => columns[cells[number][COLUMN]];
  const of = (number, part) => pool[cells[number][part]];

  /** An element of text and other elements: what others wrote never becomes markup. */
  function make(tag, attributes = {}, ...content) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
    }
    made.append(...content.filter((part) => part !== null && part !== undefined));
    return made;
  }

  const placeIn = (button) => button.closest("td").cellIndex;

  // The grids. They are in the page already, cell by cell in the order of the data.
  const buttons = [...document.querySelectorAll("#grids .c")];
  const numbers = new Map();
  const planes = [...document.querySelectorAll("#grids .plane")].map((section) => ({
    section, table: section.querySelector("table"), shown: 0, columns: [], hiding: "",
  }));
  const rows = [];
  const rowOf = new Int32Array(count);
  const placeOf = new Int32Array(count);
  const labels = symbols.map(([, letters, words]) => `${letters}: ${words}`);
  {
    let number = 0;
    for (const plane of planes) {
      for (const row of plane.table.tBodies[0].rows) {
        // Mostly a cell of the table is one of the matrix: a button in each would take much longer.
        for (const button of row.querySelectorAll(".c")) {
          numbers.set(button, number);
          rowOf[number] = rows.length;
          placeOf[number] = placeIn(button);
          button.tabIndex = -1;
          button.setAttribute("aria-haspopup", "dialog");
          button.setAttribute("aria-label", labels[cells[number][SYMBOL]]);
          number += 1;
        }
        rows.push({ row, shown: 0 });
      }
      plane.section.style.containIntrinsicSize =
        `auto ${plane.table.tBodies[0].rows.length * 1.75 + 7}rem`;
    }
  }
  const numberOf = (button) =>
    numbers.get(button) ?? (button.dataset.c ? Number(button.dataset.c) : undefined);

  // What can be asked for. Each facet knows of every cell which of its values that has.
  const facets = [
    ["status", (n) => symbols[cells[n][SYMBOL]][0]],
    ["platform", (n) => gridOf(n)[PLATFORM]],
    ["base", (n) => gridOf(n)[BASE]],
    ["uv", (n) => columnOf(n)[UV]],
    ["release", (n) => columnOf(n)[RELEASE]],
    ["linked", (n) => columnOf(n)[MODEL]],
    ["extension", (n) => names[cells[n][NAME]]],
    ["outcome", (n) => of(n, HAPPENED)[1]],
    ["remedy", (n) => gridOf(n)[REMEDY]],
    ["python", (n) => gridOf(n)[PYTHON]],
    ["flavour", (n) => gridOf(n)[FLAVOUR]],
    ["kind", (n) => gridOf(n)[KIND]],
    ["source", (n) => (columnOf(n)[REPLICA] ? "replica" : "upstream")],
    ["answers", (n) => (of(n, HAPPENED)[4].length ? "flaky" : "one")],
    ["predicted", (n) => (of(n, PREDICTED) ? "yes" : "no")],
    ["change", (n) => (of(n, BEFORE) || [""])[0]],
  ].map(([name, value]) => {
    const places = new Map();
    const index = new Int32Array(count);
    const counts = [];
    for (let number = 0; number < count; number += 1) {
      const found = value(number);
      let place = places.get(found);
      if (place === undefined) {
        place = places.size;
        places.set(found, place);
        counts.push(0);
      }
      index[number] = place;
      counts[place] += 1;
    }
    const order = [...places.keys()];
    if (name === "uv") order.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    if (name === "release") {
      const commits = releases.map(([tag]) => tag);
      order.sort((a, b) => commits.indexOf(a) - commits.indexOf(b));
    }
    return { name, places, index, counts, order };
  });

  // The state is the address's fragment: platform=…&q=…&cell=…&theme=…
  const empty = () => ({ q: "", cell: "", theme: "", plane: "", chosen: new Map() });
  function decode(hash) {
    const state = empty();
    for (const [key, value] of new URLSearchParams(hash.replace(/^#/, ""))) {
      if (["q", "cell", "theme", "plane"].includes(key)) state[key] = value;
      else if (facets.some(({ name }) => name === key)) {
        if (!state.chosen.has(key)) state.chosen.set(key, new Set());
        state.chosen.get(key).add(value);
      }
    }
    // A plus that somebody wrote as it is, and that means a blank in an address.
    if (!byId.has(state.cell)) state.cell = state.cell.replaceAll(" ", "+");
    return state;
  }
  function encode(state) {
    const parts = new URLSearchParams();
    for (const { name } of facets) {
      for (const value of state.chosen.get(name) ?? []) parts.append(name, value);
    }
    for (const key of ["q", "plane", "theme", "cell"]) if (state[key]) parts.append(key, state[key]);
    return `#${parts}`;
  }
  let state = empty();
  function go(change, replace = false) {
    state = { ...state, ...change };
    if (encode(state) !== (location.hash || "#")) {
      history[replace ? "replaceState" : "pushState"](null, "", encode(state));
    }
    render();
  }
  function choose(name, value, wanted) {
    const chosen = new Map([...state.chosen].map(([key, values]) => [key, new Set(values)]));
    const values = chosen.get(name) ?? new Set();
    if (wanted) values.add(value);
    else values.delete(value);
    if (values.size) chosen.set(name, values);
    else chosen.delete(name);
    go({ chosen });
  }

  // Filtering: one pass over numbers, and only what changes is touched.
  const shown = new Uint8Array(count).fill(1);
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [sheet];
  planes.forEach((plane, number) => { plane.table.dataset.plane = number; });
  let texts = null;
  function haystack() {
    texts ??= cells.map((cell, number) => {
      const [, outcome, library, message] = of(number, HAPPENED);
      const [expected, because] = of(number, EXPECTED);
      return [cell[ID], outcome, library, pool[message], expected, because].join(" ").toLowerCase();
    });
    return texts;
  }
  let asked = "";
  let total = count;
  function apply() {
    const wanted = [];
    for (const { name, places, index, order } of facets) {
      const values = state.chosen.get(name);
      if (!values) continue;
      const flags = new Uint8Array(order.length);
      for (const value of values) if (places.has(value)) flags[places.get(value)] = 1;
      wanted.push([index, flags]);
    }
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const key = JSON.stringify([[...state.chosen].map(([name, v]) => [name, [...v].sort()]), words]);
    if (key === asked) return;
    asked = key;
    const found = words.length ? haystack() : null;
    for (const row of rows) row.shown = 0;
    for (const plane of planes) { plane.shown = 0; plane.columns = []; }
    total = 0;
    for (let number = 0; number < count; number += 1) {
      let is = 1;
      for (const [index, flags] of wanted) if (!flags[index[number]]) { is = 0; break; }
      if (is && found) for (const word of words) if (!found[number].includes(word)) { is = 0; break; }
      if (is) {
        const plane = planes[cells[number][GRID]];
        plane.shown += 1;
        plane.columns[placeOf[number]] = true;
        rows[rowOf[number]].shown += 1;
        total += 1;
      }
      if (is !== shown[number]) {
        shown[number] = is;
        buttons[number].classList.toggle("out", !is);
      }
    }
    for (const { row, shown: some } of rows) if (row.hidden !== !some) row.hidden = !some;
    const rules = [];
    planes.forEach((plane, number) => {
      if (plane.section.hidden !== !plane.shown) plane.section.hidden = !plane.shown;
      const { cells: heads } = plane.table.tHead.rows[0];
      for (let place = 1; place < heads.length && plane.shown; place += 1) {
        if (!plane.columns[place]) {
          rules.push(`[data-plane="${number}"] tr > :nth-child(${place + 1}) { display: none }`);
        }
      }
    });
    sheet.replaceSync(rules.join("\n"));
    planes.forEach(reachable);
    $("nothing").hidden = total > 0;
    $("count").textContent = total === count
      ? `all ${count} cells shown` : `${total} of ${count} cells shown`;
    const said = [...state.chosen].map(([name, values]) => `${name} ${[...values].join(" or ")}`);
    if (state.q) said.push(`with “${state.q}”`);
    $("filtered").textContent = said.length
      ? `Only ${total} of ${count} cells: ${said.join(", ")}` : "";
    $("clear").hidden = !said.length;
  }

  // Keyboard: of each grid one cell is in the tab order.
  function reachable(plane) {
    const now = plane.reachable;
    if (now && !now.classList.contains("out") && !now.closest("tr").hidden) return;
    if (now) now.tabIndex = -1;
    plane.reachable = plane.shown ? plane.table.querySelector("tr:not([hidden]) .c:not(.out)") : null;
    if (plane.reachable) plane.reachable.tabIndex = 0;
  }
  /** The same for a table that nothing is filtered in. */
  function walkable(table) {
    table.setAttribute("role", "grid");
    table.querySelectorAll(".c").forEach((cell, place) => { cell.tabIndex = place ? -1 : 0; });
    return table;
  }
  function focusCell(button) {
    const table = button.closest("table");
    const plane = planes[table.dataset.plane];
    const now = plane ? plane.reachable : table.querySelector(".c[tabindex='0']");
    if (now) now.tabIndex = -1;
    if (plane) plane.reachable = button;
    button.tabIndex = 0;
    button.focus();
    button.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  const inRow = (row) => [...row.querySelectorAll(".c:not(.out)")];
  function move(button, key, far) {
    const row = button.closest("tr");
    const all = [...row.parentElement.rows].filter((one) => !one.hidden && inRow(one).length);
    const line = inRow(row);
    const here = line.indexOf(button);
    const place = placeIn(button);
    const nearest = (one) => inRow(one).reduce((best, other) =>
      Math.abs(placeIn(other) - place) < Math.abs(placeIn(best) - place) ? other : best);
    const index = all.indexOf(row);
    switch (key) {
      case "ArrowLeft": return line[here - 1];
      case "ArrowRight": return line[here + 1];
      case "ArrowUp": return index > 0 ? nearest(all[index - 1]) : null;
      case "ArrowDown": return index + 1 < all.length ? nearest(all[index + 1]) : null;
      case "Home": return far ? inRow(all[0])[0] : line[0];
      case "End": return far ? inRow(all[all.length - 1]).pop() : line[line.length - 1];
      default: return undefined;
    }
  }
  document.addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (event.altKey || event.metaKey) return;
    const cell = target.closest?.("table.grid .c");
    if (cell) {
      const next = move(cell, key, event.ctrlKey);
      if (next !== undefined || /^(Arrow|Home|End)/.test(key)) event.preventDefault();
      if (next) focusCell(next);
      if ((key === "Enter" || key === " ") && cell.tagName === "TD") {
        event.preventDefault();
        cell.click();
      }
    }
    if (key === "/" && !target.closest?.("input, select, dialog")) {
      event.preventDefault();
      $("search").focus();
      $("search").select();
    }
    const facet = document.querySelector(".facet[open]");
    if (key === "Escape" && facet && !dialog.open) {
      facet.open = false;
      facet.querySelector("summary").focus();
    }
  });

  // One cell.
  const dialog = $("cell");
  let opener = null;
  const definitions = (entries, className) => make("dl", { class: className },
    ...entries.filter(([, value]) => value !== null && value !== undefined && value !== "")
      .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  const heading = (words) => make("h3", {}, words);
  const mark = (number) => {
    const [name, letters] = symbols[cells[number][SYMBOL]];
    return make("span", { class: `k s-${name}` }, letters);
  };
  function copied(text, label) {
    const button = make("button", { type: "button", "aria-label": label }, "Copy");
    button.addEventListener("click", async () => {
      let done = true;
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        // Not every browser lets a page from disk do that.
        const area = make("textarea", { class: "unseen" });
        area.value = text;
        dialog.append(area);
        area.select();
        done = document.execCommand("copy");
        area.remove();
        button.focus();
      }
      button.textContent = done ? "Copied" : "Not copied";
      say(done ? "Copied" : "The browser does not allow to copy");
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    return make("div", { class: "copy" }, make("pre", {}, text), button);
  }
  const seconds = (value) => (value === null ? null : `${value} s`);
  function address(link) {
    if (!link) return null;
    return /^https?:\/\//i.test(link)
      ? make("a", { href: link, rel: "noreferrer noopener" }, link) : link;
  }
  function details(number) {
    const cell = cells[number];
    const grid = gridOf(number);
    const column = columnOf(number);
    const [stage, outcome, library, message, answers, expectedModel, linked, uvAsked, releaseAsked,
      upgradedFrom, source] = of(number, HAPPENED);
    const [expected, because, link] = of(number, EXPECTED);
    const predicted = of(number, PREDICTED);
    const explained = of(number, EXPLAINED);
    const before = of(number, BEFORE);
    const [, , words] = symbols[cell[SYMBOL]];
    const close = make("button", { type: "button", id: "close", "aria-label": "Close" }, "Close");
    close.addEventListener("click", () => dialog.close());
    const parts = [
      make("header", {},
        make("div", { class: "line" }, mark(number),
          make("h2", { id: "cell-title", tabindex: "-1" }, names[cell[NAME]]), close),
        make("p", { class: "id" }, cell[ID])),
      make("p", {}, words[0].toUpperCase() + words.slice(1), "."),
    ];
    if (column[REPLICA]) {
      parts.push(make("p", { class: "aside" }, source === "replica"
        ? "On a replica: a stand-in with that release’s link model, not the release."
        : "On a replica under the release’s name, which a mirror gave."));
    }
    parts.push(heading("What happened"), definitions([
      ["outcome", `${outcome}${library ? ` ${library}` : ""}`],
      ["stage", stage],
      ["answers", answers.length ? `flaky: ${answers.join(", then ")}` : null],
    ]));
    if (pool[message]) parts.push(make("pre", {}, pool[message]));
    parts.push(heading("What was expected"),
      definitions([["outcome", expected], ["because", because], ["see", address(link)]]));
    parts.push(heading("What the loader’s rules say"));
    if (predicted) {
      const [said, neededBy, searched] = predicted;
      parts.push(definitions([["outcome", said], ["needed by", neededBy]]));
      if (searched.length) {
        parts.push(make("p", {}, "Looked for in this order:"),
          make("ol", {}, ...searched.map((directory) => make("li", {}, directory))));
      }
    } else parts.push(make("p", { class: "aside" }, "Nothing: the loader has no part in it, or nothing was tried."));
    if (explained) {
      const [account, trace, advice] = explained;
      parts.push(heading("Why"));
      if (account) parts.push(make("p", {}, account));
      if (trace.length) parts.push(make("p", {}, "The loader’s own account:"), make("pre", {}, trace.join("\n")));
      for (const [reader, text, code] of advice) {
        parts.push(make("p", {}, make("b", {}, `${reader}: `), text));
        if (code) parts.push(make("pre", {}, code));
      }
    }
    if (before) {
      const [phrase, words, causes] = before;
      parts.push(heading("Since the earlier run"), definitions([
        ["became", phrase], ["it was", words],
        ...causes.map((cause) => ["also differs", cause]),
      ]));
    }
    parts.push(heading("Where"), definitions([
      ["uv", uvAsked && uvAsked !== column[UV] ? `${column[UV]} (${uvAsked})` : column[UV]],
      ["release", `${column[RELEASE]}${committed(column[RELEASE])}`
        + (releaseAsked && ![column[RELEASE], "default"].includes(releaseAsked) ? ` (${releaseAsked})` : "")],
      ["link model", linked && linked !== expectedModel
        ? `${linked}, by its files; the table of releases says ${expectedModel}` : column[MODEL]],
      ["source", source], ["CPython", grid[PYTHON]], ["flavour", grid[FLAVOUR]],
      ["platform", grid[PLATFORM]], ["base", grid[BASE]], ["remedy", grid[REMEDY]],
      ["installed before by", upgradedFrom ? `uv ${upgradedFrom}` : null],
    ]), heading(`${names[cell[NAME]]}, by release`), strips(cell[GRID], cell[NAME], number));
    parts.push(heading("Do it again"),
      copied(`pbs-matrix rerun '${cell[ID].replaceAll("'", "'\\''")}'`, "Copy the command"),
      heading("Link to this cell"),
      copied(`${location.href.split("#")[0]}${encode({ ...empty(), cell: cell[ID] })}`, "Copy the link"));
    const [spent, took, prepared] = cell[SECONDS];
    parts.push(heading("When"), definitions([
      ["began", cell[STARTED]], ["import or check", seconds(spent)], ["whole cell", seconds(took)],
      ["its image", seconds(prepared)],
    ]));
    for (const [title, part] of [["Pins", PINS], ["Evidence", EVIDENCE]]) {
      const found = of(number, part);
      if (found.length) {
        parts.push(heading(title), definitions(found.map(([name, text]) => [name, pool[text]]), "mono"));
      }
    }
    return parts;
  }
  function showCell() {
    const number = byId.get(state.cell);
    if (number === undefined) {
      if (state.cell) say(`There is no cell ${state.cell} here`);
      if (dialog.open) dialog.close();
      return;
    }
    if (dialog.dataset.number !== String(number)) {
      // Of what is outside of an open dialog, nothing is read out.
      dialog.replaceChildren(...details(number), $("said"));
      say("");
      dialog.dataset.number = number;
      dialog.scrollTop = 0;
    }
    if (!dialog.open) {
      dialog.showModal();
      $("cell-title").focus();
    }
  }
  dialog.addEventListener("close", () => {
    const number = Number(dialog.dataset.number);
    delete dialog.dataset.number;
    document.body.append($("said"));
    dialog.replaceChildren();
    if (state.cell) go({ cell: "" });
    const back = opener?.isConnected && opener.checkVisibility() ? opener : buttons[number];
    opener = null;
    if (back && numbers.has(back) && !back.classList.contains("out")) focusCell(back);
    else back?.focus();
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  // Releases in commit order.
  const committed = (tag) => {
    const date = releases.find(([known]) => known === tag)?.[1];
    return date ? `, committed ${date}` : "";
  };
  const members = new Map();
  cells.forEach((cell, number) => {
    if (!members.has(cell[GRID])) members.set(cell[GRID], []);
    members.get(cell[GRID]).push(number);
  });
  function strips(grid, only = null, current = null) {
    const marks = new Map();
    const tags = new Set();
    for (const number of members.get(grid) ?? []) {
      const name = cells[number][NAME];
      if (only !== null ? name !== only : !rows[rowOf[number]].shown) continue;
      const tag = columnOf(number)[RELEASE];
      tags.add(tag);
      if (!marks.has(name)) marks.set(name, new Map());
      const row = marks.get(name);
      if (!row.has(tag)) row.set(tag, new Map());
      const bySymbol = row.get(tag);
      const symbol = cells[number][SYMBOL];
      if (!bySymbol.has(symbol)) bySymbol.set(symbol, []);
      bySymbol.get(symbol).push(number);
    }
    const order = releases.filter(([tag]) => tags.has(tag));
    const body = make("tbody", {}, ...[...marks].map(([name, row]) => make("tr", {},
      make("th", { scope: "row" }, names[name]),
      ...order.map(([tag]) => {
        const found = [...row.get(tag) ?? []];
        const marked = found.map(([symbol, list]) => {
          const [key, letters, words] = symbols[symbol];
          const uvs = list.map((number) => columnOf(number)[UV]).join(", ");
          return make(found.length === 1 ? "td" : "button", {
            type: found.length > 1 && "button", class: `c s-${key}`,
            "data-c": list.includes(current) ? current : list[0], "aria-haspopup": "dialog",
            "aria-label": `${letters}: ${words}; uv ${uvs}`, title: `${tag}, uv ${uvs}: ${words}`,
            "aria-current": list.includes(current) && "true",
          }, letters.length > 2 ? letters[0] : letters);
        });
        return found.length === 1 ? marked[0] : make("td", {}, make("div", { class: "marks" }, ...marked));
      }))));
    return make("div", { class: "scroll" }, walkable(make("table", { class: "grid strip", "aria-label": "By release" },
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "release"),
        ...order.map(([tag]) => make("th", { scope: "col", title: `${tag}${committed(tag)}` }, tag)))), body)));
  }
  const plane = $("plane");
  let isNear = false;
  let drawn = "";
  function timeline() {
    const open = grids.map((grid, number) => [grid, number]).filter(([, number]) => planes[number].shown);
    const key = open.map(([, number]) => number).join();
    if (plane.dataset.key !== key) {
      plane.dataset.key = key;
      plane.replaceChildren(...open.map(([grid]) => make("option", {}, grid[TITLE])));
    }
    const [, number] = open.find(([grid]) => grid[TITLE] === state.plane) ?? open[0] ?? [];
    if (number === undefined) { $("strips").replaceChildren(); drawn = ""; return; }
    plane.value = grids[number][TITLE];
    if (!isNear || drawn === `${number} ${asked}`) return;
    drawn = `${number} ${asked}`;
    $("strips").replaceChildren(...strips(number).childNodes);
  }
  plane.addEventListener("change", () => go({ plane: plane.value }));
  // Drawn while somebody is near, or prints.
  function come(near) {
    isNear = near;
    if (near) timeline();
  }
  new IntersectionObserver((entries) => come(entries[entries.length - 1].isIntersecting),
    { rootMargin: "600px" }).observe($("timeline"));
  addEventListener("beforeprint", () => come(true));
  matchMedia("print").addEventListener("change", () => come(true));

  // Controls.
  const say = (words) => { $("said").textContent = words; };
  const RARE = ["linked", "python", "flavour", "kind", "source", "answers", "predicted", "change"];
  const boxes = new Map();
  for (const facet of facets) {
    if (facet.name === "status" || facet.order.length < 2) continue;
    const summary = make("summary", {}, facet.name);
    const fieldset = make("fieldset", {}, make("legend", { class: "unseen" }, facet.name));
    const rare = RARE.includes(facet.name) ? " rare" : "";
    const element = make("details", { class: `facet${rare}`, "data-name": facet.name }, summary, fieldset);
    boxes.set(facet.name, { element, summary, inputs: null });
    const fill = () => {
      const box = boxes.get(facet.name);
      if (box.inputs) return;
      box.inputs = facet.order.filter(Boolean).map((value) => {
        const input = make("input", { type: "checkbox" });
        input.value = value;
        input.addEventListener("change", () => choose(facet.name, value, input.checked));
        fieldset.append(make("label", {}, input, value,
          make("span", { class: "size" }, String(facet.counts[facet.places.get(value)]))));
        return input;
      });
      sync();
    };
    summary.addEventListener("click", fill);
    element.addEventListener("focusout", ({ relatedTarget }) => {
      if (relatedTarget && !element.contains(relatedTarget)) element.open = false;
    });
    $("facets").append(element);
  }
  function sync() {
    for (const [name, { element, summary, inputs }] of boxes) {
      const values = state.chosen.get(name);
      element.classList.toggle("chosen", Boolean(values));
      summary.textContent = values ? `${name}: ${[...values].join(", ")}` : name;
      for (const input of inputs ?? []) input.checked = Boolean(values?.has(input.value));
    }
    for (const button of document.querySelectorAll("button[data-facet]")) {
      const { facet, value } = button.dataset;
      button.setAttribute("aria-pressed", String(Boolean(state.chosen.get(facet)?.has(value))));
    }
    if ($("search").value !== state.q) $("search").value = state.q;
    $("theme").value = state.theme;
    if (state.theme) document.documentElement.dataset.theme = state.theme;
    else delete document.documentElement.dataset.theme;
  }
  $("more").hidden = !document.querySelector(".rare");
  $("more").addEventListener("click", () => {
    const every = $("facets").classList.toggle("every");
    $("more").setAttribute("aria-expanded", String(every));
    $("more").textContent = every ? "Fewer" : "More";
  });
  // What is scrolled to is not to end up beneath the controls.
  new ResizeObserver(([entry]) => {
    const isSticky = getComputedStyle(entry.target).position === "sticky";
    document.documentElement.style.scrollPaddingTop = isSticky ? `${entry.target.offsetHeight + 8}px` : "";
  }).observe(document.querySelector(".controls"));
  $("theme").addEventListener("change", (event) => go({ theme: event.target.value }, true));
  // Typing is one step of the history, however many letters it has.
  let typing = false;
  let waiting = 0;
  $("search").addEventListener("input", (event) => {
    state = { ...state, q: event.target.value };
    clearTimeout(waiting);
    waiting = setTimeout(() => { go({}, typing); typing = true; }, 150);
    requestAnimationFrame(() => { apply(); timeline(); });
  });
  $("search").addEventListener("change", () => {
    clearTimeout(waiting);
    go({}, typing);
    typing = false;
  });
  const clear = () => { go({ q: "", chosen: new Map() }); $("search").focus(); };
  document.addEventListener("click", (event) => {
    const { target } = event;
    for (const { element } of boxes.values()) if (element.open && !element.contains(target)) element.open = false;
    const button = target.closest(".c, [data-c]");
    if (button) {
      const number = numberOf(button);
      if (number === undefined || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      if (!dialog.contains(button)) opener = button;
      go({ cell: cells[number][ID] });
      return;
    }
    const only = target.closest("button[data-facet]");
    if (only) {
      const { facet, value } = only.dataset;
      choose(facet, value, only.getAttribute("aria-pressed") !== "true");
    }
    if (target.closest("#clear, .clear")) clear();
    // A way to a part of the page is no state of its own.
    const way = target.closest("nav a, .skip");
    if (way) {
      event.preventDefault();
      const section = document.querySelector(way.getAttribute("href"));
      section.scrollIntoView();
      const first = way.classList.contains("skip") ? section.querySelector(".c[tabindex='0']") : null;
      (first ?? section).focus({ preventScroll: true });
    }
  });

  document.querySelectorAll("#remedies table").forEach(walkable);
  function render() {
    sync();
    apply();
    timeline();
    showCell();
  }
  function arrive() {
    state = decode(location.hash);
    typing = false;
    render();
  }
  addEventListener("popstate", arrive);
  document.documentElement.classList.add("js");
  for (const element of document.querySelectorAll(".controls, .theme, .only")) element.hidden = false;
  asked = "-";
  arrive();
})();
