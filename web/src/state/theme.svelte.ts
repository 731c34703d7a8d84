import { recall, remember } from "./prefs";

export type Theme = "auto" | "light" | "dark";

class Appearance {
  theme = $state<Theme>("auto");

  constructor() {
    const kept = recall("theme");
    if (kept === "light" || kept === "dark") this.choose(kept);
  }

  choose(theme: Theme): void {
    this.theme = theme;
    remember("theme", theme === "auto" ? null : theme);
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }
}

export const appearance = new Appearance();
