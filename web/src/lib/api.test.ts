import { describe, expect, it } from "vitest";
import { Api, ApiError, faultOf, retryAfter } from "./api";
import type { Fault } from "./types";

function respond(status: number, body: string, headers: Record<string, string> = {}): Response {
  return new Response(body, { status, headers });
}

async function faultFrom(work: Promise<unknown>): Promise<Fault> {
  const error: unknown = await work.then(
    () => null,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(ApiError);
  return (error as ApiError).fault;
}

describe("Api", () => {
  const signal = new AbortController().signal;
  const ask = { model: "leo-mini", turns: [{ role: "user" as const, content: "Hallo" }], sampling: {} };

  it("asks for relative addresses only, and sends only what was changed", async () => {
    const seen: [string, RequestInit][] = [];
    const api = new Api(() => "", async () => null, async (input, init) => {
      seen.push([String(input), init!]);
      return respond(200, 'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n', { "Content-Type": "text/event-stream" });
    });
    await api.chat({ ...ask, sampling: { top_k: 20 } }, () => undefined, signal);
    expect(seen[0]![0]).toBe("v1/chat/completions");
    expect(JSON.parse(seen[0]![1].body as string)).toEqual({
      model: "leo-mini",
      messages: [{ role: "user", content: "Hallo" }],
      stream: true,
      stream_options: { include_usage: true },
      top_k: 20,
    });
    expect(seen[0]![1].headers).not.toHaveProperty("Authorization");
  });

  it("asks for a key when the server does, and tries again with it", async () => {
    let key = "";
    const asked: string[] = [];
    const sent: (string | undefined)[] = [];
    const api = new Api(
      () => key,
      async (refused) => {
        asked.push(refused);
        return (key = asked.length === 1 ? "wrong" : "right");
      },
      async (_input, init) => {
        const header = (init!.headers as Record<string, string>).Authorization;
        sent.push(header);
        return header === "Bearer right" ? respond(200, '{"data":[{"id":"m"}]}') : respond(401, '{"error":{"message":"no"}}');
      },
    );
    expect((await api.models()).map((m) => m.id)).toEqual(["m"]);
    expect(asked).toEqual(["", "wrong"]);
    expect(sent).toEqual([undefined, "Bearer wrong", "Bearer right"]);
  });

  it("gives up when the user does", async () => {
    const api = new Api(() => "", async () => null, async () => respond(401, '{"error":{"message":"a key, please"}}'));
    expect(await faultFrom(api.models())).toEqual({ kind: "key", message: "a key, please" });
  });

  it("tells apart what went wrong", async () => {
    const with_ = (response: Response | Error) =>
      new Api(() => "", async () => null, async () => {
        if (response instanceof Error) throw response;
        return response;
      });
    expect(await faultFrom(with_(new TypeError("Failed to fetch")).models())).toEqual({ kind: "network" });
    expect((await faultFrom(with_(respond(200, "<html>")).models())).kind).toBe("odd");
    expect((await faultFrom(with_(respond(200, "{}")).models())).kind).toBe("odd");
    expect((await faultFrom(with_(respond(200, "{}")).chat(ask, () => undefined, signal))).kind).toBe("odd");
    expect((await faultFrom(with_(respond(200, '{"tokens":[]}')).prompt("m", []))).kind).toBe("odd");
    const stream = { "Content-Type": "text/event-stream" };
    expect((await faultFrom(with_(respond(200, "data: x\n\n", stream)).chat(ask, () => undefined, signal))).kind).toBe("odd");
    expect((await faultFrom(with_(respond(200, "", stream)).chat(ask, () => undefined, signal))).kind).toBe("cut");
  });

  it("passes a stop on as what it is", async () => {
    const abort = new AbortController();
    abort.abort();
    const api = new Api(() => "", async () => null, async () => {
      throw new DOMException("stopped", "AbortError");
    });
    await expect(api.chat(ask, () => undefined, abort.signal)).rejects.toThrow("stopped");
  });

  it("reads a model's extras, and does without them", async () => {
    const list = [
      { id: "plain", object: "model" },
      { id: "leo-mini", context_length: 1024, parameters: 4229568, description: "small", defaults: { temperature: 0.3, top_k: "many", system_prompt: "Hi" } },
      { object: "model" },
    ];
    const api = new Api(() => "", async () => null, async () => respond(200, JSON.stringify({ data: list })));
    expect(await api.models()).toEqual([
      { id: "plain", description: undefined, contextLength: undefined, parameters: undefined, defaults: {} },
      { id: "leo-mini", description: "small", contextLength: 1024, parameters: 4229568, defaults: { temperature: 0.3, system_prompt: "Hi" } },
    ]);
  });
});

describe("faultOf", () => {
  it("reads the server's words, in OpenAI's shape and others", async () => {
    expect(await faultOf(respond(400, '{"error":{"message":"too long"}}'))).toEqual({ kind: "refused", message: "too long" });
    expect(await faultOf(respond(404, '{"error":"no such model"}'))).toEqual({ kind: "refused", message: "no such model" });
    expect(await faultOf(respond(500, "plain words"))).toEqual({ kind: "server", message: "plain words" });
    expect(await faultOf(respond(502, "<html><h1>Bad Gateway</h1>"))).toEqual({ kind: "server", message: "HTTP 502" });
    expect(await faultOf(respond(429, "{}", { "Retry-After": "3" }))).toEqual({ kind: "busy", message: "{}", retryAfter: 3 });
  });

  it("reads both forms of Retry-After", () => {
    const now = Date.parse("2026-11-29T12:00:00Z");
    expect(retryAfter("7", now)).toBe(7);
    expect(retryAfter("Sun, 29 Nov 2026 12:00:09 GMT", now)).toBe(9);
    expect(retryAfter("Sun, 29 Nov 2026 11:00:00 GMT", now)).toBe(0);
    for (const header of [null, "", "soon", "-1", "1e9x"]) expect(retryAfter(header, now)).toBeUndefined();
  });
});
