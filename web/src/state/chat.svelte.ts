// One conversation: its messages, and the answers being written into it. It lives on while another one is shown.

import { SvelteMap } from "svelte/reactivity";
import { newId } from "../lib/id";
import { choose, index, path, root, turns, type Turn } from "../lib/tree";
import type { Column, Conversation, Message } from "../lib/types";
import { answer, type Running } from "./answer.svelte";

/** What a chat needs of the page around it. */
export interface Surroundings {
  /** Writes the conversation's own fields and the given messages. */
  save(conversation: Conversation, messages: Message[]): void;
  /** Called when an answer has ended, however it did. */
  ended(chat: Chat, message: Message): void;
}

const longestTitle = 60;

export class Chat {
  meta: Conversation = $state(undefined as unknown as Conversation);
  messages: Message[] = $state([]);
  /** Text in the input, not sent yet. */
  draft = $state("");
  /** The id of the message that is being edited. */
  editing = $state("");
  /** By the id of the message being written. */
  readonly running = new SvelteMap<string, Running>();

  private readonly byId = $derived(new Map(this.messages.map((m) => [m.id, m])));
  private readonly trees = $derived([index(this.messages, 0), index(this.messages, 1)] as const);
  readonly paths = $derived([
    path(this.trees[0], this.meta.columns[0].choice),
    path(this.trees[1], this.meta.columns[1]?.choice ?? {}),
  ] as const);

  constructor(
    meta: Conversation,
    messages: Message[],
    private readonly around: Surroundings,
  ) {
    this.meta = meta;
    this.messages = messages;
  }

  /** The columns on the screen. */
  get shown(): (0 | 1)[] {
    return this.meta.compare ? [0, 1] : [0];
  }

  column(c: 0 | 1): Column {
    return this.meta.columns[c] ?? this.meta.columns[0];
  }

  siblings(m: Message): Message[] {
    return this.trees[m.column].get(m.parent ?? root) ?? [];
  }

  /** What the server read before an answer, or would read next. */
  turnsFor(c: 0 | 1, before?: Message, draft = ""): Turn[] {
    const way = this.paths[c];
    const upTo = before ? way.slice(0, way.indexOf(before)) : way;
    const list = turns(this.column(c).system, upTo);
    const last = list[list.length - 1];
    if (draft !== "" && last?.role === "user") last.content += "\n\n" + draft;
    else if (draft !== "") list.push({ role: "user", content: draft });
    return list;
  }

  /** Asks every shown column. */
  send(text: string): void {
    if (!this.meta.named && this.messages.length === 0) this.meta.title = titleOf(text);
    const pairs = this.shown.map((c) => {
      const last = this.paths[c][this.paths[c].length - 1];
      return this.question(c, last?.id ?? null, text);
    });
    this.begin(pairs);
  }

  /** Asks again with another text, on a branch beside the old one. */
  edit(message: Message, text: string): void {
    this.begin([this.question(message.column, message.parent, text)]);
  }

  /** Answers the same question once more, beside the old answer. */
  regenerate(message: Message): void {
    const question = message.parent ? this.byId.get(message.parent) : undefined;
    if (question) this.begin([[this.reply(question)]]);
  }

  choose(message: Message): void {
    this.follow(message);
    this.save([]);
  }

  stop(): void {
    for (const running of this.running.values()) running.stop();
  }

  /** Shows a second column, which begins with what the first one knows, or hides it again. */
  compare(on: boolean): void {
    if (on && !this.meta.columns[1]) {
      const { model, system, sampling } = this.meta.columns[0];
      this.meta.columns = [this.meta.columns[0], { model, system, sampling: { ...sampling }, choice: {} }];
    }
    this.meta.compare = on;
    const copies = on && !this.sameQuestions() ? this.copyPath() : [];
    this.save(copies);
  }

  /** Writes the conversation's own fields after a change from outside. */
  changed(): void {
    this.save([]);
  }

  /** Writes what has arrived of running answers: the page may be closed any moment. */
  saveRunning(): void {
    const written = this.messages.filter((m) => this.running.has(m.id));
    if (written.length > 0) this.save(written);
  }

  private sameQuestions(): boolean {
    const questions = (way: Message[]) => way.filter((m) => m.role === "user").map((m) => m.content);
    return JSON.stringify(questions(this.paths[0])) === JSON.stringify(questions(this.paths[1]));
  }

  private copyPath(): Message[] {
    let parent: string | null = null;
    const copies: Message[] = [];
    for (const m of this.paths[0]) {
      const copy: Message = { ...$state.snapshot(m), id: newId(), column: 1, parent, created: Date.now() };
      if (copy.status === "running") copy.status = "stopped";
      copies.push(copy);
      parent = copy.id;
    }
    this.messages.push(...copies);
    for (const copy of copies) this.follow(copy);
    return copies;
  }

  private question(column: 0 | 1, parent: string | null, content: string): Message[] {
    const conversation = this.meta.id;
    const question: Message = {
      id: newId(),
      conversation,
      column,
      parent,
      role: "user",
      content,
      created: Date.now(),
      status: "done",
    };
    return [question, this.reply(question)];
  }

  private reply(question: Message): Message {
    return {
      id: newId(),
      conversation: this.meta.id,
      column: question.column,
      parent: question.id,
      role: "assistant",
      content: "",
      created: Date.now(),
      status: "running",
      model: this.column(question.column).model,
    };
  }

  /** Adds messages, the last of each list an answer to be written, and asks for the answers. */
  private begin(lists: Message[][]): void {
    for (const list of lists) {
      this.messages.push(...list);
      this.follow(list[list.length - 1]!);
    }
    this.meta.updated = Date.now();
    this.save(lists.flat());
    // The array hands out its reactive versions; only changes of those are seen.
    for (const list of lists) this.write(this.messages.find((m) => m.id === list[list.length - 1]!.id)!);
  }

  private write(message: Message): void {
    const column = this.column(message.column);
    const running = answer(
      message,
      { model: column.model, turns: this.turnsFor(message.column, message), sampling: { ...column.sampling } },
      {
        progress: () => this.save([message]),
        ended: () => {
          this.running.delete(message.id);
          this.save([message]);
          this.around.ended(this, message);
        },
      },
    );
    this.running.set(message.id, running);
  }

  private follow(message: Message): void {
    const column = this.column(message.column);
    column.choice = choose(column.choice, message, this.byId);
  }

  /** A conversation is kept from its first message on. */
  private save(messages: Message[]): void {
    if (this.messages.length === 0) return;
    this.around.save($state.snapshot(this.meta) as Conversation, $state.snapshot(messages) as Message[]);
  }
}

export function titleOf(text: string): string {
  const line = text.trim().replace(/\s+/g, " ");
  if (line.length <= longestTitle) return line;
  const cut = line.slice(0, longestTitle).replace(/[\ud800-\udbff]$/, "");
  return (cut.includes(" ") ? cut.slice(0, cut.lastIndexOf(" ")) : cut) + " …";
}

export function newConversation(model: string): Conversation {
  const now = Date.now();
  return {
    id: newId(),
    title: "",
    named: false,
    created: now,
    updated: now,
    compare: false,
    columns: [{ model, system: "", sampling: {}, choice: {} }],
  };
}
