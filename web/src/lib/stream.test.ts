import { describe, expect, it } from "vitest";
import { StreamCut, StreamFault, StreamOdd, readChunks, type Chunk } from "./stream";

const encoder = new TextEncoder();

function streamOf(parts: Uint8Array[], breaks = false): ReadableStream<Uint8Array> {
  let i = 0;
  return new ReadableStream({
    pull(controller) {
      const part = parts[i++];
      if (part) controller.enqueue(part);
      else if (breaks) controller.error(new TypeError("network error"));
      else controller.close();
    },
  });
}

function delta(content: string): string {
  return `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: null }] })}\n\n`;
}

const done = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';

async function textOf(body: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  await readChunks(body, (chunk) => (text += chunk.choices?.[0]?.delta?.content ?? ""));
  return text;
}

describe("readChunks", () => {
  const answer = "Grüße 👩‍🚀 aus München: „ẞ“ 日本";
  const whole = encoder.encode(delta(answer.slice(0, 9)) + delta(answer.slice(9)) + done);

  it("joins characters wherever bytes are cut", async () => {
    for (let size = 1; size < 12; size++) {
      const parts = [];
      for (let i = 0; i < whole.length; i += size) parts.push(whole.slice(i, i + size));
      expect(await textOf(streamOf(parts))).toBe(answer);
    }
    for (let cut = 0; cut <= whole.length; cut++) {
      expect(await textOf(streamOf([whole.slice(0, cut), whole.slice(cut)].filter((p) => p.length)))).toBe(answer);
    }
  });

  it("reads CRLF and CR, cut between the two as well", async () => {
    const lines = encoder.encode((delta("a") + delta("b") + done).replaceAll("\n", "\r\n"));
    for (let cut = 1; cut < lines.length; cut++) {
      expect(await textOf(streamOf([lines.slice(0, cut), lines.slice(cut)]))).toBe("ab");
    }
    expect(await textOf(streamOf([encoder.encode((delta("a") + delta("b") + done).replaceAll("\n", "\r"))]))).toBe("ab");
  });

  it("skips comments, a byte order mark and fields it doesn't know", async () => {
    const text = ": keep-alive\n\n" + ":\n" + "event: message\nid: 7\nretry: 10\n" + delta("a") + ": {x\n\n" + delta("b") + done;
    expect(await textOf(streamOf([encoder.encode("\ufeff" + text)]))).toBe("ab");
  });

  it("reads data of several lines as one event, and data without a space", async () => {
    const text = 'data:{"choices":[{"delta":\ndata:{"content":"x"}}]}\n\n' + done;
    expect(await textOf(streamOf([encoder.encode(text)]))).toBe("x");
  });

  it("hands on the usage event, which has no choice", async () => {
    const chunks: Chunk[] = [];
    const text = delta("a") + 'data: {"choices":[],"usage":{"completion_tokens":1}}\n\n' + done;
    await readChunks(streamOf([encoder.encode(text)]), (c) => chunks.push(c));
    expect(chunks.some((c) => c.usage?.completion_tokens === 1)).toBe(true);
  });

  it("stops at [DONE], whatever follows", async () => {
    expect(await textOf(streamOf([encoder.encode(delta("a") + "data: [DONE]\n\n" + delta("b"))]))).toBe("a");
  });

  it("keeps what came before an error in the stream, and tells it", async () => {
    let text = "";
    const body = streamOf([encoder.encode(delta("a") + 'data: {"error":{"message":"out of memory"}}\n\n' + delta("b"))]);
    const reading = readChunks(body, (c) => (text += c.choices?.[0]?.delta?.content ?? ""));
    await expect(reading).rejects.toThrow(new StreamFault("out of memory"));
    expect(text).toBe("a");
  });

  it("tells a cut stream from a whole one", async () => {
    await expect(textOf(streamOf([encoder.encode(delta("a"))]))).rejects.toBeInstanceOf(StreamCut);
    await expect(textOf(streamOf([]))).rejects.toBeInstanceOf(StreamCut);
    await expect(textOf(streamOf([encoder.encode(delta("a"))], true))).rejects.toBeInstanceOf(TypeError);
    // A finished answer needs no end mark, and its last event no empty line.
    expect(await textOf(streamOf([encoder.encode(delta("a") + done.split("data: [DONE]")[0]!.trimEnd())]))).toBe("a");
  });

  it("refuses what is no chat", async () => {
    for (const text of ["data: nonsense\n\n", 'data: "text"\n\n', "data: 7\n\n"]) {
      await expect(textOf(streamOf([encoder.encode(text)]))).rejects.toBeInstanceOf(StreamOdd);
    }
  });

  it("bounds an event that never ends", async () => {
    const part = encoder.encode("x".repeat(1 << 20));
    await expect(textOf(streamOf([encoder.encode("data: "), ...Array<Uint8Array>(20).fill(part)]))).rejects.toBeInstanceOf(StreamOdd);
  });
});
