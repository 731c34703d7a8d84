import { describe, expect, it } from "vitest";
import { choose, flaw, index, path, turns, type Choice } from "./tree";
import type { Message, Role } from "./types";

let clock = 0;

function message(id: string, parent: string | null, role: Role, content = id, column: 0 | 1 = 0): Message {
  return { id, conversation: "c", column, parent, role, content, created: clock++, status: "done" };
}

/** q1 → a1 → q2 → a2, then q1 edited: q1b → a1b, and a1 answered again: a1c. */
const all = [
  message("q1", null, "user"),
  message("a1", "q1", "assistant"),
  message("q2", "a1", "user"),
  message("a2", "q2", "assistant"),
  message("q1b", null, "user"),
  message("a1b", "q1b", "assistant"),
  message("a1c", "q1", "assistant"),
  message("other", null, "user", "other", 1),
];
const byId = new Map(all.map((m) => [m.id, m]));

const ids = (choice: Choice) => path(index(all, 0), choice).map((m) => m.id);

describe("a tree of messages", () => {
  it("shows the youngest branch unless another is chosen", () => {
    expect(ids({})).toEqual(["q1b", "a1b"]);
    expect(ids({ root: "q1" })).toEqual(["q1", "a1c"]);
    expect(ids({ root: "q1", q1: "a1" })).toEqual(["q1", "a1", "q2", "a2"]);
    expect(ids({ root: "gone" })).toEqual(["q1b", "a1b"]);
  });

  it("leads through a chosen message and remembers what was chosen below", () => {
    let choice = choose({}, byId.get("a2")!, byId);
    expect(ids(choice)).toEqual(["q1", "a1", "q2", "a2"]);
    choice = choose(choice, byId.get("q1b")!, byId);
    expect(ids(choice)).toEqual(["q1b", "a1b"]);
    choice = choose(choice, byId.get("q1")!, byId);
    expect(ids(choice)).toEqual(["q1", "a1", "q2", "a2"]);
  });

  it("keeps columns apart", () => {
    expect(path(index(all, 1), {}).map((m) => m.id)).toEqual(["other"]);
  });

  it("orders siblings of the same instant in one way", () => {
    const twins = ["b", "a", "c"].map((id) => ({ ...message(id, null, "user"), created: 5 }));
    expect(index(twins, 0).get("root")!.map((m) => m.id)).toEqual(["a", "b", "c"]);
  });
});

describe("what the server reads", () => {
  it("begins with the system prompt, if there is one", () => {
    expect(turns("  ", [byId.get("q1")!])).toEqual([{ role: "user", content: "q1" }]);
    expect(turns("Be kind.", [byId.get("q1")!])[0]).toEqual({ role: "system", content: "Be kind." });
  });

  it("alternates, even after an answer that was stopped before its first word", () => {
    const stopped = message("s", "q1", "assistant", "");
    const list = turns("", [byId.get("q1")!, stopped, message("q3", "s", "user")]);
    expect(list).toEqual([{ role: "user", content: "q1\n\nq3" }]);
  });

  it("leaves the messages themselves alone", () => {
    const one = message("x", null, "user");
    turns("", [one, message("y", "x", "user")]);
    expect(one.content).toBe("x");
  });
});

describe("flaw", () => {
  it("finds what is no forest", () => {
    expect(flaw(all)).toBe("");
    expect(flaw([message("a", null, "user"), message("a", null, "user")])).toContain("two messages");
    expect(flaw([message("a", "b", "user")])).toContain("unknown parent");
    expect(flaw([message("a", "b", "user"), message("b", "a", "user")])).toContain("own ancestor");
    expect(flaw([message("a", "a", "user")])).toContain("own ancestor");
    expect(flaw([message("a", null, "user"), message("b", "a", "user", "", 1)])).toContain("different columns");
  });

  it("takes linear time for a long chain", () => {
    const chain = Array.from({ length: 50_000 }, (_, i) => message(`m${i}`, i ? `m${i - 1}` : null, "user"));
    const began = performance.now();
    expect(flaw(chain.reverse())).toBe("");
    expect(performance.now() - began).toBeLessThan(1000);
  });
});
