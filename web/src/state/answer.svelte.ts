// One answer being written: pieces are gathered and shown once per frame, so that fast models don't slow the page.

import { ApiError } from "../lib/api";
import type { Chunk } from "../lib/stream";
import type { Turn } from "../lib/tree";
import type { Message, Sampling, Stats } from "../lib/types";
import { api } from "./server.svelte";

export interface Running {
  stop(): void;
}

interface Watch {
  /** Now and then while it grows: time to save. */
  progress(): void;
  ended(): void;
}

/** Milliseconds between saves of a growing answer. */
const saveEvery = 1000;

export function answer(
  message: Message,
  ask: { model: string; turns: Turn[]; sampling: Sampling },
  watch: Watch,
): Running {
  const abort = new AbortController();
  const text = new Gathered((piece) => (message.content += piece));
  const clock = new Clock();
  let saved = performance.now();

  const each = (chunk: Chunk) => {
    const choice = chunk.choices?.[0];
    const piece = choice?.delta?.content;
    if (typeof piece === "string" && piece !== "") {
      clock.piece();
      text.add(piece);
    }
    if (typeof choice?.finish_reason === "string") message.finish = choice.finish_reason;
    clock.usage(chunk);
    const now = performance.now();
    if (clock.due(now)) message.stats = clock.stats(false);
    if (now - saved >= saveEvery) {
      saved = now;
      text.flush();
      watch.progress();
    }
  };

  void api
    .chat(ask, each, abort.signal)
    .then(
      () => (message.status = "done"),
      (error: unknown) => {
        message.status = abort.signal.aborted ? "stopped" : "failed";
        if (message.status === "failed") {
          message.fault = error instanceof ApiError ? error.fault : { kind: "odd", message: String(error) };
        }
      },
    )
    .finally(() => {
      text.flush();
      if (clock.began) message.stats = clock.stats(true);
      watch.ended();
    });

  return { stop: () => abort.abort() };
}

/** Text that waits for the next frame; pages in the background have no frames and get a timer. */
class Gathered {
  private waiting = "";
  private frame = 0;
  private timer = 0;

  constructor(private readonly show: (piece: string) => void) {}

  add(piece: string): void {
    this.waiting += piece;
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => this.flush());
    this.timer = window.setTimeout(() => this.flush(), 250);
  }

  flush(): void {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    this.frame = 0;
    if (this.waiting === "") return;
    const piece = this.waiting;
    this.waiting = "";
    this.show(piece);
  }
}

/** Times an answer: by the server's own clock where it sends one, else by what arrived when. */
class Clock {
  private readonly start = performance.now();
  private first = 0;
  private last = 0;
  private pieces = 0;
  private shown = 0;
  private final: Stats = {};

  get began(): boolean {
    return this.pieces > 0;
  }

  piece(): void {
    this.last = performance.now();
    if (this.pieces++ === 0) this.first = this.last;
  }

  usage({ usage, timings }: Chunk): void {
    if (usage) {
      this.final.promptTokens = amount(usage.prompt_tokens);
      this.final.answerTokens = amount(usage.completion_tokens);
      this.final.cachedTokens = amount(usage.prompt_tokens_details?.cached_tokens);
    }
    if (timings) {
      const n = amount(timings.predicted_n);
      const ms = amount(timings.predicted_ms);
      if (n && ms) this.final.rate = (n / ms) * 1000;
      this.final.cachedTokens = amount(timings.cached_n) ?? this.final.cachedTokens;
    }
  }

  /** Whether numbers should be shown anew: a few times a second, or nobody can read them. */
  due(now: number): boolean {
    if (!this.began || now - this.shown < 300) return false;
    this.shown = now;
    return true;
  }

  stats(ended: boolean): Stats {
    const stats: Stats = { ...this.final, firstMs: Math.round(this.first - this.start) };
    const tokens = this.final.answerTokens ?? this.pieces;
    const seconds = (this.last - this.first) / 1000;
    // The first token's time belongs to the prompt.
    if (stats.rate === undefined && tokens > 1 && seconds > 0) stats.rate = (tokens - 1) / seconds;
    if (!ended) stats.answerTokens = this.pieces;
    return stats;
  }
}

/** A number of a server, if it is one. */
function amount(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : undefined;
}
