// Following a text that grows, without ever taking the page out of the reader's hand.

/** Pixels from the end within which the reader counts as being there. */
const near = 48;

/**
 * Keeps a scroller at its end while its content grows, from the start and for as long as the reader stays there.
 * Scrolling up ends it at once, coming back to the end resumes it. `report` is told when the end is out of sight.
 */
export function follow(scroller: HTMLElement, report: (away: boolean) => void): () => void {
  let following = true;
  let last = scroller.scrollTop;
  const distance = () => scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop;

  const grown = () => {
    if (following) scroller.scrollTop = scroller.scrollHeight;
    last = scroller.scrollTop;
    report(distance() > near);
  };
  const scrolled = () => {
    if (scroller.scrollTop < last - 1) following = distance() <= 1;
    else if (distance() <= near) following = true;
    last = scroller.scrollTop;
    report(distance() > near);
  };
  // The wheel tells of the wish before the scroller moves, which a growing text would undo.
  const wheeled = (event: WheelEvent) => {
    if (event.deltaY < 0 && scroller.scrollTop > 0) following = false;
  };

  const observer = new ResizeObserver(grown);
  observer.observe(scroller);
  for (const child of scroller.children) observer.observe(child);
  scroller.addEventListener("scroll", scrolled, { passive: true });
  scroller.addEventListener("wheel", wheeled, { passive: true });
  grown();
  return () => {
    observer.disconnect();
    scroller.removeEventListener("scroll", scrolled);
    scroller.removeEventListener("wheel", wheeled);
  };
}
