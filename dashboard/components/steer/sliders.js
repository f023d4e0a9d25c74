// The panel of sliders: native range and number inputs, so that keyboard and screen readers work as everywhere.

/** Build the panel. `on`: { input(), release(coalesce), mute(j), remove(neuron), add(), undo(), redo(), reset() }. */
function makeSliders(on) {
  const button = (name, path, handler) =>
    make("button", { type: "button", className: "tool", "aria-label": name, title: name, onclick: handler }, icon(path));
  const undo = button("Undo (Ctrl+Z)", ICONS.undo, on.undo);
  const redo = button("Redo (Ctrl+Shift+Z)", ICONS.redo, on.redo);
  const reset = make("button", { type: "button", className: "tool wide", text: "Reset", title: "All sliders to zero", onclick: on.reset });
  const chips = make("div", { className: "chips", role: "group", "aria-label": "Concept in hand" });
  const rows = make("div", { className: "rows" });
  const add = make("button", { type: "button", className: "add", onclick: on.add }, icon(ICONS.plus), "Add a concept");
  const empty = make(
    "div", { className: "empty" },
    make("strong", { text: "No concept chosen yet" }),
    make("p", { text: "Add a concept to move this list: promote what it should show more of, suppress what it should show less of." }),
  );
  const node = make(
    "section", { className: "sliders card", "aria-label": "Concepts" },
    make("header", {}, make("h3", { text: "Concepts" }), make("div", { className: "tools" }, undo, redo, reset)),
    empty, chips, rows, add,
  );
  let sliders = [];

  function choose(index) {
    sliders.forEach((s, j) => {
      setData(s.node, "chosen", String(j === index));
      s.chip.setAttribute("aria-pressed", String(j === index));
    });
  }

  function build(neurons, limit, step) {
    sliders = neurons.map((neuron, j) => makeSlider(neuron, j, limit, step, on, () => choose(j)));
    rows.replaceChildren(...sliders.map((s) => s.node));
    chips.replaceChildren(...sliders.map((s) => s.chip));
    empty.hidden = neurons.length > 0;
    chips.hidden = neurons.length < 2;
    choose(0);
  }

  /** Draw the values; `skip` is the number input that is being typed into. */
  function draw(state) {
    sliders.forEach((slider, j) => slider.draw(state.values[j], state.muted[j]));
    undo.disabled = !state.canUndo;
    redo.disabled = !state.canRedo;
    reset.disabled = state.values.every((v) => v === 0);
    add.hidden = !state.canAdd;
  }

  return { node, build, draw };
}

function makeSlider(neuron, j, limit, step, on, choose) {
  const { label, unit, activation } = neuron;
  const id = `#${neuron.neuron}`;
  const range = make("input", {
    type: "range", min: -limit, max: limit, step, "aria-label": `${label}, strength`, title: "Double-click for zero",
  });
  const number = make("input", {
    type: "number", min: -limit, max: limit, step, inputmode: "decimal", "aria-label": `${label}, times strong`,
  });
  const fill = make("span", { className: "fill" });
  const own = clamp(activation / unit, limit);
  const ownText = activation > 0 ? `This viewer's own activation: ${(activation / unit).toFixed(2)}× strong` : "Does not fire in this viewer";
  const tick = make("span", { className: "own", title: ownText, style: `left:${50 + (50 * own) / limit}%` });
  tick.hidden = !(activation > 0);
  const track = make("div", { className: "track" }, make("span", { className: "rail" }, make("span", { className: "zero" }), fill, tick), range);
  const word = make("span", { className: "word" });
  const raw = make("span", { className: "raw" });
  const mute = make("button", { type: "button", className: "tool", onclick: () => on.mute(j) });
  const remove = make(
    "button",
    { type: "button", className: "tool", "aria-label": `Remove ${label}`, title: "Remove this concept", onclick: () => on.remove(neuron.neuron) },
    icon(ICONS.close),
  );
  const title = make("bdi", { className: "label", dir: "auto", text: label, title: label });
  const node = make(
    "div", { className: "slider", role: "group", "aria-label": `${label} ${id}` },
    make("div", { className: "head" }, title, make("span", { className: "id", text: id }), mute, remove),
    track,
    make("div", { className: "foot" }, number, make("span", { className: "unit", text: "× strong" }), word, raw),
  );
  const chip = make("button", { type: "button", className: "chip", "aria-pressed": "false", onclick: choose }, make("bdi", { dir: "auto", text: label }), make("span", { className: "amount" }));

  const limited = (strength) => clamp(strength, limit) * unit;
  range.addEventListener("input", () => on.input(j, limited(Number(range.value))));
  range.addEventListener("change", () => on.release(j));
  range.addEventListener("dblclick", () => { on.input(j, 0); on.release(j); });
  number.addEventListener("input", () => {
    if (number.value !== "" && Number.isFinite(number.valueAsNumber)) on.input(j, limited(number.valueAsNumber), number);
  });
  number.addEventListener("change", () => on.release(j));
  number.addEventListener("blur", () => draw(shown.value, shown.muted, true));
  node.addEventListener("focusin", choose);

  const shown = { value: NaN, muted: null };
  function draw(value, muted, force = false) {
    if (value === shown.value && muted === shown.muted && !force) return;
    shown.value = value;
    shown.muted = muted;
    const strength = value / unit;
    const way = direction(value);
    const typing = number.matches(":focus") && number.valueAsNumber * unit === value;
    range.value = strength;
    if (!typing) number.value = Number(strength.toFixed(2));
    range.setAttribute("aria-valuetext", `${signed(strength)} times strong${muted ? ", muted" : ""}`);
    const half = (50 * Math.abs(strength)) / limit;
    fill.style.left = `${strength < 0 ? 50 - half : 50}%`;
    fill.style.width = `${half}%`;
    setData(node, "way", way);
    setData(node, "muted", String(muted));
    setText(word, muted ? "muted" : { promote: "▲ promote", suppress: "▼ suppress", none: "no change" }[way]);
    setText(raw, signed(value, digitsFor(limit * unit)));
    raw.title = `Added activation ${signed(value, 6)}. ${ownText}.`;
    setData(chip, "way", muted ? "none" : way);
    setText(chip.lastChild, value === 0 ? "" : `${signed(strength, 1)}×`);
    mute.setAttribute("aria-pressed", String(muted));
    mute.setAttribute("aria-label", `${muted ? "Unmute" : "Mute"} ${label}`);
    mute.title = muted ? "Let this slider act again" : "Leave the slider where it is, without effect";
    if (mute.icon !== muted) mute.replaceChildren(icon(muted ? ICONS.muted : ICONS.sound));
    mute.icon = muted;
  }
  return { node, chip, draw };
}
