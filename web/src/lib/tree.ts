// The messages of a column form a tree: editing and regenerating add siblings, nothing is ever removed.

import type { Message } from "./types";

export const root = "root";

export type Choice = Record<string, string>;

/** Children by the id of their parent, oldest first. */
export type Index = Map<string, Message[]>;

export function index(messages: Iterable<Message>, column: number): Index {
  const found: Index = new Map();
  for (const m of messages) {
    if (m.column !== column) continue;
    const key = m.parent ?? root;
    const siblings = found.get(key);
    if (siblings) siblings.push(m);
    else found.set(key, [m]);
  }
  for (const siblings of found.values()) {
    siblings.sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1));
  }
  return found;
}

/** The visible branch: at every fork the chosen child, or else the youngest. */
export function path(tree: Index, choice: Choice): Message[] {
  const way: Message[] = [];
  const seen = new Set<string>();
  for (let at = root; ; ) {
    const children = tree.get(at);
    if (!children) return way;
    const next = children.find((m) => m.id === choice[at]) ?? children[children.length - 1];
    if (!next || seen.has(next.id)) return way;
    seen.add(next.id);
    way.push(next);
    at = next.id;
  }
}

/** The choice that leads through a message; what was chosen below it stays. */
export function choose(choice: Choice, message: Message, byId: Map<string, Message>): Choice {
  const next = { ...choice };
  const seen = new Set<string>();
  for (let m: Message | undefined = message; m && !seen.has(m.id); m = m.parent ? byId.get(m.parent) : undefined) {
    seen.add(m.id);
    next[m.parent ?? root] = m.id;
  }
  return next;
}

export interface Turn {
  role: "system" | "user" | "assistant";
  content: string;
}

/**
 * What the server reads. Templates want user and assistant to alternate, so an answer without text is left out and
 * questions that then follow each other become one.
 */
export function turns(system: string, way: readonly Message[]): Turn[] {
  const list: Turn[] = [];
  if (system.trim() !== "") list.push({ role: "system", content: system });
  for (const m of way) {
    if (m.role === "assistant" && m.content === "") continue;
    const last = list[list.length - 1];
    if (last && last.role === m.role) last.content += "\n\n" + m.content;
    else list.push({ role: m.role, content: m.content });
  }
  return list;
}

/** What is wrong with a list of messages as a forest, or an empty string. */
export function flaw(messages: readonly Message[]): string {
  const byId = new Map<string, Message>();
  for (const m of messages) {
    if (byId.has(m.id)) return `two messages have the id ${m.id}`;
    byId.set(m.id, m);
  }
  const sound = new Set<string>();
  for (const start of messages) {
    const walked = new Set<string>();
    for (let m = start; !sound.has(m.id); ) {
      if (walked.has(m.id)) return `message ${m.id} is its own ancestor`;
      walked.add(m.id);
      if (m.parent === null) break;
      const parent = byId.get(m.parent);
      if (!parent) return `message ${m.id} has an unknown parent`;
      if (parent.column !== m.column) return `message ${m.id} and its parent are of different columns`;
      m = parent;
    }
    for (const id of walked) sound.add(id);
  }
  return "";
}
