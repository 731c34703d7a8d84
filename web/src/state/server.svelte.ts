// The server, and the models it offers.

import { Api, ApiError } from "../lib/api";
import type { Fault, Model } from "../lib/types";
import { keyRing } from "./key.svelte";

export const api = new Api(() => keyRing.value, keyRing.ask);

class Models {
  list = $state.raw<Model[]>([]);
  state = $state<"loading" | "ready" | "failed">("loading");
  fault = $state.raw<Fault | null>(null);

  async load(): Promise<void> {
    this.state = "loading";
    this.fault = null;
    try {
      this.list = await api.models();
      this.state = "ready";
    } catch (error) {
      this.state = "failed";
      this.fault = error instanceof ApiError ? error.fault : { kind: "odd", message: String(error) };
    }
  }

  find(id: string): Model | undefined {
    return this.list.find((m) => m.id === id);
  }
}

export const models = new Models();
