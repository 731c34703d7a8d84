// The last gate before text of a model becomes part of the page: only these elements and attributes pass.
// Raw HTML is already off in the renderer, and the page's Content-Security-Policy stands behind both.

import DOMPurify from "dompurify";

const tags = [
  "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "del", "blockquote", "ul", "ol", "li",
  "code", "pre", "a", "span", "div", "button", "table", "thead", "tbody", "tr", "th", "td",
  // What KaTeX writes as MathML.
  "math", "menclose", "merror", "mfrac", "mi", "mlabeledtr", "mmultiscripts", "mn", "mo", "mover", "mpadded",
  "mphantom", "mroot", "mrow", "ms", "mspace", "msqrt", "mstyle", "msub", "msup", "msubsup", "mtable", "mtd", "mtext",
  "mtr", "munder", "munderover", "mprescripts",
]; // prettier-ignore

const attributes = [
  "href", "title", "class", "start", "type", "tabindex", "aria-label", "role",
  "display", "mathvariant", "stretchy", "fence", "separator", "lspace", "rspace", "width", "height", "depth",
  "voffset", "minsize", "maxsize", "accent", "accentunder", "linethickness", "columnalign", "rowspacing",
  "columnspacing", "columnlines", "rowlines", "displaystyle", "scriptlevel", "movablelimits", "symmetric",
  "largeop", "form", "notation", "mathcolor", "mathbackground", "mathsize",
]; // prettier-ignore

/** Whether a link may lead there. */
export function allowedLink(address: string): boolean {
  return /^(?:https?:\/\/|mailto:)/i.test(address);
}

let prepared = false;

function prepare(): void {
  DOMPurify.addHook("afterSanitizeAttributes", (node) => {
    if (node.tagName !== "A") return;
    if (!allowedLink(node.getAttribute("href") ?? "")) node.removeAttribute("href");
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer nofollow");
  });
  prepared = true;
}

export function sanitize(html: string): string {
  if (!prepared) prepare();
  return DOMPurify.sanitize(html, {
    ALLOWED_TAGS: tags,
    ALLOWED_ATTR: attributes,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
  });
}
