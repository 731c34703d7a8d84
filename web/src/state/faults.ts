import type { Fault } from "../lib/types";
import { t } from "./text.svelte";

/** A fault in the reader's language, with the server's own words where it had any. */
export function faultText(fault: Fault): string {
  const said = fault.kind === "busy" && fault.retryAfter ? t("fault.busyFor", { n: fault.retryAfter }) : t(`fault.${fault.kind}`);
  const own = fault.message?.trim();
  return own && fault.kind !== "busy" ? `${said} ${own}` : said;
}
