// The page: which conversations there are, which one is shown, what stands beside it.

import { isFull, openStore, type Store } from "../lib/store";
import { exportText, importText, ImportError, largestFile, withNewIds, type Whole } from "../lib/transfer";
import type { Conversation, Message } from "../lib/types";
import { Chat, newConversation } from "./chat.svelte";
import { faultText } from "./faults";
import { recall, remember } from "./prefs";
import { models } from "./server.svelte";
import { t } from "./text.svelte";

export type Panel = { kind: "settings"; column: 0 | 1 } | { kind: "prompt"; column: 0 | 1; message?: string };

export interface Notice {
  text: string;
  kind: "info" | "fault";
}

class App {
  list = $state<Conversation[]>([]);
  chat = $state.raw<Chat | null>(null);
  /** The address names a conversation that is not here. */
  missing = $state(false);
  ready = $state(false);
  panel = $state.raw<Panel | null>(null);
  dialog = $state.raw<"preferences" | "keys" | null>(null);
  notice = $state.raw<Notice | null>(null);
  /** Read out by screen readers: one sentence per finished answer. */
  spoken = $state("");
  sidebar = $state(false);

  private opener: Element | null = null;
  private store: Store | null = null;
  private readonly open = new Map<string, Chat>();
  /** Conversations that the store has, or that another window has removed from it. */
  private readonly stored = new Set<string>();
  private readonly removed = new Set<string>();
  /** Writes happen one after another. */
  private writing: Promise<void> = Promise.resolve();
  /** What could not be written and is written with the next change. */
  private readonly unsaved = new Map<string, Message>();
  private readonly news = "BroadcastChannel" in window ? new BroadcastChannel("leo") : null;

  async start(): Promise<void> {
    this.store = await openStore();
    if (!this.store.lasting) this.notice = { kind: "fault", text: t("notice.memory") };
    await this.refresh();
    this.news?.addEventListener("message", (event) => void this.heard(event.data));
    window.addEventListener("hashchange", () => void this.route());
    window.addEventListener("pagehide", () => this.open.forEach((chat) => chat.saveRunning()));
    await this.route();
    this.ready = true;
    await this.loadModels();
  }

  async loadModels(): Promise<void> {
    await models.load();
    const column = this.chat?.meta.columns[0];
    if (column?.model === "") column.model = this.firstModel();
  }

  /** Shows the conversation that the address names, or a new one. */
  async route(): Promise<void> {
    const id = /^#\/c\/([0-9a-f]{32})$/.exec(location.hash)?.[1];
    this.missing = false;
    if (this.panel?.kind === "prompt") this.panel = null;
    if (!id) {
      if (this.chat?.messages.length !== 0) this.chat = this.make(newConversation(this.firstModel()), []);
      return;
    }
    if (this.chat?.meta.id === id) return;
    const chat = this.open.get(id) ?? (await this.load(id));
    if (!location.hash.endsWith(id)) return; // Meanwhile another one was chosen.
    this.missing = !chat;
    this.chat = chat ?? null;
  }

  startNew(): void {
    this.sidebar = false;
    if (location.hash === "#/" || location.hash === "") void this.route();
    else location.hash = "#/";
  }

  isRunning(id: string): boolean {
    return (this.open.get(id)?.running.size ?? 0) > 0;
  }

  openPanel(panel: Panel): void {
    if (!this.panel) this.opener = document.activeElement;
    this.panel = panel;
  }

  /** Closes what stands beside the conversation, and gives the focus back. */
  closePanel(): void {
    this.panel = null;
    const { opener } = this;
    // Only after the page is drawn may the opener take the focus again: on a phone it was inert until now.
    requestAnimationFrame(() => {
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    });
  }

  /** Remembers the model for the next conversation. */
  chooseModel(chat: Chat, column: 0 | 1, id: string): void {
    chat.column(column).model = id;
    if (column === 0) remember("model", id);
    chat.changed();
  }

  rename(id: string, title: string): void {
    const entry = this.list.find((c) => c.id === id);
    if (!entry || title.trim() === "") return;
    const chat = this.open.get(id);
    if (chat) {
      chat.meta.title = title.trim();
      chat.meta.named = true;
    }
    const next = { ...$state.snapshot(chat ? chat.meta : entry), title: title.trim(), named: true } as Conversation;
    this.save(next, []);
  }

  async remove(ids: string[]): Promise<void> {
    for (const id of ids) {
      this.open.get(id)?.stop();
      this.open.delete(id);
      this.removed.add(id);
      try {
        await this.store!.remove(id);
      } catch (error) {
        this.tell(error);
        return;
      }
      for (const m of [...this.unsaved.values()]) if (m.conversation === id) this.unsaved.delete(m.id);
      this.list = this.list.filter((c) => c.id !== id);
      this.news?.postMessage({ removed: id });
      if (this.chat?.meta.id === id) {
        this.chat = null;
        this.startNew();
      }
    }
  }

  /** The text of a file with these conversations. */
  async exported(ids: string[]): Promise<string> {
    const all: Whole[] = [];
    for (const id of ids) {
      const chat = this.open.get(id);
      const entry = this.list.find((c) => c.id === id);
      if (chat) all.push({ conversation: $state.snapshot(chat.meta), messages: $state.snapshot(chat.messages) } as Whole);
      else if (entry) all.push({ conversation: $state.snapshot(entry), messages: await this.store!.messages(id) } as Whole);
    }
    return exportText(all, new Date());
  }

