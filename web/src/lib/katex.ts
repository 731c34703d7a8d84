// Formulas as MathML. KaTeX's HTML needs inline styles, which the page's policy forbids; MathML needs nothing.

import katex from "katex";

export function formula(tex: string, display: boolean): string {
  const html = katex.renderToString(tex, {
    displayMode: display,
    output: "mathml",
    throwOnError: true,
    trust: false,
    strict: "ignore",
    maxSize: 20,
    maxExpand: 200,
  });
  // The annotation repeats the source, which the sanitizer would leave behind as text.
  return html.replace(/<annotation[^>]*>[^<]*<\/annotation>/g, "").replace(/<\/?semantics>/g, "");
}
