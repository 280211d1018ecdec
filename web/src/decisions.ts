// Decisions on their way to the server. None is lost: the browser keeps each until it has arrived,
// for all tabs together, and sends them in order when the server answers or a page is opened.
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

const PREFIX = "decision ";
const LOCK = "decisions";
const RETRY_MS = 2000;
const HOPELESS = new Set([400, 404, 410, 413, 422]); // it would be refused again: the photo is gone

/** The keys of the decisions that have not arrived, the oldest first. */
export const unsent = signal<readonly string[]>(kept());
let count = 0;
let sending: Promise<boolean> | null = null;

function kept(): string[] {
  return Object.keys(localStorage)
    .filter((key) => key.startsWith(PREFIX))
    .sort();
}

function refresh(): void {
  unsent.value = kept();
}

addEventListener("storage", refresh); // another tab keeps or sends some

effect(() => {
  if (isOnline.value && unsent.value.length) void flush();
});

/** Send a decision, after those that have not arrived yet. */
export function decide(decision: Sending): void {
  count += 1;
  const order = `${String(Date.now()).padStart(15, "0")} ${String(count).padStart(6, "0")}`;
  localStorage.setItem(`${PREFIX}${order} ${Math.random()}`, JSON.stringify(decision));
  refresh();
}

/** Wait for the decisions on their way; false if one could not arrive now. */
export async function settled(): Promise<boolean> {
  await flush();
  return !kept().length;
}

function flush(): Promise<boolean> {
  sending ??= sendAll().finally(() => (sending = null));
  return sending;
}

async function sendAll(): Promise<boolean> {
  let arrives = true;
  while (arrives && kept().length) arrives = await alone(sendOldest);
  return arrives;
}

/** Work while no other tab does, so that no decision is sent twice. */
function alone(work: () => Promise<boolean>): Promise<boolean> {
  // Only pages of this machine or of HTTPS have locks.
  return navigator.locks ? navigator.locks.request(LOCK, work) : work();
}

async function sendOldest(): Promise<boolean> {
  const key = kept()[0];
  const text = key === undefined ? null : localStorage.getItem(key);
  if (key === undefined || text === null) {
    refresh();
    return true;
  }
  try {
    await send("POST", "/review/decisions", JSON.parse(text));
  } catch (error) {
    if (!(error instanceof Problem)) {
      setTimeout(refresh, RETRY_MS); // the server is away; it is tried again
      return false;
    }
    if (!HOPELESS.has(error.status)) {
      fail(error, refresh); // a writer is busy, say, or the server has a new token
      return false;
    }
    fail(error);
  }
  localStorage.removeItem(key);
  refresh();
  return true;
}
