// The language of the page, and its texts.

import { de } from "../text/de";
import { en, type TextKey } from "../text/en";
import { remember, recall } from "./prefs";

export type Language = "de" | "en";

const texts: Record<Language, Record<TextKey, string>> = { de, en };

/** The first of the browser's languages that the page speaks. */
export function preferred(languages: readonly string[]): Language {
  for (const l of languages) {
    if (/^de\b/i.test(l)) return "de";
    if (/^en\b/i.test(l)) return "en";
  }
  return "en";
}

class Locale {
  language = $state<Language>("en");

  constructor() {
    const kept = recall("language");
    this.language = kept === "de" || kept === "en" ? kept : preferred(navigator.languages);
    document.documentElement.lang = this.language;
  }

  choose(language: Language): void {
    this.language = language;
    document.documentElement.lang = language;
    remember("language", language);
  }
}

export const locale = new Locale();

/** A text in the page's language; numbers are written as that language writes them. */
export function t(key: TextKey, values: Record<string, string | number> = {}): string {
  const forms = texts[locale.language][key].split("|");
  const text = (values.n !== 1 && forms[1]) || forms[0]!;
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    if (value === undefined) return whole;
    return typeof value === "number" ? formatNumber(value) : value;
  });
}

/** A large number as people say it: 4.2 million. */
export function formatLarge(value: number): string {
  const options = { notation: "compact", compactDisplay: "long", maximumFractionDigits: 1 } as const;
  return new Intl.NumberFormat(locale.language, options).format(value);
}

export function formatNumber(value: number, digits?: number): string {
  const options = digits === undefined ? undefined : { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(locale.language, options).format(value);
}
