// Conversations in the browser's own database. Every message is a record of its own: a failed write loses that write
// and nothing else, and two open pages cannot overwrite each other's messages.

import { openDB, type DBSchema, type IDBPDatabase } from "idb";
import type { Whole } from "./transfer";
import type { Conversation, Message } from "./types";

export interface Store {
  /** False when conversations live no longer than the page. */
  readonly lasting: boolean;
  list(): Promise<Conversation[]>;
  messages(conversation: string): Promise<Message[]>;
  /** Adds a conversation with its messages, all or nothing. */
  add(whole: Whole): Promise<void>;
  /** Writes a conversation's own fields; false if another page has deleted it. */
  update(conversation: Conversation): Promise<boolean>;
  /** Writes messages; false if another page has deleted their conversation. */
  put(messages: Message[]): Promise<boolean>;
  remove(conversation: string): Promise<void>;
}

/** Whether a write failed because the browser gives the page no more room. */
export function isFull(error: unknown): boolean {
  return error instanceof DOMException && (error.name === "QuotaExceededError" || error.code === 22);
}

interface Schema extends DBSchema {
  conversations: { key: string; value: Conversation };
  messages: { key: string; value: Message; indexes: { conversation: string } };
}

/** Opens the database; where the browser has none, conversations are kept in memory. */
export async function openStore(): Promise<Store> {
  try {
    const db = await openDB<Schema>("leo", 1, {
      upgrade(fresh) {
        fresh.createObjectStore("conversations", { keyPath: "id" });
        fresh.createObjectStore("messages", { keyPath: "id" }).createIndex("conversation", "conversation");
      },
      blocking(_current, _next, event) {
        (event.target as IDBDatabase).close();
      },
    });
    return new DatabaseStore(db);
  } catch {
    return new MemoryStore();
  }
}

class DatabaseStore implements Store {
  readonly lasting = true;

  constructor(private readonly db: IDBPDatabase<Schema>) {}

  async list(): Promise<Conversation[]> {
    return this.db.getAll("conversations");
  }

  async messages(conversation: string): Promise<Message[]> {
    return this.db.getAllFromIndex("messages", "conversation", conversation);
  }

  async add({ conversation, messages }: Whole): Promise<void> {
    const tx = this.db.transaction(["conversations", "messages"], "readwrite");
    const writes = [tx.objectStore("conversations").add(conversation)];
    for (const m of messages) writes.push(tx.objectStore("messages").add(m));
    await settle(writes, tx.done);
  }

  async update(conversation: Conversation): Promise<boolean> {
    const tx = this.db.transaction("conversations", "readwrite");
    const known = (await tx.store.getKey(conversation.id)) !== undefined;
    await settle(known ? [tx.store.put(conversation)] : [], tx.done);
    return known;
  }

  async put(messages: Message[]): Promise<boolean> {
    const first = messages[0];
    if (!first) return true;
    const tx = this.db.transaction(["conversations", "messages"], "readwrite");
    const known = (await tx.objectStore("conversations").getKey(first.conversation)) !== undefined;
    await settle(known ? messages.map((m) => tx.objectStore("messages").put(m)) : [], tx.done);
    return known;
  }

  async remove(conversation: string): Promise<void> {
    const tx = this.db.transaction(["conversations", "messages"], "readwrite");
    const keys = await tx.objectStore("messages").index("conversation").getAllKeys(conversation);
    const writes: Promise<unknown>[] = keys.map((key) => tx.objectStore("messages").delete(key));
    writes.push(tx.objectStore("conversations").delete(conversation));
    await settle(writes, tx.done);
  }
}

/** Waits for a transaction. Of several errors one says why: the others are of writes that were given up with it. */
async function settle(writes: Promise<unknown>[], done: Promise<void>): Promise<void> {
  const outcomes = await Promise.allSettled([...writes, done]);
  const reasons = outcomes.filter((o) => o.status === "rejected").map((o) => o.reason as unknown);
  if (reasons.length > 0) throw reasons.find(isFull) ?? reasons[0];
}

export class MemoryStore implements Store {
  readonly lasting = false;
  private readonly wholes = new Map<string, { conversation: Conversation; messages: Map<string, Message> }>();

  async list(): Promise<Conversation[]> {
    return structuredClone([...this.wholes.values()].map((w) => w.conversation));
  }

  async messages(conversation: string): Promise<Message[]> {
    return structuredClone([...(this.wholes.get(conversation)?.messages.values() ?? [])]);
  }

  async add({ conversation, messages }: Whole): Promise<void> {
    if (this.wholes.has(conversation.id)) throw new DOMException("the conversation exists", "ConstraintError");
    this.wholes.set(conversation.id, { conversation, messages: new Map(messages.map((m) => [m.id, m])) });
  }

  async update(conversation: Conversation): Promise<boolean> {
    const whole = this.wholes.get(conversation.id);
    if (whole) whole.conversation = conversation;
    return whole !== undefined;
  }

  async put(messages: Message[]): Promise<boolean> {
    const whole = messages[0] && this.wholes.get(messages[0].conversation);
    for (const m of messages) whole?.messages.set(m.id, m);
    return whole !== undefined;
  }

  async remove(conversation: string): Promise<void> {
    this.wholes.delete(conversation);
  }
}
