// Scrolling through more pixels than a page element may have.
//
// Chromium ends an element at 33,554,428 device pixels, Firefox earlier, so the scroll bar of a
// long timeline stands for more pixels than it has.

const TALLEST = 8_000_000; // CSS pixels: below every browser's limit at a device pixel ratio of 2

export interface Mapping {
  /** Of the element, in pixels. */
  height: number;
  /** The largest offset of the view. */
  last: number;
  isMapped: boolean;
  toScroll: (offset: number) => number;
  toOffset: (scroll: number) => number;
}

/** Map the scroll bar of an element to a content, both seen through a view; all in pixels. */
export function mapping(content: number, view: number): Mapping {
  const height = Math.min(content, TALLEST);
  const last = Math.max(content - view, 0);
  const lastScroll = Math.max(height - view, 0);
  const factor = lastScroll ? last / lastScroll : 1;
  return {
    height,
    last,
    isMapped: content > TALLEST,
    toScroll: (offset) => offset / factor,
    toOffset: (scroll) => Math.min(scroll * factor, last),
  };
}
