// Keys of the page that is shown, and the list of them that `?` opens.
import { signal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";

export interface Key {
  /** As KeyboardEvent.key has it; several mean the same. */
  keys: readonly string[];
  what: string;
  run: (event: KeyboardEvent) => void;
}

interface Layer {
  title: string;
  keys: readonly Key[];
  isModal: boolean;
}

const layers = signal<readonly { current: Layer }[]>([]);

/** The layers whose keys count: all, or the uppermost modal one and those above it. */
export function activeLayers(): readonly Layer[] {
  const all = layers.value.map((layer) => layer.current);
  const modal = all.findLastIndex((layer) => layer.isModal);
  return all.slice(Math.max(modal, 0));
}

/** Bind keys while the component is shown; modal ones hide those of the page below. */
export function useKeys(title: string, keys: readonly Key[], { isModal = false } = {}): void {
  const layer = useRef<Layer>(null!);
  layer.current = { title, keys, isModal };
  useLayoutEffect(() => {
    layers.value = [...layers.value, layer];
    return () => {
      layers.value = layers.value.filter((other) => other !== layer);
    };
  }, []);
}

function isTyping(target: EventTarget | null): boolean {
  const element = target as HTMLElement | null;
  const choosers = "[type=checkbox], [type=radio], [type=range]";
  return !!element?.closest(`input:not(${choosers}), textarea, select`);
}

/** A letter counts with and without Shift or Caps Lock. */
function pressed(event: KeyboardEvent): string {
  return event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

/** Whether a key that is held down does only what it did already: it moves, and decides nothing. */
function mayRepeat(key: string): boolean {
  return /^(Arrow|Page|[+=-]$)/.test(key);
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (isTyping(event.target) && event.key !== "Escape") return;
  const key = pressed(event);
  const target = event.target as HTMLElement | null;
  if (target?.closest?.("input") && (key.startsWith("Arrow") || key === " ")) return; // a chooser
  const onButton = target?.closest?.("button, a, summary");
  if (onButton && (key === "Enter" || key === " ")) return;
  for (const layer of [...activeLayers()].reverse()) {
    const found = layer.keys.find(({ keys }) => keys.includes(key));
    if (found) {
      event.preventDefault();
      if (event.repeat && !mayRepeat(key)) return;
      found.run(event);
      return;
    }
  }
});

const NAMES: Record<string, string> = {
  " ": "Space",
  ArrowLeft: "←",
  ArrowRight: "→",
  ArrowUp: "↑",
  ArrowDown: "↓",
  Escape: "Esc",
};

export function keyName(key: string): string {
  return NAMES[key] ?? (key.length === 1 ? key.toUpperCase() : key);
}
