// Turns the colours of a terminal (ECMA-48 SGR sequences) into runs of text with classes. Other sequences are dropped.
const SEQUENCE = /\u001b\[([0-9;]*)([A-Za-z])|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)|\u001b./g;

// parse returns [{text, classes, color, background}], the last two only for colours that have no class.
export function parse(line) {
  const runs = [];
  let style = {};
  let at = 0;
  const push = (text) => { if (text) runs.push({ text, ...present(style) }); };
  for (const match of line.matchAll(SEQUENCE)) {
    push(line.slice(at, match.index));
    at = match.index + match[0].length;
    if (match[2] === "m") style = apply(style, match[1]);
  }
  push(line.slice(at));
  return runs;
}

// strip returns the text alone.
export function strip(line) {
  return line.replace(SEQUENCE, "");
}

function present(style) {
  const classes = [];
  for (const name of ["bold", "dim", "italic", "underline"]) if (style[name]) classes.push(`ansi-${name}`);
  if (typeof style.fg === "number") classes.push(`ansi-fg-${style.fg}`);
  if (typeof style.bg === "number") classes.push(`ansi-bg-${style.bg}`);
  return {
    classes,
    color: typeof style.fg === "string" ? style.fg : null,
    background: typeof style.bg === "string" ? style.bg : null,
  };
}

const FLAGS = { 1: ["bold", true], 2: ["dim", true], 3: ["italic", true], 4: ["underline", true], 23: ["italic", false], 24: ["underline", false] };

function apply(old, params) {
  const codes = params === "" ? [0] : params.split(";").map(Number);
  let style = { ...old };
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i];
    if (code === 0) style = {};
    else if (code in FLAGS) style[FLAGS[code][0]] = FLAGS[code][1];
    else if (code === 22) style.bold = style.dim = false;
    else if (code >= 30 && code <= 37) style.fg = code - 30;
    else if (code >= 90 && code <= 97) style.fg = code - 82;
    else if (code >= 40 && code <= 47) style.bg = code - 40;
    else if (code >= 100 && code <= 107) style.bg = code - 92;
    else if (code === 39) delete style.fg;
    else if (code === 49) delete style.bg;
    else if (code === 38 || code === 48) {
      const [color, used] = extended(codes.slice(i + 1));
      if (color !== null) style[code === 38 ? "fg" : "bg"] = color;
      i += used;
    }
  }
  return style;
}

// extended reads what follows 38 or 48: 5;N of 256 colours, or 2;R;G;B.
function extended(rest) {
  if (rest[0] === 5) return [indexed(rest[1]), 2];
  if (rest[0] === 2) return [`rgb(${rest.slice(1, 4).map((n) => Math.min(255, n || 0)).join(" ")})`, 4];
  return [null, 0];
}

function indexed(n) {
  if (!(n >= 0 && n <= 255)) return null;
  if (n < 16) return n;
  if (n >= 232) { const v = 8 + (n - 232) * 10; return `rgb(${v} ${v} ${v})`; }
  const level = (x) => (x === 0 ? 0 : 55 + 40 * x);
  const c = n - 16;
  return `rgb(${level(Math.floor(c / 36))} ${level(Math.floor(c / 6) % 6)} ${level(c % 6)})`;
}
