// Colours of terminals (SGR sequences) as spans with classes. Text only ever becomes text nodes, so nothing in a log
// can become markup; all other control sequences are left out.

const SEQUENCE = /\x1b(?:\[([0-9;:]*)([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])/g;

function apply(state, parameters) {
  const codes = parameters.split(/[;:]/).map(Number);
  for (let index = 0; index < codes.length; index++) {
    const code = codes[index];
    if (code === 0) Object.assign(state, { color: null, background: null, bold: false, italic: false, underline: false });
    else if (code === 1) state.bold = true;
    else if (code === 3) state.italic = true;
    else if (code === 4) state.underline = true;
    else if (code === 22) state.bold = false;
    else if (code === 23) state.italic = false;
    else if (code === 24) state.underline = false;
    else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) state.color = code;
    else if (code === 39) state.color = null;
    else if ((code >= 40 && code <= 47) || (code >= 100 && code <= 107)) state.background = code;
    else if (code === 49) state.background = null;
    else if (code === 38 || code === 48) index += codes[index + 1] === 5 ? 2 : 4; // 256 and true colours: left out
  }
}

function classes(state) {
  const names = [];
  if (state.color) names.push(`ansi-${state.color}`);
  if (state.background) names.push(`ansi-${state.background}`);
  if (state.bold) names.push("ansi-bold");
  if (state.italic) names.push("ansi-italic");
  if (state.underline) names.push("ansi-underline");
  return names.join(" ");
}

// The pieces of a text: [{text, className}], without any control sequence.
export function pieces(text) {
  if (!text.includes("\x1b")) return [{ text, className: "" }];
  const found = [];
  const state = {};
  let last = 0;
  for (const match of text.matchAll(SEQUENCE)) {
    if (match.index > last) found.push({ text: text.slice(last, match.index), className: classes(state) });
    if (match[2] === "m") apply(state, match[1] || "0");
    last = match.index + match[0].length;
  }
  if (last < text.length) found.push({ text: text.slice(last), className: classes(state) });
  return found;
}

export function plain(text) {
  return text.includes("\x1b") ? text.replace(SEQUENCE, "") : text;
}
