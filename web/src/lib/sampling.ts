// The sampling fields: which values they take, and how people write numbers.

import type { Sampling, SamplingKey } from "./types";

export interface Bounds {
  min: number;
  max: number;
  whole: boolean;
}

export const bounds: Record<SamplingKey, Bounds> = {
  temperature: { min: 0, max: 5, whole: false },
  top_p: { min: 0, max: 1, whole: false },
  top_k: { min: 0, max: 1_000_000, whole: true },
  min_p: { min: 0, max: 1, whole: false },
  repeat_penalty: { min: 0.1, max: 10, whole: false },
  seed: { min: 0, max: Number.MAX_SAFE_INTEGER, whole: true },
  max_completion_tokens: { min: 1, max: 10_000_000, whole: true },
};

/** The number of a text with point or comma; null if it is none or out of bounds, undefined if it is empty. */
export function parseNumber(key: SamplingKey, text: string): number | null | undefined {
  const trimmed = text.trim();
  if (trimmed === "") return undefined;
  if (!/^[+-]?(\d+([.,]\d*)?|[.,]\d+)$/.test(trimmed)) return null;
  const value = Number(trimmed.replace(",", "."));
  const { min, max, whole } = bounds[key];
  if (value < min || value > max || (whole && !Number.isInteger(value))) return null;
  return value;
}

/** A copy with a field set, or without it. */
export function withField(sampling: Sampling, key: SamplingKey, value: number | undefined): Sampling {
  const next = { ...sampling };
  if (value === undefined) delete next[key];
  else next[key] = value;
  return next;
}
