// Reading an OpenAI-style event stream.

import { createParser } from "eventsource-parser";

/** The part of a chunk that the page uses. */
export interface Chunk {
  model?: string;
  choices?: { delta?: { content?: string | null }; finish_reason?: string | null }[];
  usage?: {
    prompt_tokens?: number;
    completion_tokens?: number;
    prompt_tokens_details?: { cached_tokens?: number } | null;
  } | null;
  timings?: { predicted_n?: number; predicted_ms?: number; cached_n?: number } | null;
  error?: { message?: unknown } | string | null;
}

/** An error that the server sent in the middle of a stream. */
export class StreamFault extends Error {}

/** The stream ended before its end mark: the connection broke, or a proxy cut it. */
export class StreamCut extends Error {}

/** The stream is not one of a chat; the message is what came instead. */
export class StreamOdd extends Error {}

/** No event of a chat is longer, in characters; a server that sends more is broken. */
const longestEvent = 8 << 20;

/**
 * Hands every chunk of a stream to `each`, in order, until `[DONE]`. Bytes may be cut anywhere, inside a character too:
 * one decoder keeps the rest. Comment lines keep the connection alive and are skipped.
 */
export async function readChunks(body: ReadableStream<Uint8Array>, each: (chunk: Chunk) => void): Promise<void> {
  let ended = false;
  let finished = false;
  const parser = createParser({
    maxBufferSize: longestEvent,
    onError(error) {
      if (error.type === "max-buffer-size-exceeded") throw new StreamOdd("");
    },
    onEvent(event) {
      if (ended) return;
      if (event.data.trim() === "[DONE]") {
        ended = true;
        return;
      }
      const chunk = parseChunk(event.data);
      if (chunk.error) throw new StreamFault(faultText(chunk.error));
      finished ||= Boolean(chunk.choices?.some((c) => c.finish_reason));
      each(chunk);
    },
  });
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    while (!ended) {
      const { done, value } = await reader.read();
      if (done) break;
      parser.feed(decoder.decode(value, { stream: true }));
    }
    // The last event counts although its empty line is missing.
    if (!ended) parser.feed(decoder.decode() + "\n\n");
  } finally {
    void reader.cancel().catch(() => undefined);
  }
  if (!ended && !finished) throw new StreamCut();
}

function parseChunk(data: string): Chunk {
  try {
    const chunk: unknown = JSON.parse(data);
    if (chunk && typeof chunk === "object") return chunk;
  } catch {
    // Told below, with the text.
  }
  throw new StreamOdd(data.slice(0, 200));
}

/** The words of an error in OpenAI's shape, or of what some servers send instead. */
export function faultText(error: unknown): string {
  if (typeof error === "string") return error;
  if (error && typeof error === "object" && "message" in error && typeof error.message === "string") {
    return error.message;
  }
  return JSON.stringify(error) ?? "";
}