  /** Adds the conversations of a file; one that is here already and differs is added as a copy. */
  async imported(file: File): Promise<void> {
    if (file.size > largestFile) {
      this.notice = { kind: "fault", text: t("notice.importLarge", { n: Math.round(file.size / (1 << 20)) }) };
      return;
    }
    let added = 0;
    try {
      for (const whole of importText(await file.text())) {
        const known = this.list.some((c) => c.id === whole.conversation.id);
        if (known && (await this.isHere(whole))) continue;
        const next = known ? withNewIds(whole) : whole;
        await this.store!.add(next);
        this.stored.add(next.conversation.id);
        this.list = sorted([next.conversation, ...this.list]);
        added++;
      }
      const text = added > 0 ? t("notice.imported", { n: added }) : t("notice.importNothing");
      this.notice = { kind: "info", text };
    } catch (error) {
      if (error instanceof ImportError) {
        this.notice = { kind: "fault", text: t("notice.importFailed", { text: error.message }) };
      } else this.tell(error);
    }
    if (added > 0) this.news?.postMessage({ changed: "" });
  }

  /** Whether the same conversation, with the same messages, is here already. */
  private async isHere(whole: Whole): Promise<boolean> {
    const here = importText(await this.exported([whole.conversation.id]))[0];
    return exportText(here ? [here] : [], new Date(0)) === exportText([whole], new Date(0));
  }

  private make(meta: Conversation, messages: Message[]): Chat {
    return new Chat(meta, messages, {
      save: (conversation, changed) => this.save(conversation, changed),
      ended: (chat, message) => this.ended(chat, message),
    });
  }

  private async load(id: string): Promise<Chat | undefined> {
    const entry = this.list.find((c) => c.id === id);
    if (!entry) return undefined;
    try {
      const messages = await this.store!.messages(id);
      const chat = this.make($state.snapshot(entry) as Conversation, messages);
      this.open.set(id, chat);
      return chat;
    } catch (error) {
      this.tell(error);
      return undefined;
    }
  }

  private save(conversation: Conversation, messages: Message[]): void {
    const { id } = conversation;
    if (this.removed.has(id)) return;
    this.list = sorted([conversation, ...this.list.filter((c) => c.id !== id)]);
    if (this.chat?.meta.id === id && !this.open.has(id)) {
      this.open.set(id, this.chat);
      history.replaceState(null, "", "#/c/" + id);
    }
    for (const m of messages) this.unsaved.set(m.id, m);
    this.writing = this.writing.then(() => this.write(conversation));
  }

  private async write(conversation: Conversation): Promise<void> {
    const { id } = conversation;
    if (this.removed.has(id)) return;
    const all = [...this.unsaved.values()].filter((m) => m.conversation === id);
    try {
      if (!this.stored.has(id)) await this.store!.add({ conversation, messages: all });
      else if (!(await this.store!.update(conversation)) || !(await this.store!.put(all))) return this.gone(id);
      this.stored.add(id);
      for (const m of all) if (this.unsaved.get(m.id) === m) this.unsaved.delete(m.id);
      this.news?.postMessage({ changed: id });
    } catch (error) {
      this.tell(error);
    }
  }

  /** Another window has deleted the conversation: what is on the screen stays there, nothing is written again. */
  private gone(id: string): void {
    this.removed.add(id);
    this.stored.delete(id);
    this.list = this.list.filter((c) => c.id !== id);
    this.notice = { kind: "fault", text: t("notice.gone") };
  }

  private async heard(news: { changed?: string; removed?: string }): Promise<void> {
    await this.refresh();
    const id = news.changed ?? news.removed ?? "";
    const chat = this.open.get(id);
    const ahead = [...this.unsaved.values()].some((m) => m.conversation === id);
    if (!chat || chat.running.size > 0 || ahead) return;
    this.open.delete(id);
    if (this.chat !== chat) return;
    if (news.removed) return this.gone(id);
    const fresh = await this.load(id);
    if (!fresh || this.chat !== chat) return;
    fresh.draft = chat.draft;
    this.chat = fresh;
  }

  private async refresh(): Promise<void> {
    try {
      const kept = await this.store!.list();
      for (const { id } of kept) this.stored.add(id);
      this.list = sorted(kept);
    } catch (error) {
      this.tell(error);
    }
  }

  private ended(chat: Chat, message: Message): void {
    if (message.status === "stopped") return;
    const model = message.model ?? "";
    if (message.fault) this.spoken = t("message.failed", { model, text: faultText(message.fault) });
    else if (chat === this.chat) this.spoken = t("message.finished", { model, text: message.content.slice(0, 2000) });
  }

  private tell(error: unknown): void {
    const text = isFull(error) ? t("notice.full") : t("notice.notSaved", { text: String(error) });
    this.notice = { kind: "fault", text };
  }

  private firstModel(): string {
    const kept = recall("model");
    if (kept && models.find(kept)) return kept;
    return models.list[0]?.id ?? "";
  }
}

function sorted(list: Conversation[]): Conversation[] {
  return list.sort((a, b) => b.updated - a.updated);
}

export const app = new App();
