import { afterEach, describe, expect, it, vi } from "vitest";
import { copyText } from "./clipboard";
import { fileName } from "./files";
import { newId } from "./id";
import { parseNumber, withField } from "./sampling";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

describe("newId", () => {
  it("works where crypto.randomUUID is missing, as on http in a local network", () => {
    vi.stubGlobal("crypto", { getRandomValues: (a: Uint8Array) => crypto_.getRandomValues(a as never) });
    expect(newId()).toMatch(/^[0-9a-f]{32}$/);
    expect(newId()).not.toBe(newId());
  });
});
const crypto_ = globalThis.crypto;

describe("copyText", () => {
  it("falls back where navigator.clipboard is missing", async () => {
    vi.stubGlobal("navigator", {});
    let copied = "";
    document.execCommand = vi.fn(() => {
      copied = document.querySelector("textarea")!.value;
      return true;
    });
    expect(await copyText("Grüße")).toBe(true);
    expect(copied).toBe("Grüße");
    expect(document.querySelector("textarea")).toBeNull();
  });

  it("says when nothing works", async () => {
    vi.stubGlobal("navigator", { clipboard: { writeText: () => Promise.reject(new Error("denied")) } });
    document.execCommand = vi.fn(() => false);
    expect(await copyText("x")).toBe(false);
  });
});

describe("numbers of settings", () => {
  it("take point and comma", () => {
    expect(parseNumber("temperature", " 0,7 ")).toBe(0.7);
    expect(parseNumber("temperature", ".5")).toBe(0.5);
    expect(parseNumber("seed", "12345678901")).toBe(12345678901);
    expect(parseNumber("top_k", "")).toBeUndefined();
  });

  it("refuse what is none or out of bounds", () => {
    for (const text of ["x", "1e3", "1.000,5", "0x10", "-1", "6", "Infinity", "NaN", "1 2"]) {
      expect(parseNumber("temperature", text), text).toBeNull();
    }
    expect(parseNumber("top_k", "1.5")).toBeNull();
    expect(parseNumber("max_completion_tokens", "0")).toBeNull();
  });

  it("are sent only when they are set", () => {
    expect(withField({ top_k: 4 }, "top_k", undefined)).toEqual({});
    expect(withField({}, "seed", 0)).toEqual({ seed: 0 });
  });
});

describe("fileName", () => {
  it("is one that every file system takes", () => {
    expect(fileName("leo Was ist ../../etc? 🌋 Ärger")).toBe("leo-Was-ist-etc-Ärger");
    expect(fileName("…")).toBe("leo");
    expect(Array.from(fileName("ü".repeat(300)))).toHaveLength(60);
  });
});
