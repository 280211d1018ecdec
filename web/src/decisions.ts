// Decisions on their way to the server. None is lost: those that have not arrived are kept in the
// browser, and are sent when the server answers again or the page is opened again.
import { effect, signal } from "@preact/signals";
import { type Decision, isOnline, Problem, send } from "./api";
import { fail } from "./state";

interface Sending {
  label: string;
  decisions: OneDecision[];
}

export interface OneDecision {
  photo: number;
  content: string;
  decision: Decision;
}

const KEY = "decisions";
const RETRY_MS = 2000;

export const unsent = signal<readonly Sending[]>(kept());
let isBusy = false;

function kept(): Sending[] {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? (found as Sending[]) : [];
  } catch {
    return [];
  }
}

effect(() => {
  if (unsent.value.length) localStorage.setItem(KEY, JSON.stringify(unsent.value));
  else localStorage.removeItem(KEY);
});

effect(() => {
  if (isOnline.value && unsent.value.length) void flush();
});

/** Send a decision, after those that have not arrived yet. */
export function decide(sending: Sending): void {
  unsent.value = [...unsent.value, sending];
}

/** Wait until every decision has arrived; false if the server does not answer now. */
export async function settled(): Promise<boolean> {
  while (unsent.value.length && isOnline.value) {
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  return !unsent.value.length;
}

async function flush(): Promise<void> {
  if (isBusy) return;
  isBusy = true;
  try {
    while (unsent.value.length) {
      const next = unsent.value[0]!;
      try {
        await send("POST", "/review/decisions", next);
      } catch (error) {
        if (!(error instanceof Problem)) {
          setTimeout(() => void flush(), RETRY_MS); // the server is away; it is tried again
          return;
        }
        if (error.status === 409 || error.status === 429 || error.status >= 500) {
          fail(error, () => void flush());
          return;
        }
        fail(error); // the photo is gone, say: sending it again would not help
      }
      unsent.value = unsent.value.filter((other) => other !== next);
    }
  } finally {
    isBusy = false;
  }
}
