// Conversations as a file: what is written can be read again, and nothing that is not a conversation gets in.

import * as v from "valibot";
import { newId } from "./id";
import { flaw } from "./tree";
import { faultKinds, type Conversation, type Message, type SamplingKey } from "./types";
import { bounds } from "./sampling";

export interface Whole {
  conversation: Conversation;
  messages: Message[];
}

/** Why a file was not read: where in it, and what is wrong there. */
export class ImportError extends Error {
  constructor(
    readonly where: string,
    readonly what: string,
  ) {
    super(where ? `${where}: ${what}` : what);
  }
}

const format = "leo-conversations";

/** Bytes of a file beyond which it is not read. */
export const largestFile = 256 << 20;

const time = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(8.64e15));
const id = v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/, "not an id"));
const name = v.pipe(v.string(), v.maxLength(1000));
const amount = v.optional(v.pipe(v.number(), v.finite(), v.minValue(0)));

const messageSchema = v.object({
  id,
  column: v.picklist([0, 1]),
  parent: v.nullable(id),
  role: v.picklist(["user", "assistant"]),
  content: v.string(),
  created: time,
  status: v.picklist(["running", "done", "stopped", "failed"]),
  model: v.optional(name),
  finish: v.optional(name),
  fault: v.optional(
    v.object({ kind: v.picklist(faultKinds), message: v.optional(v.string()), retryAfter: amount }),
  ),
  stats: v.optional(
    v.object({ promptTokens: amount, cachedTokens: amount, answerTokens: amount, firstMs: amount, rate: amount }),
  ),
});

function bounded(key: SamplingKey) {
  const { min, max, whole } = bounds[key];
  return v.optional(v.pipe(v.number(), v.minValue(min), v.maxValue(max), v.check((n) => !whole || Number.isInteger(n))));
}

const samplingSchema = v.object({
  temperature: bounded("temperature"),
  top_p: bounded("top_p"),
  top_k: bounded("top_k"),
  min_p: bounded("min_p"),
  repeat_penalty: bounded("repeat_penalty"),
  seed: bounded("seed"),
  max_completion_tokens: bounded("max_completion_tokens"),
});

const columnSchema = v.object({
  model: name,
  system: v.string(),
  sampling: samplingSchema,
  choice: v.record(v.union([id, v.literal("root")]), id),
});

const conversationSchema = v.object({
  id,
  title: name,
  named: v.boolean(),
  created: time,
  updated: time,
  compare: v.boolean(),
  columns: v.union([v.strictTuple([columnSchema]), v.strictTuple([columnSchema, columnSchema])]),
  messages: v.array(messageSchema),
});

const fileSchema = v.object({
  format: v.literal(format),
  version: v.literal(1),
  conversations: v.array(conversationSchema),
});

function byAge(a: Message, b: Message): number {
  return a.created - b.created || (a.id < b.id ? -1 : 1);
}

/** The text of a file that holds the conversations. */
export function exportText(all: readonly Whole[], now: Date): string {
  const conversations = all.map(({ conversation, messages }) => ({
    ...conversation,
    messages: [...messages].sort(byAge).map(({ conversation: _, ...message }) => message),
  }));
  return JSON.stringify({ format, version: 1, exported: now.toISOString(), conversations }, null, 1) + "\n";
}

/** The conversations of a file; ImportError says where it is at fault. */
export function importText(text: string): Whole[] {
  let body: unknown;
  try {
    body = JSON.parse(text.replace(/^\ufeff/, ""));
  } catch (error) {
    throw new ImportError("", error instanceof Error ? error.message : "");
  }
  const parsed = v.safeParse(fileSchema, body, { abortEarly: true });
  if (!parsed.success) {
    const issue = parsed.issues[0];
    throw new ImportError(v.getDotPath(issue) ?? "", issue.message);
  }
  return parsed.output.conversations.map(({ messages, ...conversation }, i) => {
    const wrong = flaw(messages as Message[]);
    if (wrong) throw new ImportError(`conversations.${i}.messages`, wrong);
    const single = conversation.columns.length === 1;
    if (single && (conversation.compare || messages.some((m) => m.column === 1))) {
      throw new ImportError(`conversations.${i}`, "a second column is used but missing");
    }
    return {
      conversation: conversation as Conversation,
      messages: messages.map((m) => ({
        ...m,
        conversation: conversation.id,
        // Nobody writes on it here.
        status: m.status === "running" ? "stopped" : m.status,
      })) as Message[],
    };
  });
}

/** The same conversation with new ids, so that it can stand beside the one it was taken from. */
export function withNewIds({ conversation, messages }: Whole): Whole {
  const ids = new Map<string, string>(messages.map((m) => [m.id, newId()]));
  const renamed = (old: string) => ids.get(old) ?? old;
  const copy: Conversation = structuredClone(conversation);
  copy.id = newId();
  for (const column of copy.columns) {
    column.choice = Object.fromEntries(Object.entries(column.choice).map(([k, to]) => [renamed(k), renamed(to)]));
  }
  return {
    conversation: copy,
    messages: messages.map((m) => ({
      ...m,
      id: renamed(m.id),
      conversation: copy.id,
      parent: m.parent === null ? null : renamed(m.parent),
    })),
  };
}
