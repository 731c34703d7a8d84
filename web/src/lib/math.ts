// Formulas between \( \), \[ \] and $$ $$. A single $ is a dollar: "from $5 to $8" stays text.

import type { MarkdownIt, StateBlock, StateInline } from "markdown-it";

const pairs = [
  { open: "\\(", close: "\\)", display: false },
  { open: "\\[", close: "\\]", display: true },
  { open: "$$", close: "$$", display: true },
] as const;

/** Longer formulas stay text: without a bound, many openings without an end would take quadratic time. */
const longest = 5000;

function inlineRule(state: StateInline, silent: boolean): boolean {
  const { src, pos, posMax } = state;
  const pair = pairs.find((p) => src.startsWith(p.open, pos));
  if (!pair) return false;
  const begin = pos + pair.open.length;
  const length = src.slice(begin, Math.min(posMax, begin + longest)).indexOf(pair.close);
  if (length < 0 || src.slice(begin, begin + length).trim() === "") return false;
  if (!silent) {
    const token = state.push(pair.display ? "math_display" : "math_inline", "", 0);
    token.content = src.slice(begin, begin + length);
    token.markup = pair.open;
  }
  state.pos = begin + length + pair.close.length;
  return true;
}

function blockRule(state: StateBlock, startLine: number, endLine: number, silent: boolean): boolean {
  const line = (n: number) => state.src.slice(state.bMarks[n]! + state.tShift[n]!, state.eMarks[n]!);
  if (state.sCount[startLine]! - state.blkIndent >= 4) return false;
  const first = line(startLine);
  const pair = pairs.find((p) => p.display && first.startsWith(p.open));
  if (!pair) return false;
  const begin = state.bMarks[startLine]! + state.tShift[startLine]! + pair.open.length;
  if (!state.src.slice(begin, begin + longest).includes(pair.close)) return false;
  let content = "";
  for (let n = startLine; n < endLine && content.length < longest; n++) {
    if (n > startLine && state.sCount[n]! < state.blkIndent && !state.isEmpty(n)) return false;
    const text = n === startLine ? first.slice(pair.open.length) : line(n);
    const end = text.indexOf(pair.close);
    if (end < 0) {
      content += text + "\n";
      continue;
    }
    // Something follows: the formula is part of a sentence.
    if (text.slice(end + pair.close.length).trim() !== "") return false;
    content += text.slice(0, end);
    if (content.trim() === "") return false;
    if (silent) return true;
    const token = state.push("math_display", "", 0);
    token.block = true;
    token.content = content;
    token.markup = pair.open;
    token.map = [startLine, n + 1];
    state.line = n + 1;
    return true;
  }
  return false;
}

/** Teaches markdown-it the formulas; `draw` turns one into HTML. */
export function math(md: MarkdownIt, draw: (tex: string, display: boolean) => string): void {
  md.inline.ruler.before("escape", "math", inlineRule);
  md.block.ruler.before("fence", "math", blockRule, { alt: ["paragraph", "reference", "blockquote", "list"] });
  md.renderer.rules.math_inline = (tokens, i) => draw(tokens[i]!.content, false);
  md.renderer.rules.math_display = (tokens, i) => {
    const html = draw(tokens[i]!.content, true);
    return tokens[i]!.block ? `<p class="formula" tabindex="0">${html}</p>\n` : html;
  };
}
