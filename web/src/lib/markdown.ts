// Markdown of a model as HTML, block by block, so that of a growing answer only the last block changes.

import MarkdownIt from "markdown-it";
import type { Env as BaseEnv, MarkdownIt as Parser, Token } from "markdown-it";
import { math } from "./math";
import { allowedLink, sanitize } from "./sanitize";

/** What is loaded when an answer first needs it, and asked for through `need`. */
export interface Extras {
  /** Draws a formula as MathML; throws on a faulty one. */
  formula?: (tex: string, display: boolean) => string;
  /** Colors code as HTML; undefined for a language it doesn't know. */
  highlight?: (code: string, language: string) => string | undefined;
}

export interface Words {
  copy: string;
  image: string;
  code: string;
  table: string;
}

interface Env extends BaseEnv {
  words: Words;
  /** The last block is still being written: coloring it anew at each piece would be waste. */
  open: boolean;
}

export class Markdown {
  private readonly md: Parser;
  private readonly clean = new Memo<string, string>(2000);
  private readonly drawn = new Memo<string, string>(1000);

  constructor(
    private readonly extras: Extras,
    private readonly need: (what: keyof Extras) => void = () => undefined,
  ) {
    this.md = new MarkdownIt({ html: false, linkify: true, breaks: false, typographer: false });
    this.md.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
    this.md.validateLink = allowedLink;
    math(this.md, (tex, display) => this.formula(tex, display));
    this.rules();
  }

  /** The blocks of a text as safe HTML. */
  blocks(text: string, words: Words, growing = false): string[] {
    const env: Env = { words, open: false };
    const groups = group(this.md.parse(text, env));
    return groups.map((tokens, i) => {
      env.open = growing && i === groups.length - 1;
      const html = this.md.renderer.render(tokens, this.md.options, env);
      return env.open ? sanitize(html) : this.clean.get(html, () => sanitize(html));
    });
  }

  private rules(): void {
    const { rules } = this.md.renderer;
    rules.image = (tokens, i, _options, env) => this.image(tokens[i]!, env as Env);
    rules.fence = (tokens, i, _options, env) => {
      const language = tokens[i]!.info.trim().split(/\s+/)[0] ?? "";
      return this.code(tokens[i]!.content, language, env as Env);
    };
    rules.code_block = (tokens, i, _options, env) => this.code(tokens[i]!.content, "", env as Env);
    rules.table_open = (_tokens, _i, _options, env) =>
      `<div class="table" role="region" tabindex="0" aria-label="${escape((env as Env).words.table)}"><table>`;
    rules.table_close = () => "</table></div>\n";
    // markdown-it aligns cells by inline styles, which the page's policy forbids.
    for (const rule of ["th_open", "td_open"] as const) {
      rules[rule] = (tokens, i) => {
        const side = /text-align:(left|center|right)/.exec(String(tokens[i]!.attrGet("style") ?? ""))?.[1];
        return `<${tokens[i]!.tag}${side ? ` class="${side}"` : ""}>`;
      };
    }
  }

  /** An image is never fetched: its address would tell its host what was talked about. */
  private image(token: Token, env: Env): string {
    const address = String(token.attrGet("src") ?? "");
    const text = escape(`${env.words.image}: ${token.content || address}`);
    return allowedLink(address) ? `<a class="image" href="${escape(address)}">${text}</a>` : text;
  }

  private code(code: string, language: string, env: Env): string {
    let colored: string | undefined;
    if (language && !env.open) {
      if (this.extras.highlight) {
        const { highlight } = this.extras;
        const key = language + "\n" + code;
        colored = this.drawn.get(key, () => highlight(code, language) ?? "") || undefined;
      } else this.need("highlight");
    }
    const { words } = env;
    return (
      `<div class="code"><div class="code-head"><span>${escape(language || words.code)}</span>` +
      `<button type="button" class="code-copy">${escape(words.copy)}</button></div>` +
      `<pre tabindex="0"><code>${colored ?? escape(code)}</code></pre></div>\n`
    );
  }

  private formula(tex: string, display: boolean): string {
    const source = `<code class="tex">${escape(tex.trim())}</code>`;
    const { formula } = this.extras;
    if (!formula) {
      this.need("formula");
      return source;
    }
    return this.drawn.get((display ? "$$" : "$") + tex, () => {
      try {
        return formula(tex, display);
      } catch {
        return source;
      }
    });
  }
}

/** Tokens of each block at the top. */
function group(tokens: Token[]): Token[][] {
  const groups: Token[][] = [];
  let current: Token[] = [];
  for (const token of tokens) {
    current.push(token);
    if (token.level === 0 && token.nesting <= 0) {
      groups.push(current);
      current = [];
    }
  }
  if (current.length > 0) groups.push(current);
  return groups;
}

export function escape(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** Remembers the last results. */
class Memo<K, V> {
  private readonly map = new Map<K, V>();

  constructor(private readonly size: number) {}

  get(key: K, make: () => V): V {
    const known = this.map.get(key);
    if (known !== undefined) return known;
    const value = make();
    if (this.map.size >= this.size) this.map.delete(this.map.keys().next().value as K);
    this.map.set(key, value);
    return value;
  }
}
