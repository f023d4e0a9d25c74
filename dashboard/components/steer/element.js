// The element: holds the values, re-ranks once a frame while a thumb moves, tells Python only when it is released.
//
// Several mounts share this module. One brings the payload (bytes, the same between reruns and so sent once), one the
// element with its few settings, and where the scores are not linear one the server's answer to the released values.
// They find each other by `slot` in a store of the window.

const STORE = (globalThis[Symbol.for("steerlens.steer")] ??= { payloads: new Map(), answers: new Map(), waiting: new Map() });
const elements = new WeakMap();
const SEND_EVERY_MS = 250;
const SAME_GESTURE_MS = 700;
const HISTORY = 100;

function store(bytes) {
  const { slot, core, answers } = readHeader(bytes).header;
  if (answers) STORE.answers.set(slot, { core, ...readAnswer(bytes) });
  else if (STORE.payloads.get(slot)?.core === core) return;
  else STORE.payloads.set(slot, { core, bytes });
  STORE.waiting.get(slot)?.();
}

function makeElement(parent) {
  let control = null; // what Python said last: slot, core, version, start, limit, step, canAdd
  let model = null; // the payload, read
  let channel = null;
  let values = [];
  let muted = [];
  let original = null;
  let originalRank = new Map();
  let opened = -1;
  let view = "ribbons";
  let past = [];
  let future = [];
  let settled = "";
  let lastRelease = { j: -1, at: -Infinity };
  let frameAsked = 0;
  let sendTimer = 0;
  let sentAt = -Infinity;
  let views = {};
  let adopted = null; // the version whose start values were taken over

  const sliders = makeSliders({
    input(j, value) {
      values[j] = value;
      muted[j] = false;
      ask();
    },
    release: (j) => release(j),
    mute(j) {
      muted[j] = !muted[j];
      release(-1);
    },
    remove: (neuron) => channel.setTriggerValue("event", { kind: "remove", neuron }),
    add: () => channel.setTriggerValue("event", { kind: "add", neuron: null }),
    undo,
    redo,
    reset() {
      values.fill(0);
      muted.fill(false);
      release(-1);
    },
  });
  const why = makeWhy(() => open(-1));
  const facts = Object.fromEntries(["kept", "fresh", "target"].map((name) => {
    const value = make("strong");
    const label = make("span");
    return [name, { value, label, node: make("div", { className: `fact ${name}` }, label, value) }];
  }));
  const speed = make("span", { className: "speed" });
  const caption = make("p", { className: "caption" });
  const live = make("p", { className: "hidden-live", role: "status" });
  const departed = make("p", { className: "departed" });
  const stage = make("div", { className: "stage" });
  const tabs = Object.fromEntries([["ribbons", "Ribbons"], ["table", "Table"], ["three", "Three lists"]].map(([name, text]) => [
    name, make("button", { type: "button", text, "aria-pressed": "false", onclick: () => switchTo(name) }),
  ]));
  const lists = make(
    "section", { className: "lists card", "aria-label": "Recommendations" },
    make("header", {}, make("h3", { text: "Recommendations" }), make("div", { className: "switch", role: "group", "aria-label": "View" }, ...Object.values(tabs))),
    caption, stage, departed, speed,
  );
  const numbers = make("section", { className: "numbers card", "aria-label": "What changed" }, ...Object.values(facts).map((f) => f.node));
  const root = make(
    "div", { className: "steer" },
    make("div", { className: "grid" }, sliders.node, lists, make("aside", { className: "side" }, numbers, why.node)), live,
  );
  root.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
    const key = event.key.toLowerCase();
    if (key === "z" && !event.shiftKey) undo();
    else if (key === "y" || (key === "z" && event.shiftKey)) redo();
    else return;
    event.preventDefault();
  });
  parent.append(root);

  const effective = () => values.map((v, j) => (muted[j] ? 0 : v));
  const snapshot = () => JSON.stringify([values, muted]);

  function restore(text) {
    const [oldValues, oldMuted] = JSON.parse(text);
    values = oldValues;
    muted = oldMuted;
    settled = text;
    ask();
    send();
  }
  function undo() {
    const entered = snapshot() === settled; // otherwise only what is being typed is taken back
    if (entered && past.length === 0) return;
    if (entered) future.push(settled);
    lastRelease.j = -1;
    restore(entered ? past.pop() : settled);
  }
  function redo() {
    if (future.length === 0) return;
    past.push(settled);
    lastRelease.j = -1;
    restore(future.pop());
  }

  /** A value was let go: remember the state before it (key presses of one gesture count once), tell Python. */
  function release(j) {
    const now = snapshot();
    const at = performance.now();
    if (now !== settled) {
      const sameGesture = j >= 0 && j === lastRelease.j && at - lastRelease.at < SAME_GESTURE_MS;
      if (!sameGesture) past = [...past.slice(1 - HISTORY), settled];
      future = [];
      settled = now;
      send();
    }
    lastRelease = { j, at };
    ask();
  }

  function send() {
    if (sendTimer) return;
    sendTimer = setTimeout(() => {
      sendTimer = 0;
      sentAt = performance.now();
      channel.setStateValue("released", { core: model.core, version: control.version, values: effective() });
    }, Math.max(0, sentAt + SEND_EVERY_MS - performance.now()));
  }

  function ask() {
    if (!frameAsked) frameAsked = requestAnimationFrame(draw);
  }

  function open(item) {
    opened = item === opened ? -1 : item;
    draw();
    if (opened >= 0) why.node.scrollIntoView({ block: "nearest" });
  }

  function switchTo(name) {
    view = name;
    for (const [other, tab] of Object.entries(tabs)) tab.setAttribute("aria-pressed", String(other === name));
    if (model) stage.replaceChildren(views[view].node);
    root.dataset.view = name;
    ask();
  }

  function draw() {
    cancelAnimationFrame(frameAsked);
    frameAsked = 0;
    if (!model) return;
    const began = performance.now();
    const now = effective();
    const { rows, factors, still, waiting } = model.live ? computed(now) : answered(now);
    const { scores, base, seen, n } = model;
    const steered = best(scores, seen, n);
    const rankIn = new Map();
    steered.forEach((item, r) => rankIn.set(item, r + 1));
    const moves = Array.from(steered, (item, r) => {
      const before = originalRank.get(item) ?? 0; // 0: not in the original list
      return { item, after: r + 1, before, rankBefore: before || rankOf(item, base, seen), push: scores[item] - base[item] };
    });
    const gone = Array.from(original).filter((item) => !rankIn.has(item));
    const top = steered.length ? scores[steered[0]] : 0;
    const span = steered.length ? top - scores[steered[steered.length - 1]] || 1 : 1;
    const lengths = moves.map((m) => 0.12 + 0.88 * (1 - (top - scores[m.item]) / span));
    const shownItem = opened >= 0 ? opened : biggest(moves);
    views[view].draw({ original, steered, moves, rankIn, lengths, opened, still }, model);
    sliders.draw({ values, muted, canUndo: past.length > 0, canRedo: future.length > 0, canAdd: control.canAdd });
    why.draw(shownItem < 0 ? null : {
      title: model.items.titles[shownItem], score: base[shownItem], newScore: scores[shownItem],
      pushes: contributionsOf(shownItem, rows, factors),
      rankBefore: rankOf(shownItem, base, seen), rankAfter: rankOf(shownItem, scores, seen),
    }, opened >= 0, n);
    drawFacts(steered, gone, still, mostMoved(now), waiting);
    root.toggleAttribute("data-waiting", waiting);
    const titles = `${model.nItems.toLocaleString("en")} titles`;
    setText(speed, model.live ? `${titles} re-ranked in ${(performance.now() - began).toFixed(1)} ms` : `${titles} ranked by the server`);
  }

  /** Re-score here: every slider adds its value times its row. */
  function computed(now) {
    rescore(model.scores, model.base, model.rows, now);
    return { rows: model.rows, factors: now, still: now.every((v) => v === 0), waiting: false };
  }

  /** Take the server's last answer; it may still be about older values. */
  function answered(now) {
    const answer = STORE.answers.get(control.slot);
    const known = answer?.core === model.core;
    if (known) model.scores = answer.scores;
    const about = known ? answer.values : now.map(() => 0);
    return {
      rows: known ? answer.rows : model.rows,
      factors: now.map(() => 1),
      still: about.every((v) => v === 0),
      waiting: !known || now.some((v, j) => Math.abs(v - about[j]) > 1e-9 * model.neurons[j].unit),
    };
  }

  function biggest(moves) {
    let choice = -1;
    let most = 0;
    for (const move of moves) {
      const by = move.before === 0 ? model.n + 1 - move.after : Math.abs(move.before - move.after);
      if (by > most) [most, choice] = [by, move.item];
    }
    return choice;
  }

  /** The slider that is furthest from zero, in units of strong; the first one at rest, -1 without sliders. */
  function mostMoved(now) {
    const far = now.map((v, j) => Math.abs(v) / model.neurons[j].unit);
    return far.indexOf(Math.max(...far));
  }

  function drawFacts(steered, gone, still, focus, waiting) {
    const total = original.length;
    const kept = total - gone.length;
    setText(facts.kept.label, "Kept");
    setText(facts.kept.value, `${kept} of ${total}`);
    setText(facts.fresh.label, "New");
    setText(facts.fresh.value, String(steered.length - kept));
    const target = model.targets[focus] ?? null;
    facts.target.node.hidden = target === null;
    if (target !== null) {
      const count = (list) => list.reduce((sum, item) => sum + target[item], 0);
      setText(facts.target.label, `${model.neurons[focus].target} in the list`);
      setText(facts.target.value, `${count(original)} → ${count(steered)} of ${total}`);
    }
    setText(caption, waiting ? "Let go, and the server ranks anew." : still ? `Sliders at zero: the original list, ${kept} of ${total} the same.` : "Open a title to see what moved it.");
    const names = gone.map((item) => model.items.titles[item]);
    const key = gone.join();
    if (departed.key !== key) {
      departed.key = key;
      departed.replaceChildren(make("span", { text: gone.length ? "Left the list:" : "Left the list: nothing." }), ...gone.map((item, g) =>
        make("button", { type: "button", className: "left", title: names[g], onclick: () => open(item) },
          make("bdi", { dir: "auto", text: names[g] }), make("span", { className: "was" })),
      ));
    }
    gone.forEach((item, g) => setText(departed.children[g + 1].lastChild, `now ${rankOf(item, model.scores, model.seen)}`));
    if (!root.querySelector("input[type=range]:active")) {
      setText(live, still ? caption.textContent : `${kept} of ${total} kept, ${steered.length - kept} new.`);
    }
  }

  /** Take a payload and the settings over, as far as they are new. */
  function take() {
    const stored = STORE.payloads.get(control.slot);
    if (!stored || stored.core !== control.core) return; // it will come: `store` calls again
    const newData = model?.core !== control.core;
    const newValues = newData || adopted !== control.version;
    if (newData) {
      model = readPayload(stored.bytes);
      original = best(model.base, model.seen, model.n);
      originalRank = new Map(Array.from(original, (item, r) => [item, r + 1]));
      opened = -1;
      sliders.build(model.neurons, control.limit, control.step);
      why.build(model.neurons, model.live);
      views = { ribbons: makeRibbons(model.n, open), table: makeTable(model.n, open), three: makeThree(model.n, open) };
      departed.key = null;
      switchTo(view);
      root.dataset.ready = "";
    }
    if (newValues) {
      const sameSliders = !newData;
      const before = settled;
      values = [...control.start];
      muted = values.map(() => false);
      settled = snapshot();
      past = sameSliders && before !== settled ? [...past, before] : [];
      future = [];
      adopted = control.version;
    }
    ask();
  }

  function update(component) {
    channel = component;
    if (control && control.slot !== component.data.slot) STORE.waiting.delete(control.slot);
    control = component.data;
    STORE.waiting.set(control.slot, take);
    root.dataset.theme = isDark(root) ? "dark" : "light";
    take();
  }

  function destroy() {
    cancelAnimationFrame(frameAsked);
    clearTimeout(sendTimer);
    if (STORE.waiting.get(control?.slot) === take) STORE.waiting.delete(control.slot);
    elements.delete(parent);
    root.remove();
  }
  return { update, destroy };
}

/** Whether the page's background is dark: the readable tints of promote and suppress differ. */
function isDark(node) {
  const probe = make("span", { style: "color: var(--st-background-color, #fff)" });
  node.append(probe);
  const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
  probe.remove();
  return 0.299 * r + 0.587 * g + 0.114 * b < 128;
}

export default function (component) {
  const { data, parentElement } = component;
  if (data instanceof Uint8Array) {
    store(data);
    return undefined;
  }
  let element = elements.get(parentElement);
  if (!element) elements.set(parentElement, (element = makeElement(parentElement)));
  element.update(component);
  return element.destroy;
}
