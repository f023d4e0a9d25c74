// The lists, in three views: ribbons (Original | Steered), one table, three lists. Rows are made once and rewritten.

const glyphOf = (move) => {
  if (move.before === 0) return { way: "new", text: "NEW" };
  const by = move.before - move.after;
  return by > 0 ? { way: "promote", text: `▲ ${by}` } : by < 0 ? { way: "suppress", text: `▼ ${-by}` } : { way: "none", text: "=" };
};

const spoken = (move) => {
  if (move.before === 0) return `new at ${move.after}, was ${move.rankBefore}`;
  const by = move.before - move.after;
  return by > 0 ? `up ${by} to ${move.after}` : by < 0 ? `down ${-by} to ${move.after}` : `unchanged at ${move.after}`;
};

/** One row: rank, title, year, glyph; a button that opens the item. */
function makeRow(rank, open, withGlyph) {
  const row = {
    item: -1,
    node: make("button", { type: "button", className: "row" }),
    rank: make("span", { className: "rank", text: rank }),
    title: make("bdi", { className: "title", dir: "auto" }),
    year: make("span", { className: "year" }),
    bar: make("span", { className: "bar", "aria-hidden": "true" }),
    was: make("span", { className: "was" }),
    glyph: make("span", { className: "glyph" }),
  };
  row.node.append(row.bar, row.rank, row.title, row.year);
  if (withGlyph) row.node.append(row.was, row.glyph);
  row.node.addEventListener("click", () => row.item >= 0 && open(row.item));
  row.holder = make("li", {}, row.node);
  return row;
}

function fillRow(row, item, items) {
  if (row.item === item) return;
  row.item = item;
  row.node.hidden = item < 0;
  if (item < 0) return;
  const title = items.titles[item];
  setText(row.title, title);
  setText(row.year, items.years[item] === null ? "" : String(items.years[item]));
  row.node.title = [title, items.years[item] ?? "", items.genres[item].map((g) => items.vocabulary[g]).join(", ")].filter(Boolean).join(" · ");
}

function makeColumn(name, n, open, withGlyph = false) {
  const rows = Array.from({ length: n }, (_, r) => makeRow(r + 1, open, withGlyph));
  const head = make("h4", { text: name });
  const list = make("ol", { "aria-label": name }, ...rows.map((r) => r.holder));
  return { node: make("div", { className: "column" }, head, list), rows, head };
}

function makeRibbons(n, open) {
  const original = makeColumn("Original", n, open);
  const steered = makeColumn("Steered", n, open, true);
  original.node.classList.add("original");
  steered.node.classList.add("steered");
  const paths = Array.from({ length: n }, () => makeSvg("path", { "vector-effect": "non-scaling-stroke" }));
  const arrivals = Array.from({ length: n }, () => makeSvg("path", { "vector-effect": "non-scaling-stroke", class: "arrival" }));
  const svg = makeSvg("svg", { viewBox: `0 0 100 ${n}`, preserveAspectRatio: "none", class: "ribbons", "aria-hidden": "true" }, ...paths, ...arrivals);
  const node = make("div", { className: "pair" }, original.node, svg, steered.node);

  function draw(frame, model) {
    frame.original.forEach((item, r) => {
      const row = original.rows[r];
      fillRow(row, item, model.items);
      const after = frame.rankIn.get(item) ?? 0;
      setData(row.node, "gone", String(after === 0));
      setData(row.node, "open", String(item === frame.opened));
      const path = paths[r];
      const y = r + 0.5;
      const end = after - 0.5;
      const d = after ? `M0 ${y}C50 ${y} 50 ${end} 100 ${end}` : `M0 ${y}C14 ${y} 20 ${y + 0.12} 26 ${y + 0.3}`;
      if (path.d0 !== d) path.setAttribute("d", (path.d0 = d));
      setData(path, "way", after === 0 ? "gone" : direction(r + 1 - after));
      setData(path, "open", String(item === frame.opened));
    });
    steered.rows.forEach((row, r) => {
      const item = frame.steered[r] ?? -1;
      fillRow(row, item, model.items);
      const arrival = arrivals[r];
      if (item < 0) return setData(arrival, "way", "hidden");
      const move = frame.moves[r];
      const glyph = glyphOf(move);
      setText(row.glyph, glyph.text);
      setText(row.was, move.before === 0 ? `was ${move.rankBefore}` : "");
      setData(row.node, "way", glyph.way);
      setData(row.node, "open", String(item === frame.opened));
      const label = `${model.items.titles[item]}, ${spoken(move)}`;
      if (row.label !== label) row.node.setAttribute("aria-label", (row.label = label));
      row.bar.style.transform = `scaleX(${frame.lengths[r].toFixed(3)})`;
      const y = r + 0.5;
      const d = `M74 ${y + 0.3}C80 ${y + 0.12} 86 ${y} 100 ${y}`;
      if (arrival.d0 !== d) arrival.setAttribute("d", (arrival.d0 = d));
      setData(arrival, "way", move.before === 0 ? "new" : "hidden");
      return undefined;
    });
    for (let r = frame.original.length; r < n; r++) original.rows[r].node.hidden = true;
  }
  return { node, draw };
}

