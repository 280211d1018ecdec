// Photos in rows of one height that fill the width.
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { type Picture, thumbnail } from "./api";

const GAP = 4; // pixels
const MOST_ASPECT = 3;
const LEAST_ASPECT = 0.5;

export function aspectOf(picture: Picture): number {
  const aspect = picture.width && picture.height ? picture.width / picture.height : 1;
  return Math.min(Math.max(aspect, LEAST_ASPECT), MOST_ASPECT);
}

/** Cut pictures into rows: the height of each, and where it ends. */
export function rowsOf(
  aspects: readonly number[],
  width: number,
  height: number,
): { end: number; height: number }[] {
  const rows: { end: number; height: number }[] = [];
  let sum = 0;
  let first = 0;
  aspects.forEach((aspect, index) => {
    sum += aspect;
    const count = index + 1 - first;
    const fitting = (width - GAP * (count - 1)) / sum;
    if (fitting <= height || index === aspects.length - 1) {
      rows.push({ end: index + 1, height: Math.min(fitting, height * 1.25) });
      first = index + 1;
      sum = 0;
    }
  });
  return rows;
}

/** The width of an element, in pixels; 0 before it is shown. */
export function useWidth<T extends HTMLElement>() {
  const ref = useRef<T>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const element = ref.current!;
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    setWidth(element.clientWidth);
    return () => observer.disconnect();
  }, []);
  return [ref, width] as const;
}

interface Props<T extends Picture> {
  pictures: readonly T[];
  label: string;
  name: (picture: T) => string;
  badge?: (picture: T) => ComponentChildren;
  isMarked?: (picture: T) => boolean;
  onOpen: (place: number) => void;
}

export function Grid<T extends Picture & { photo: number }>(props: Props<T>) {
  const { pictures, label, name, badge, isMarked, onOpen } = props;
  const [ref, width] = useWidth<HTMLUListElement>();
  const height = width < 600 ? 120 : 200;
  const aspects = pictures.map(aspectOf);
  const rows = width ? rowsOf(aspects, width, height) : [];
  const heights = new Map<number, number>();
  let first = 0;
  for (const row of rows) {
    for (let place = first; place < row.end; place += 1) heights.set(place, row.height);
    first = row.end;
  }
  return (
    <ul class="grid" ref={ref} aria-label={label}>
      {pictures.map((picture, place) => {
        const tall = heights.get(place) ?? height;
        return (
          <li key={picture.photo}>
            <button
              type="button"
              class={isMarked?.(picture) ? "tile marked" : "tile"}
              style={{
                width: `${Math.floor(tall * aspects[place]! * 100) / 100}px`,
                height: `${tall}px`,
                backgroundColor: picture.colour ?? undefined,
              }}
              aria-label={name(picture)}
              aria-pressed={isMarked ? isMarked(picture) : undefined}
              onClick={() => onOpen(place)}
            >
              <Image picture={picture} />
              {badge && <span class="badge">{badge(picture)}</span>}
            </button>
          </li>
        );
      })}
    </ul>
  );
}

/** A thumbnail; a picture that cannot be shown says so. */
export function Image({ picture, side = 512 }: { picture: Picture; side?: 256 | 512 }) {
  const [failed, setFailed] = useState("");
  const source = thumbnail(picture, side);
  if (!source || failed === source) return <span class="missing">{picture.name || "no picture"}</span>;
  return (
    <img src={source} alt="" loading="lazy" decoding="async" onError={() => setFailed(source)} />
  );
}

/** Move the focus by a key among the tiles of a grid. */
export function moveFocus(by: "left" | "right" | "up" | "down"): void {
  const tiles = [...document.querySelectorAll<HTMLElement>(".grid .tile")];
  const at = tiles.indexOf(document.activeElement as HTMLElement);
  if (at < 0) {
    tiles[0]?.focus();
    return;
  }
  if (by === "left" || by === "right") {
    tiles[at + (by === "left" ? -1 : 1)]?.focus();
    return;
  }
  const here = tiles[at]!.getBoundingClientRect();
  const centre = here.left + here.width / 2;
  const others = tiles.map((tile) => tile.getBoundingClientRect());
  const lines = others.map((box) => box.top).filter((top) =>
    by === "up" ? top < here.top - 1 : top > here.top + 1,
  );
  if (!lines.length) return;
  const line = by === "up" ? Math.max(...lines) : Math.min(...lines);
  let best = -1;
  let distance = Infinity;
  others.forEach((box, index) => {
    const away = Math.abs(box.left + box.width / 2 - centre);
    if (Math.abs(box.top - line) < 1 && away < distance) [best, distance] = [index, away];
  });
  tiles[best]?.focus();
}
