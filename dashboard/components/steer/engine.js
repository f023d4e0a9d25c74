// The arithmetic of steering: reads the payload, re-scores, ranks. No DOM here.
// `rerank` in __init__.py is the twin of `rescore` + `best`: same order, same float32 rounding, same ties.

/** Read the header that stands before the arrays, as JSON behind its length as a uint32; and where the arrays begin. */
function readHeader(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  return { header: JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))), start: 4 + length };
}

/** Read what `_pack` of the adapter wrote. */
function readPayload(bytes) {
  const { header, start } = readHeader(bytes);
  let at = start;
  const take = (size) => bytes.slice(at, (at += size)); // a copy, so that the arrays are aligned
  const floats = (count) => new Float32Array(take(4 * count).buffer);
  const ints = (count) => new Int32Array(take(4 * count).buffer);
  const nItems = header.nItems;
  const base = floats(nItems);
  const rows = header.neurons.map(() => (header.live ? floats(nItems) : new Float32Array(nItems)));
  const seen = new Uint8Array(nItems);
  for (const item of ints(header.nSeen)) seen[item] = 1;
  const reconstructed = ints(header.nReconstructed);
  const targets = header.neurons.map((x) => (x.target === null ? null : take(nItems))); // 1 for the items that are counted
  const items = JSON.parse(new TextDecoder().decode(bytes.subarray(at)));
  return { ...header, base, rows, seen, reconstructed, targets, items, scores: Float32Array.from(base) };
}

/** Read what `_answer` of the adapter wrote: the scores, and each slider's part of their change. */
function readAnswer(bytes) {
  const { header, start } = readHeader(bytes);
  const floats = (j) => new Float32Array(bytes.slice(start + 4 * j * header.nItems, start + 4 * (j + 1) * header.nItems).buffer);
  return { scores: floats(0), rows: header.answers.map((_, j) => floats(j + 1)), values: header.answers };
}

/** scores = base + sum_j values[j] * rows[j], every product and every sum rounded to float32, in the order of j. */
function rescore(scores, base, rows, values) {
  scores.set(base);
  for (let j = 0; j < rows.length; j++) {
    const value = Math.fround(values[j]);
    if (value === 0) continue;
    const row = rows[j];
    for (let i = 0; i < scores.length; i++) scores[i] += Math.fround(value * row[i]);
  }
  return scores;
}

/** The n best unseen items, best first, equal scores in the order of the item index; one pass with a short sorted list. */
function best(scores, seen, n) {
  const items = new Int32Array(n);
  const values = new Float32Array(n);
  let filled = 0;
  let border = -Infinity;
  for (let i = 0; i < scores.length; i++) {
    const score = scores[i];
    if (!(score > border) || seen[i]) continue;
    let at = filled < n ? filled++ : n - 1;
    while (at > 0 && values[at - 1] < score) {
      values[at] = values[at - 1];
      items[at] = items[at - 1];
      at--;
    }
    values[at] = score;
    items[at] = i;
    if (filled === n) border = values[n - 1];
  }
  return items.subarray(0, filled);
}

/** The 1-based rank of one item among the unseen items; 0 for a seen item. */
function rankOf(item, scores, seen) {
  if (seen[item]) return 0;
  const own = scores[item];
  let rank = 1;
  for (let i = 0; i < scores.length; i++) {
    const score = scores[i];
    if ((score > own || (score === own && i < item)) && !seen[i]) rank++;
  }
  return rank;
}

/** What each neuron adds to one item's score, in float32 as `rescore` adds it. */
function contributionsOf(item, rows, values) {
  return rows.map((row, j) => Math.fround(Math.fround(values[j]) * row[item]));
}
