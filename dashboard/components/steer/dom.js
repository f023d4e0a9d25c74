// Small tools for building elements. Data only ever becomes text nodes and attributes, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element: properties by name (`class`, `text`, `on*` handlers, anything else an attribute), then children. */
function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name === "className" ? "class" : name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

function makeSvg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** A 16 px line icon. */
const icon = (path) =>
  makeSvg("svg", { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true" }, makeSvg("path", { d: path }));

const ICONS = {
  sound: "M2.5 6.2v3.6h2.3L8 12.6V3.4L4.8 6.2zM10.6 5.6a3.4 3.4 0 0 1 0 4.8M12.4 3.8a6 6 0 0 1 0 8.4",
  muted: "M2.5 6.2v3.6h2.3L8 12.6V3.4L4.8 6.2zM10.6 6.2l3.4 3.6M14 6.2l-3.4 3.6",
  close: "M4 4l8 8M12 4l-8 8",
  undo: "M5.6 3.2L2.8 6l2.8 2.8M3 6h6.2a3.6 3.6 0 0 1 0 7.2H6",
  redo: "M10.4 3.2L13.2 6l-2.8 2.8M13 6H6.8a3.6 3.6 0 0 0 0 7.2H10",
  plus: "M8 3v10M3 8h10",
};

/** Write text and attributes only where they changed: a frame then touches only the rows that moved. */
function setText(node, text) {
  if (node.shown !== text) node.textContent = node.shown = text;
}
function setData(node, name, value) {
  if (node.dataset[name] !== value) node.dataset[name] = value;
}

const MINUS = "−";

/** A number with its sign: "+1.20", "−0.35", "0". */
function signed(value, digits = 2) {
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? "0" : (value < 0 ? MINUS : "+") + text;
}

/** A plain number with a true minus. */
const plain = (value, digits) => value.toFixed(digits).replace("-", MINUS);

/** Digits after the point that show about three figures of numbers of this size. */
const digitsFor = (size) => (size > 0 ? Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(size)))) : 2);

const clamp = (value, limit) => Math.min(limit, Math.max(-limit, value));

/** "promote", "suppress" or "none": the name of the direction, which the style sheet colours. */
const direction = (value) => (value > 0 ? "promote" : value < 0 ? "suppress" : "none");
