// The server as the page sees it. All addresses are relative, so the page also works below a path prefix.

import { StreamCut, StreamFault, StreamOdd, faultText, readChunks, type Chunk } from "./stream";
import type { Turn } from "./tree";
import type { Fault, Model, Sampling } from "./types";
import { samplingKeys } from "./types";

export class ApiError extends Error {
  constructor(readonly fault: Fault) {
    super(fault.message ?? fault.kind);
  }
}

/** Asks the user for a key after the server refused one; null if they decline. */
export type AskKey = (refused: string) => Promise<string | null>;

export interface PromptToken {
  id: number;
  text: string;
  role: string;
  control: boolean;
}

export interface Prompt {
  prompt: string;
  tokens?: PromptToken[];
}

export class Api {
  constructor(
    private readonly key: () => string,
    private readonly askKey: AskKey,
    private readonly fetcher: typeof fetch = (input, init) => fetch(input, init),
  ) {}

  async models(signal?: AbortSignal): Promise<Model[]> {
    const body = await json<{ data?: unknown }>(await this.request("v1/models", undefined, signal));
    if (!Array.isArray(body?.data)) throw new ApiError({ kind: "odd" });
    return body.data.filter((m) => typeof m?.id === "string").map(toModel);
  }

  /** Streams one answer. Resolves at its end; rejects with ApiError, or AbortError when stopped. */
  async chat(
    ask: { model: string; turns: Turn[]; sampling: Sampling },
    each: (chunk: Chunk) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const response = await this.request(
      "v1/chat/completions",
      {
        model: ask.model,
        messages: ask.turns,
        stream: true,
        stream_options: { include_usage: true },
        ...ask.sampling,
      },
      signal,
    );
    const type = response.headers.get("Content-Type") ?? "";
    if (!response.body || !type.startsWith("text/event-stream")) {
      throw new ApiError({ kind: "odd", message: type });
    }
    try {
      await readChunks(response.body, each);
    } catch (error) {
      if (signal.aborted) throw error;
      if (error instanceof StreamFault) throw new ApiError({ kind: "server", message: error.message });
      if (error instanceof StreamOdd) throw new ApiError({ kind: "odd", message: error.message });
      if (error instanceof StreamCut || error instanceof TypeError) throw new ApiError({ kind: "cut" });
      throw error;
    }
  }

  async prompt(model: string, turns: Turn[], signal?: AbortSignal): Promise<Prompt> {
    const response = await this.request(
      "apply-template",
      { model, messages: turns, add_generation_prompt: true },
      signal,
    );
    const body = await json<Prompt>(response);
    if (typeof body?.prompt !== "string") throw new ApiError({ kind: "odd" });
    return body;
  }

  /** One request, asked again with another key for as long as the user gives one. */
  private async request(path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
    for (;;) {
      const key = this.key();
      const response = await this.once(path, body, key, signal);
      if (response.ok) return response;
      if (response.status !== 401) throw new ApiError(await faultOf(response));
      const fault = await faultOf(response);
      if ((await this.askKey(key)) === null) throw new ApiError(fault);
    }
  }

  private async once(path: string, body: unknown, key: string, signal?: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = {};
    if (key !== "") headers["Authorization"] = "Bearer " + key;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    try {
      return await this.fetcher(path, {
        method: body === undefined ? "GET" : "POST",
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal,
        cache: "no-store",
        credentials: "same-origin",
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError({ kind: "network" });
    }
  }
}

async function json<T>(response: Response): Promise<T> {
  try {
    return (await response.json()) as T;
  } catch {
    throw new ApiError({ kind: "odd" });
  }
}

function toModel(m: Record<string, unknown>): Model {
  const defaults: Model["defaults"] = {};
  const given = (m.defaults ?? {}) as Record<string, unknown>;
  for (const key of samplingKeys) {
    const value = given[key];
    if (typeof value === "number") defaults[key] = value;
  }
  if (typeof given.system_prompt === "string") defaults.system_prompt = given.system_prompt;
  return {
    id: m.id as string,
    description: typeof m.description === "string" ? m.description : undefined,
    contextLength: typeof m.context_length === "number" ? m.context_length : undefined,
    parameters: typeof m.parameters === "number" ? m.parameters : undefined,
    defaults,
  };
}

/** What a refused request says, in one of the kinds that the page tells apart. */
export async function faultOf(response: Response): Promise<Fault> {
  const { status } = response;
  let message = "";
  try {
    const text = (await response.text()).slice(0, 10_000);
    try {
      const body: unknown = JSON.parse(text);
      message = body && typeof body === "object" && "error" in body ? faultText(body.error) : text;
    } catch {
      // A proxy's page is no message for a reader.
      message = text.trimStart().startsWith("<") ? "" : text;
    }
  } catch {
    // The status alone must do.
  }
  const fault: Fault = { kind: kindOf(status), message: message || `HTTP ${status}` };
  const after = retryAfter(response.headers.get("Retry-After"), Date.now());
  if (after !== undefined) fault.retryAfter = after;
  return fault;
}

function kindOf(status: number): Fault["kind"] {
  if (status === 401) return "key";
  if (status === 429 || status === 503) return "busy";
  return status < 500 ? "refused" : "server";
}

/** Seconds of a Retry-After header: a number, or a date. */
export function retryAfter(header: string | null, now: number): number | undefined {
  if (!header) return undefined;
  if (/^\d{1,6}$/.test(header.trim())) return Number(header);
  const date = /\bGMT$/.test(header.trim()) ? Date.parse(header) : NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - now) / 1000));
}
