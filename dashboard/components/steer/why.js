// Why one item moved: a waterfall from its original score over the push of each neuron to its new score. They sum to it.

function makeWhy(close) {
  const kicker = make("span", { className: "kicker" });
  const title = make("bdi", { className: "what", dir: "auto" });
  const ranks = make("p", { className: "ranks" });
  const steps = make("ol", { className: "steps" });
  const closer = make("button", { type: "button", className: "tool", "aria-label": "Close", title: "Close", onclick: close }, icon(ICONS.close));
  const shares = make("p", { className: "hint", text: "Scores of this recommender do not add up slider by slider: each push is its fair share (Shapley value) of the whole change." });
  const body = make("div", { className: "body" }, title, ranks, steps, shares);
  const hint = make("p", { className: "hint", text: "Move a slider, or open a title, to see what pushed it." });
  const node = make("section", { className: "why card", "aria-label": "Why it moved" }, make("header", {}, make("h3", { text: "Why it moved" }), kicker, closer), hint, body);
  let lines = [];

  function build(neurons, live) {
    shares.hidden = live;
    lines = [{ name: "Original score", kind: "start" }, ...neurons.map((x) => ({ name: x.label, kind: "step" })), { name: "Sum of pushes", kind: "sum" }, { name: "New score", kind: "end" }].map((line) => {
      const bar = make("span", { className: "step-bar" });
      const value = make("span", { className: "amount" });
      const name = make("bdi", { className: "name", dir: "auto", text: line.name, title: line.name });
      const row = make("li", { className: `step ${line.kind}` }, name, value, make("span", { className: "axis", "aria-hidden": "true" }, bar));
      return { ...line, row, bar, value };
    });
    steps.replaceChildren(...lines.map((l) => l.row));
  }

  function draw(detail, pinned, n) {
    body.hidden = detail === null;
    hint.hidden = detail !== null;
    closer.hidden = !pinned;
    setText(kicker, detail !== null && !pinned ? "biggest change" : "");
    if (detail === null) return;
    setText(title, detail.title);
    title.title = detail.title;
    const after = detail.rankAfter > n ? `${detail.rankAfter}, outside the top ${n}` : `${detail.rankAfter}`;
    setText(ranks, `Rank ${detail.rankBefore} → ${after}`);
    const totals = [detail.score];
    for (const push of detail.pushes) totals.push(totals[totals.length - 1] + push);
    const low = Math.min(...totals);
    const high = Math.max(...totals);
    const span = high - low || 1;
    const digits = Math.min(6, Math.max(2, digitsFor(span / 2)));
    const place = (bar, a, b) => {
      bar.style.left = `${(96 * (Math.min(a, b) - low)) / span}%`;
      bar.style.width = `${Math.max(3, (96 * Math.abs(a - b)) / span)}%`;
    };
    lines.forEach((line, at) => {
      if (line.kind === "start") {
        place(line.bar, totals[0], totals[0]);
        setText(line.value, plain(detail.score, digits));
      } else if (line.kind === "end") {
        place(line.bar, detail.newScore, detail.newScore);
        setText(line.value, plain(detail.newScore, digits));
      } else {
        const push = line.kind === "sum" ? totals[totals.length - 1] - totals[0] : detail.pushes[at - 1];
        if (line.kind === "sum") place(line.bar, totals[0], totals[totals.length - 1]);
        else place(line.bar, totals[at - 1], totals[at]);
        setData(line.row, "way", direction(push));
        setText(line.value, signed(push, digits));
        line.row.hidden = line.kind === "step" && push === 0;
      }
    });
  }
  return { node, build, draw };
}
