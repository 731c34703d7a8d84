/** Copies a text; false if the browser refuses. navigator.clipboard exists on https and localhost only. */
export async function copyText(text: string): Promise<boolean> {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Refused, for example without focus: the older way may still work.
    }
  }
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "offscreen";
  field.setAttribute("aria-hidden", "true");
  const focused = document.activeElement;
  // Inside an open dialog everything else is inert and cannot be selected.
  (focused?.closest("dialog") ?? document.body).append(field);
  field.select();
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    field.remove();
    if (focused instanceof HTMLElement) focused.focus();
  }
}
