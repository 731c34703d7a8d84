import { describe, expect, it } from "vitest";
import { exportText, ImportError, importText, withNewIds, type Whole } from "./transfer";
import { path, index } from "./tree";

const id = (n: number) => n.toString(16).padStart(32, "0");

function sample(): Whole {
  return {
    conversation: {
      id: id(1),
      title: "Ein Vulkan 🌋",
      named: true,
      created: 1000,
      updated: 2000,
      compare: true,
      columns: [
        { model: "leo-mini", system: "Sei kurz.", sampling: { temperature: 0.5, seed: 7 }, choice: { root: id(10) } },
        { model: "andere", system: "", sampling: {}, choice: {} },
      ],
    },
    messages: [
      { id: id(10), conversation: id(1), column: 0, parent: null, role: "user", content: "Hallo\n</script>", created: 1001, status: "done" },
      {
        id: id(11), conversation: id(1), column: 0, parent: id(10), role: "assistant", content: "Na?", created: 1002, status: "done",
        model: "leo-mini", finish: "stop", stats: { answerTokens: 2, promptTokens: 9, firstMs: 80, rate: 31.5 },
      },
      {
        id: id(12), conversation: id(1), column: 0, parent: id(10), role: "assistant", content: "", created: 1003, status: "failed",
        model: "leo-mini", fault: { kind: "busy", message: "full", retryAfter: 2 },
      },
      { id: id(20), conversation: id(1), column: 1, parent: null, role: "user", content: "Hallo", created: 1004, status: "done" },
    ],
  }; // prettier-ignore
}

const file = () => JSON.parse(exportText([sample()], new Date(0))) as Record<string, any>;

function refused(change: (f: Record<string, any>) => void): ImportError {
  const f = file();
  change(f);
  try {
    importText(JSON.stringify(f));
  } catch (error) {
    expect(error).toBeInstanceOf(ImportError);
    return error as ImportError;
  }
  throw new Error("it was read");
}

describe("a file of conversations", () => {
  it("gives back what was written", () => {
    expect(importText(exportText([sample()], new Date()))).toEqual([sample()]);
    expect(importText("\ufeff" + exportText([], new Date()))).toEqual([]);
  });

  it("drops fields it doesn't know", () => {
    const f = file();
    f.extra = 1;
    f.conversations[0].messages[0].onclick = "alert(1)";
    f.conversations[0]["__proto__x"] = {};
    expect(importText(JSON.stringify(f))).toEqual([sample()]);
  });

  it("doesn't let a file reach into prototypes", () => {
    const text = exportText([sample()], new Date()).replace('"choice": {', '"choice": { "__proto__": "x",');
    try {
      importText(text);
    } catch (error) {
      expect(error).toBeInstanceOf(ImportError);
    }
    expect(({} as Record<string, unknown>).root).toBeUndefined();
  });

  it("ends answers that were being written", () => {
    const whole = sample();
    whole.messages[1]!.status = "running";
    expect(importText(exportText([whole], new Date()))[0]!.messages[1]!.status).toBe("stopped");
  });

  it("says where it is at fault", () => {
    expect(refused((f) => (f.conversations[0].messages[1].role = "system")).where).toBe("conversations.0.messages.1.role");
    expect(refused((f) => (f.conversations[0].columns[0].sampling.top_p = 7)).where).toContain("columns");
  });

  it.each<[string, (f: Record<string, any>) => void]>([
    ["another format", (f) => (f.format = "chatgpt")],
    ["another version", (f) => (f.version = 2)],
    ["no list", (f) => (f.conversations = {})],
    ["a list of nothing", (f) => (f.conversations = [null])],
    ["content that is no text", (f) => (f.conversations[0].messages[0].content = { toString: 1 })],
    ["an id that is none", (f) => (f.conversations[0].id = "../../x")],
    ["an unknown parent", (f) => (f.conversations[0].messages[1].parent = id(99))],
    ["a circle", (f) => (f.conversations[0].messages[0].parent = id(11))],
    ["a double id", (f) => f.conversations[0].messages.push(f.conversations[0].messages[0])],
    ["a third column", (f) => (f.conversations[0].messages[0].column = 2)],
    ["a missing column", (f) => f.conversations[0].columns.pop()],
    ["a time that is none", (f) => (f.conversations[0].created = "yesterday")],
    ["a time beyond all times", (f) => (f.conversations[0].updated = 1e300)],
    ["a fraction of a seed", (f) => (f.conversations[0].columns[0].sampling.seed = 1.5)],
    ["a title without end", (f) => (f.conversations[0].title = "x".repeat(1001))],
    ["a fault of its own kind", (f) => (f.conversations[0].messages[2].fault.kind = "script")],
  ])("refuses %s", (_name, change) => {
    refused(change);
  });

  it("refuses what is no JSON", () => {
    for (const text of ["", "{", "null", "[]", "7", '{"format":"leo-conversations"', "\u0000"]) {
      expect(() => importText(text)).toThrow(ImportError);
    }
  });
});

describe("a copy with new ids", () => {
  it("is the same tree, apart from the first", () => {
    const whole = sample();
    const copy = withNewIds(whole);
    const old = new Set([whole.conversation.id, ...whole.messages.map((m) => m.id)]);
    expect(old.has(copy.conversation.id)).toBe(false);
    for (const m of copy.messages) {
      expect(old.has(m.id)).toBe(false);
      expect(m.conversation).toBe(copy.conversation.id);
    }
    const contents = (w: Whole) => path(index(w.messages, 0), w.conversation.columns[0].choice).map((m) => m.content);
    expect(contents(copy)).toEqual(contents(whole));
    expect(importText(exportText([copy], new Date()))).toEqual([copy]);
  });
});
