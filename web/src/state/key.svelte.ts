// The API key: in memory and for the session, on the device only if the user says so.

import { recall, remember } from "./prefs";

interface Question {
  /** The key that the server refused; empty if it had none. */
  refused: string;
  settle: (key: string | null) => void;
}

class KeyRing {
  value = $state(recall("key", "session") ?? recall("key") ?? "");
  kept = $state(recall("key") !== null);
  /** Open while the page asks for a key. */
  question = $state.raw<Question | null>(null);
  private asked: Promise<string | null> | null = null;

  /** Asks once, however many requests were refused at the same time. */
  ask = (refused: string): Promise<string | null> => {
    if (this.value !== refused) return Promise.resolve(this.value);
    this.asked ??= new Promise<string | null>((resolve) => {
      this.question = { refused, settle: resolve };
    }).finally(() => {
      this.asked = null;
      this.question = null;
    });
    return this.asked;
  };

  answer(key: string | null, keep: boolean): void {
    if (key !== null) {
      this.value = key;
      this.kept = keep;
      remember("key", key, "session");
      remember("key", keep ? key : null);
    }
    this.question?.settle(key);
  }

  forget(): void {
    this.value = "";
    this.kept = false;
    remember("key", null, "session");
    remember("key", null);
  }
}

export const keyRing = new KeyRing();
