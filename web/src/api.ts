// The REST interface of the server: its types, requests, and what is shown when one fails.
import { signal } from "@preact/signals";

export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export interface Picture {
  name: string;
  width: number | null;
  height: number | null;
  thumbnail: string | null;
  colour: string | null;
}

export interface Hit extends Picture {
  photo: number;
  path: string;
  p?: number;
  score: number;
  global: number;
  local: number;
  boxes: Box[];
  copies: string[];
  taken_at: string | null;
}

export interface SearchResult {
  query: string;
  match: "yes" | "none" | "unknown" | null;
  nearest: string[];
  expected: { photos: number; wrong: number } | null;
  no_p: string | null;
  milliseconds: Record<string, number>;
  hits: Hit[];
}

export interface PhotoInTime extends Picture {
  photo: number;
  taken_at: string | null;
  state: string;
}

export interface Month {
  month: string | null;
  first: number;
  count: number;
}

export interface Timeline {
  revision: string;
  total: number;
  months: Month[];
}

export interface Tag {
  label: string;
  score: number | null;
  p: number | null;
  source: "auto" | "human" | "imported";
  run: number | null;
}

export interface Photo extends Picture {
  photo: number;
  path: string;
  state: string;
  error: string | null;
  size: number;
  format: string | null;
  taken_at: string | null;
  date_source: string | null;
  camera: string | null;
  latitude: number | null;
  longitude: number | null;
  tags: Tag[];
  refused: string[];
  copies: string[];
}

export interface Regions {
  terms: {
    label: string;
    weight: number;
    boxes: Box[];
    heat: { rows: number; columns: number; values: number[] };
  }[];
}

export interface Hint {
  label: string;
  kind: string;
}

export interface LabelCount {
  label: string;
  photos: number;
  auto: number;
  human: number;
  imported: number;
  refused: number;
}

export interface Run {
  run: number;
  kind: string;
  started_at: string;
  ended_at: string | null;
  outcome: string;
  settings: Record<string, unknown>;
  summary: Record<string, unknown>;
}

export interface Queue {
  label: string;
  run: number | null;
  undecided: number;
  accepted: number;
  rejected: number;
}

export interface Proposed extends Picture {
  photo: number;
  /** Of the bytes that are shown; sent with a decision, which does not count for others. */
  content: string;
  score: number | null;
  p: number | null;
}

export interface Decided {
  id: number;
  label: string;
  decisions: { photo: number; decision: Decision }[];
}

export type Decision = "accept" | "reject";

export interface Quality {
  labels: number;
  photos: number;
  ece: number;
  ece_likely: number | null;
  brier_skill: number;
  auroc: number | null;
  absent_answered: number | null;
  present_missed: number | null;
  reached: Record<
    string,
    { precision: number | null; worst: number | null; recall: number; answered: number }
  >;
}

export interface Status {
  directory: string;
  photos: Record<string, number>;
  duplicates: number;
  model: string | null;
  roots: { id: number; path: string; exists: boolean; photos: number }[];
  tags: Record<string, number>;
  writer: string | null;
  read_only: boolean;
  version: string;
  calibrator: Quality | null;
  problem: string | null;
}

export interface Model {
  model: string | null;
  encoding: Record<string, unknown> | null;
  calibrator: {
    quality: Quality;
    curve: { logit: number; p: number }[];
    labels: number;
    made_from: string;
  } | null;
  problem: string | null;
  evaluations: {
    model: string;
    dataset: string;
    protocol: string;
    results: {
      rows?: {
        labels: string;
        scale: string;
        stream: string;
        paper?: { mAP?: number | null };
      }[];
    };
    created_at: string | null;
  }[];
}

export interface MapFacts {
  version: string;
  photos: number;
  missing: number;
  stale: string | null;
  clusters: { level: number; x: number; y: number; name: string | null; photos: number }[];
}

export interface Job {
  id: number;
  kind: string;
  state: string;
  step: string;
  done: number;
  total: number;
  failed: number;
  message: string;
  log: string[];
}

/** What the server answered instead of a result: a sentence that says what is wrong. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    detail: string,
  ) {
    super(detail);
  }
}

/** False while the server does not answer. */
export const isOnline = signal(true);

const API = "/api/v1";
const RETRY_MS = 1500;

export type Values = Record<string, string | number | readonly number[] | null | undefined>;

export function address(path: string, values: Values = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const item of Array.isArray(value) ? value : [value]) {
      if (item !== null && item !== undefined && item !== "") query.append(name, String(item));
    }
  }
  const text = query.toString();
  return API + path + (text ? `?${text}` : "");
}

export function get<T>(path: string, values: Values = {}, signal?: AbortSignal): Promise<T> {
  return request<T>(address(path, values), { signal: signal ?? null });
}

export async function getBytes(
  path: string,
  values: Values,
  signal: AbortSignal,
): Promise<ArrayBuffer> {
  return (await answer(address(path, values), { signal })).arrayBuffer();
}

/** Send a change. `keepalive` lets it arrive even if the tab is closed meanwhile. */
export function send<T>(method: string, path: string, body?: unknown): Promise<T> {
  return request<T>(address(path), {
    method,
    keepalive: true,
    headers: { "Content-Type": "application/json" },
    body: body === undefined ? null : JSON.stringify(body),
  });
}

async function request<T>(url: string, options: RequestInit): Promise<T> {
  const response = await answer(url, options);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

async function answer(url: string, options: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { credentials: "same-origin", ...options });
  } catch (error) {
    if (!(error instanceof DOMException && error.name === "AbortError")) lost();
    throw error;
  }
  isOnline.value = true;
  if (!response.ok) throw new Problem(response.status, await detail(response));
  return response;
}

async function detail(response: Response): Promise<string> {
  try {
    const problem = (await response.json()) as { detail?: unknown };
    if (typeof problem.detail === "string") return problem.detail;
  } catch {
    // not JSON: a proxy, say
  }
  return `The server answered ${response.status} ${response.statusText}.`;
}

function lost(): void {
  if (!isOnline.value) return;
  isOnline.value = false;
  const again = async (): Promise<void> => {
    try {
      await fetch(address("/status"), { credentials: "same-origin" });
      isOnline.value = true;
    } catch {
      setTimeout(again, RETRY_MS);
    }
  };
  setTimeout(again, RETRY_MS);
}

export function isAborted(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

export function thumbnail(picture: Picture, side: 256 | 512 | 2048): string | undefined {
  return picture.thumbnail ? `${picture.thumbnail}/${side}.webp` : undefined;
}
