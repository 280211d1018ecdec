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
  return !!element?.closest("input:not([type=checkbox]):not([type=range]), textarea, select");
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (isTyping(event.target) && event.key !== "Escape") return;
  const onButton = (event.target as HTMLElement | null)?.closest?.("button, a, summary");
  if (onButton && (event.key === "Enter" || event.key === " ")) return;
  for (const layer of [...activeLayers()].reverse()) {
    const found = layer.keys.find((key) => key.keys.includes(event.key));
    if (found) {
      event.preventDefault();
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
