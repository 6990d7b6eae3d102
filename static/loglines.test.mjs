import test from "node:test";
import assert from "node:assert/strict";
import { BLOCK, LogLines, MAX_HEIGHT, Place } from "./loglines.js";

test("lines that are not here are asked for by block, once", () => {
  const lines = new LogLines();
  lines.put(3 * BLOCK, ["x"], 10 * BLOCK);
  assert.deepEqual(lines.missing(BLOCK - 1, 2 * BLOCK + 1), [0, BLOCK, 2 * BLOCK]);
  assert.deepEqual(lines.missing(3 * BLOCK, 3 * BLOCK + 1), []);
  assert.deepEqual(lines.missing(3 * BLOCK, 3 * BLOCK + 2), [3 * BLOCK]);
  assert.deepEqual(lines.missing(-5, 0), []);
});

test("a line that grew replaces itself", () => {
  const lines = new LogLines();
  lines.put(0, ["one", "tw"], 2);
  lines.put(1, ["two", "three"], 3);
  assert.deepEqual([0, 1, 2].map((n) => lines.get(n)), ["one", "two", "three"]);
  assert.equal(lines.total, 3);
});

test("blocks far from the view are forgotten when there are many", () => {
  const lines = new LogLines();
  for (let b = 0; b < 100; b++) lines.put(b * BLOCK, ["x"], 100 * BLOCK);
  lines.forget(0);
  assert.equal(lines.get(0), "x");
  assert.equal(lines.get(99 * BLOCK), undefined);
});

test("every line of a log that is too tall for a browser can be reached", () => {
  const place = new Place(10_000_000, 20, 600);
  assert.equal(place.height, MAX_HEIGHT);
  assert.equal(Math.round(place.offset(place.height - 600)), 10_000_000 * 20 - 600);
  const line = 7_654_321;
  const top = place.offset(place.scrollTo(line));
  assert.ok(top <= line * 20 && line * 20 <= top + 600);
});
