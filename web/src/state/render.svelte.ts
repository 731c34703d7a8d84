// The renderer of answers, and the parts of it that are loaded when first needed.

import { Markdown, type Extras, type Words } from "../lib/markdown";
import { t } from "./text.svelte";

const extras: Extras = {};
const asked = new Set<keyof Extras>();
/** Grows when a part has arrived: what was drawn without it is drawn again. */
const arrived = $state({ parts: 0 });

async function load(what: keyof Extras): Promise<void> {
  if (asked.has(what)) return;
  asked.add(what);
  try {
    if (what === "formula") extras.formula = (await import("../lib/katex")).formula;
    else extras.highlight = (await import("../lib/highlight")).highlight;
    arrived.parts++;
  } catch {
    // Offline by now: sources stay readable, until the page is loaded anew.
  }
}

const markdown = new Markdown(extras, (what) => void load(what));

/** The blocks of an answer as safe HTML; reactive on the language and on what was loaded. */
export function render(text: string, growing: boolean): string[] {
  void arrived.parts;
  const words: Words = { copy: t("md.copy"), image: t("md.image"), code: t("md.code"), table: t("md.table") };
  return markdown.blocks(text, words, growing);
}
