import type { Fault } from "../lib/types";
import { t } from "./text.svelte";

/** A fault in the reader's language, with the server's own words where it had any. */
export function faultText(fault: Fault): string {
  const { kind, retryAfter } = fault;
  const said = kind === "busy" && retryAfter ? t("fault.busyFor", { n: retryAfter }) : t(`fault.${kind}`);
  const own = fault.message?.trim();
  return own && fault.kind !== "busy" ? `${said.replace(/\.$/, "")}: ${own}` : said;
}
