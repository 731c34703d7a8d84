import { describe, expect, it } from "vitest";
import { faultKinds, samplingKeys } from "../lib/types";
import { preferred, t, locale } from "../state/text.svelte";
import { de } from "./de";
import { en, type TextKey } from "./en";

const keys = Object.keys(en) as TextKey[];
const places = (text: string) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort();

describe("the texts", () => {
  it("are the same in both languages", () => {
    expect(Object.keys(de)).toEqual(keys);
  });

  it("fill in the same things", () => {
    for (const key of keys) {
      for (const form of de[key].split("|")) expect(places(form), key).toEqual(places(en[key].split("|")[0]!));
      expect(de[key].split("|").length, key).toBe(en[key].split("|").length);
    }
  });

  it("are not empty, and set quotation marks of their language", () => {
    for (const key of keys) {
      expect(en[key].trim()).not.toBe("");
      expect(de[key].trim()).not.toBe("");
      expect(de[key], key).not.toMatch(/["']|”/);
      expect(en[key], key).not.toMatch(/"|„/);
    }
  });

  it("cover every fault and every setting", () => {
    for (const kind of faultKinds) expect(en).toHaveProperty([`fault.${kind}`]);
    for (const key of samplingKeys) expect(en).toHaveProperty([`settings.${key}Hint`]);
  });
});

describe("t", () => {
  it("knows one from many, and writes numbers as the language does", () => {
    locale.choose("de");
    expect(t("stats.tokens", { n: 1 })).toBe("1 Token");
    expect(t("stats.tokens", { n: 12345 })).toBe("12.345 Tokens");
    locale.choose("en");
    expect(t("stats.tokens", { n: 12345 })).toBe("12,345 tokens");
    expect(document.documentElement.lang).toBe("en");
  });

  it("takes what is filled in as text", () => {
    expect(t("side.rename", { title: "{n} $& <b>" })).toBe("Rename “{n} $& <b>”");
  });
});

describe("the language of a browser", () => {
  it("is the first that the page speaks", () => {
    expect(preferred(["de-AT", "en"])).toBe("de");
    expect(preferred(["fr", "en-GB", "de"])).toBe("en");
    expect(preferred(["fr", "de"])).toBe("de");
    expect(preferred(["ja"])).toBe("en");
    expect(preferred(["den"])).toBe("en");
  });
});
