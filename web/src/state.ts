// What every page shares: the address, notices and the theme.
import { computed, signal } from "@preact/signals";
import { isAborted } from "./api";

const here = signal(location.pathname + location.search);

addEventListener("popstate", () => {
  here.value = location.pathname + location.search;
});

export const path = computed(() => here.value.split("?", 1)[0] ?? "/");
export const query = computed(() => new URLSearchParams(here.value.split("?", 2)[1] ?? ""));

/** Show another address; `replace` leaves no step for the back button. */
export function go(address: string, { replace = false } = {}): void {
  if (address === here.value) return;
  history[replace ? "replaceState" : "pushState"](null, "", address);
  here.value = address;
}

/** The address of this page with some parameters changed; null and "" remove one. */
export function changed(values: Record<string, string | readonly string[] | null>): string {
  const found = new URLSearchParams(query.value);
  for (const [name, value] of Object.entries(values)) {
    found.delete(name);
    for (const item of Array.isArray(value) ? value : [value]) if (item) found.append(name, item);
  }
  const text = found.toString();
  return path.value + (text ? `?${text}` : "");
}

export interface Notice {
  id: number;
  text: string;
  isError: boolean;
  retry?: () => void;
}

const GOOD_MS = 6000;
let lastNotice = 0;

export const notices = signal<Notice[]>([]);

export function say(text: string): void {
  const id = add({ text, isError: false });
  setTimeout(() => dismiss(id), GOOD_MS);
}

/** Show why something failed, until it is dismissed; the way out is a retry, if there is one. */
export function fail(error: unknown, retry?: () => void): void {
  if (isAborted(error)) return;
  const offline = error instanceof TypeError;
  const text = offline ? "The server did not answer." : String((error as Error).message ?? error);
  for (const same of notices.value.filter((n) => n.text === text)) dismiss(same.id);
  add(retry ? { text, isError: true, retry } : { text, isError: true });
}

function add(notice: Omit<Notice, "id">): number {
  lastNotice += 1;
  notices.value = [...notices.value, { ...notice, id: lastNotice }];
  return lastNotice;
}

export function dismiss(id: number): void {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}

type Theme = "light" | "dark";
const KEY = "theme";

function systemTheme(): Theme {
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

export const theme = signal<Theme>((localStorage.getItem(KEY) as Theme | null) ?? systemTheme());

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  if (!localStorage.getItem(KEY)) theme.value = systemTheme();
});

theme.subscribe((value) => {
  document.documentElement.dataset.theme = value;
});

export function toggleTheme(): void {
  theme.value = theme.value === "dark" ? "light" : "dark";
  localStorage.setItem(KEY, theme.value);
}
