// Small choices that outlive the page. Browsers may forbid storage: then they last as long as the page.

const prefix = "leo.";

export function recall(name: string, area: "local" | "session" = "local"): string | null {
  try {
    return storage(area).getItem(prefix + name);
  } catch {
    return null;
  }
}

/** Keeps a value, or forgets it. */
export function remember(name: string, value: string | null, area: "local" | "session" = "local"): void {
  try {
    if (value === null) storage(area).removeItem(prefix + name);
    else storage(area).setItem(prefix + name, value);
  } catch {
    // Nothing depends on it.
  }
}

function storage(area: "local" | "session"): Storage {
  return area === "local" ? localStorage : sessionStorage;
}
