import test from "node:test";
import assert from "node:assert/strict";
import { parse, strip } from "./ansi.js";

test("colours and styles become classes, and end where they end", () => {
  assert.deepEqual(parse("a \u001b[1;31mred\u001b[0m b"), [
    { text: "a ", classes: [], color: null, background: null },
    { text: "red", classes: ["ansi-bold", "ansi-fg-1"], color: null, background: null },
    { text: " b", classes: [], color: null, background: null },
  ]);
});

test("256 and 24-bit colours become colours", () => {
  assert.equal(parse("\u001b[38;5;196mx")[0].color, "rgb(255 0 0)");
  assert.equal(parse("\u001b[48;2;1;2;3mx")[0].background, "rgb(1 2 3)");
  assert.deepEqual(parse("\u001b[38;5;9mx")[0].classes, ["ansi-fg-9"]);
});

test("sequences that are no colours, and broken ones, are dropped", () => {
  assert.equal(strip("a\u001b[2Kb\u001b]0;title\u0007c\u001b[31md"), "abcd");
  assert.deepEqual(parse("\u001b[38;9mx")[0].classes, []);
  assert.equal(parse("").length, 0);
});
