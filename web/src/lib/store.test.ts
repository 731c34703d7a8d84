import "fake-indexeddb/auto";
import { IDBFactory, IDBObjectStore as FakeObjectStore } from "fake-indexeddb";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { isFull, MemoryStore, openStore, type Store } from "./store";
import type { Conversation, Message } from "./types";

function conversation(id: string): Conversation {
  return { id, title: id, named: false, created: 1, updated: 1, compare: false, columns: [{ model: "m", system: "", sampling: {}, choice: {} }] };
}

function message(id: string, of: string, content = id): Message {
  return { id, conversation: of, column: 0, parent: null, role: "user", content, created: 1, status: "done" };
}

beforeEach(() => {
  globalThis.indexedDB = new IDBFactory();
});
afterEach(() => {
  vi.restoreAllMocks();
});

describe.each<[string, () => Promise<Store>]>([
  ["the database", openStore],
  ["memory", async () => new MemoryStore()],
])("%s", (_name, open) => {
  it("keeps conversations apart", async () => {
    const store = await open();
    await store.add({ conversation: conversation("a"), messages: [message("1", "a")] });
    await store.add({ conversation: conversation("b"), messages: [message("2", "b")] });
    expect(await store.put([message("3", "a"), message("1", "a", "longer")])).toBe(true);
    expect((await store.list()).map((c) => c.id).sort()).toEqual(["a", "b"]);
    expect((await store.messages("a")).map((m) => m.content).sort()).toEqual(["3", "longer"]);
    await store.remove("a");
    expect((await store.list()).map((c) => c.id)).toEqual(["b"]);
    expect(await store.messages("a")).toEqual([]);
    expect(await store.messages("b")).toHaveLength(1);
  });

  it("does not bring back what another window deleted", async () => {
    const store = await open();
    await store.add({ conversation: conversation("a"), messages: [] });
    await store.remove("a");
    expect(await store.update(conversation("a"))).toBe(false);
    expect(await store.put([message("1", "a")])).toBe(false);
    expect(await store.list()).toEqual([]);
    expect(await store.messages("a")).toEqual([]);
  });

  it("refuses to add a conversation twice, and then adds none of its messages", async () => {
    const store = await open();
    await store.add({ conversation: conversation("a"), messages: [] });
    await expect(store.add({ conversation: conversation("a"), messages: [message("1", "a")] })).rejects.toThrow();
    expect(await store.messages("a")).toEqual([]);
  });
});

describe("a full database", () => {
  it("loses the write and nothing else, and says so", async () => {
    const store = await openStore();
    await store.add({ conversation: conversation("a"), messages: [message("1", "a")] });
    const put = FakeObjectStore.prototype.put;
    const full = vi.spyOn(FakeObjectStore.prototype, "put").mockImplementation(function (this: IDBObjectStore, value: unknown) {
      if ((value as Message).content === "large") throw new DOMException("no room", "QuotaExceededError");
      return put.call(this, value);
    } as never);
    const outcome = store.put([message("2", "a"), message("3", "a", "large")]);
    await expect(outcome).rejects.toSatisfy(isFull);
    full.mockRestore();
    const kept = (await store.messages("a")).map((m) => m.content);
    expect(kept).toContain("1");
    expect(kept).not.toContain("large");
    expect(await store.put([message("4", "a")])).toBe(true);
  });
});

describe("a browser without a database", () => {
  it("keeps conversations in memory and says that they don't last", async () => {
    vi.spyOn(globalThis.indexedDB, "open").mockImplementation(() => {
      throw new DOMException("denied", "SecurityError");
    });
    const store = await openStore();
    expect(store.lasting).toBe(false);
    await store.add({ conversation: conversation("a"), messages: [] });
    expect(await store.list()).toHaveLength(1);
  });
});