function makeTable(n, open) {
  const cells = ["now", "title", "year", "genres", "before", "move", "push"];
  const heads = ["Now", "Title", "Year", "Genres", "Before", "Change", "Push"];
  const rows = Array.from({ length: n }, () => {
    const row = { item: -1, cell: {}, node: make("tr") };
    for (const name of cells) row.node.append((row.cell[name] = make("td", { className: name })));
    row.button = make("button", { type: "button", className: "link", dir: "auto", onclick: () => row.item >= 0 && open(row.item) });
    row.cell.title.append(row.button);
    row.glyph = make("span", { className: "glyph" });
    row.cell.move.append(row.glyph);
    return row;
  });
  const head = make("tr", {}, ...heads.map((text, c) => make("th", { text, scope: "col", className: cells[c], title: text === "Push" ? "What the sliders add to the item's score" : null })));
  const node = make("div", { className: "scroll" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows.map((r) => r.node))));

  function draw(frame, model) {
    const digits = digitsFor(Math.max(...frame.moves.map((m) => Math.abs(m.push)), 0));
    rows.forEach((row, r) => {
      const item = frame.steered[r] ?? -1;
      row.node.hidden = item < 0;
      row.item = item;
      if (item < 0) return;
      const move = frame.moves[r];
      const glyph = glyphOf(move);
      setText(row.cell.now, String(r + 1));
      setText(row.button, model.items.titles[item]);
      row.button.title = model.items.titles[item];
      setText(row.cell.year, String(model.items.years[item] ?? "–"));
      setText(row.cell.genres, model.items.genres[item].map((g) => model.items.vocabulary[g]).join(", ") || "–");
      setText(row.cell.before, String(move.rankBefore));
      setText(row.glyph, glyph.text);
      setText(row.cell.push, signed(move.push, digits));
      setData(row.node, "way", glyph.way);
      setData(row.node, "open", String(item === frame.opened));
      setData(row.cell.push, "way", direction(move.push));
    });
  }
  return { node, draw };
}

function makeThree(n, open) {
  const columns = ["Original", "Reconstructed", "Steered"].map((name) => makeColumn(name, n, open));
  columns[1].head.append(make("small", { text: " SAE, no edits" }));
  const tax = make("p", { className: "tax" });
  const node = make("div", { className: "three-box" }, tax, make("div", { className: "three" }, ...columns.map((c) => c.node)));

  function draw(frame, model) {
    const lists = [frame.original, model.reconstructed, frame.steered];
    const inOriginal = new Set(frame.original);
    lists.forEach((list, c) => {
      columns[c].rows.forEach((row, r) => {
        const item = list[r] ?? -1;
        fillRow(row, item, model.items);
        setData(row.node, "way", c > 0 && item >= 0 && !inOriginal.has(item) ? "new" : "none");
        setData(row.node, "open", String(item === frame.opened));
      });
    });
    const lost = model.reconstructed.reduce((sum, item) => sum + !inOriginal.has(item), 0);
    const moved = model.reconstructed.reduce((sum, item, r) => sum + (inOriginal.has(item) && frame.original[r] !== item), 0);
    setText(tax, model.reconstructed.length === 0 ? "No reconstructed list was given." :
      `The SAE alone changes ${lost} of ${frame.original.length}${moved ? ` and shifts ${moved} more` : ""}. ` +
      "Steering keeps what the SAE cannot explain, so this cost is not part of the steered list.");
  }
  return { node, draw };
}
