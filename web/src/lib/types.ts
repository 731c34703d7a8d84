// The shapes of a conversation, as they lie in the browser's store and in exported files.

export type Role = "user" | "assistant";

/** How an answer stands. A running answer found in the store belongs to a page that was closed. */
export type Status = "running" | "done" | "stopped" | "failed";

export interface Stats {
  /** Tokens of the whole prompt, those found in the server's cache included. */
  promptTokens?: number;
  cachedTokens?: number;
  answerTokens?: number;
  /** Milliseconds from the request to the first piece of text. */
  firstMs?: number;
  /** Answer tokens in a second, as the server timed them or else as they arrived here. */
  rate?: number;
}

/**
 * network: no connection; key: none, or a wrong one; busy: try later; refused: the request is at fault; server: the
 * server is; cut: the stream broke; odd: an answer that is not in the form of this API.
 */
export const faultKinds = ["network", "key", "busy", "refused", "server", "cut", "odd"] as const;

/** What went wrong with an answer, in a form that is told in the reader's language. */
export interface Fault {
  kind: (typeof faultKinds)[number];
  /** The server's own words. */
  message?: string;
  /** Seconds after which the server asks to be tried again. */
  retryAfter?: number;
}

/** One message: a node of the tree of its column. */
export interface Message {
  id: string;
  conversation: string;
  column: 0 | 1;
  parent: string | null;
  role: Role;
  content: string;
  /** Milliseconds since 1970; siblings are ordered by it. */
  created: number;
  status: Status;
  model?: string;
  finish?: string;
  fault?: Fault;
  stats?: Stats;
}

export const samplingKeys = [
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "repeat_penalty",
  "seed",
  "max_completion_tokens",
] as const;

export type SamplingKey = (typeof samplingKeys)[number];

/** Only what was changed: an absent field leaves the choice to the server. */
export type Sampling = Partial<Record<SamplingKey, number>>;

/** One of at most two threads of a conversation. */
export interface Column {
  model: string;
  system: string;
  sampling: Sampling;
  /** The chosen child of each parent that has several; the parent of first messages is "root". */
  choice: Record<string, string>;
}

export interface Conversation {
  id: string;
  title: string;
  /** Whether the title was given by hand. */
  named: boolean;
  created: number;
  updated: number;
  compare: boolean;
  columns: [Column] | [Column, Column];
}

export interface Model {
  id: string;
  description?: string;
  contextLength?: number;
  parameters?: number;
  defaults: Sampling & { system_prompt?: string };
}
