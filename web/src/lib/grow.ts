/** Makes a text area as high as its text, up to what its style allows. */
export function grow(area: HTMLTextAreaElement): () => void {
  const fit = () => {
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`;
  };
  area.addEventListener("input", fit);
  const observer = new ResizeObserver(fit);
  observer.observe(area.parentElement ?? area);
  fit();
  return () => {
    area.removeEventListener("input", fit);
    observer.disconnect();
  };
}
