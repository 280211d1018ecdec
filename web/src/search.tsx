// Search: terms and filters above, hits below. The address holds the whole query.
import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import { get, type Hint, type Hit, isAborted, type SearchResult } from "./api";
import { Grid, moveFocus } from "./grid";
import { useKeys } from "./keys";
import { changed, fail, go, path, query } from "./state";
import { format, parse, type Term } from "./terms";
import { Viewer } from "./viewer";

const FILTERS = [
  { name: "path", label: "Folder or file name", hint: "2024/**" },
  { name: "after", label: "Taken on or after", hint: "2024-05" },
  { name: "before", label: "Taken before", hint: "2025" },
  { name: "camera", label: "Camera", hint: "" },
  { name: "tag", label: "Has the tag", hint: "" },
] as const;
const PRECISIONS = ["", "0.5", "0.8", "0.9", "0.95"];
const PAGE = 100;
const LEAST_P = 0.05; // less probable photos are shown on request
const EARLIER = "searches";
const MOST_EARLIER = 12;

function address(values: Record<string, string | readonly string[] | null>): string {
  const next = changed({ photo: null, all: null, ...values });
  return path.value === "/search" ? next : `/search${next.slice(path.value.length)}`;
}

export function SearchPage() {
  const parameters = query.value;
  const q = parameters.get("q") ?? "";
  const like = parameters.getAll("like");
  const k = Number(parameters.get("k")) || PAGE;
  const terms = useMemo(() => parse(q), [q]);
  const [result, setResult] = useState<SearchResult | null>(null);
  const [isSearching, setSearching] = useState(false);
  const [again, setAgain] = useState(0);
  const asked = [q, ...like].join("") !== "";
  const key = JSON.stringify([...parameters].filter(([name]) => name !== "photo"));

  useEffect(() => {
    if (!asked) {
      setResult(null);
      return;
    }
    const stop = new AbortController();
    setSearching(true);
    const values = Object.fromEntries(
      ["precision", ...FILTERS.map((f) => f.name)].map((name) => [name, parameters.get(name)]),
    );
    get<SearchResult>("/search", { q, like: like.map(Number), k, ...values }, stop.signal)
      .then((found) => {
        setResult(found);
        if (q) remember(q);
        setSearching(false);
      })
      .catch((error: unknown) => {
        if (isAborted(error)) return;
        setSearching(false);
        setResult(null);
        fail(error, () => setAgain((count) => count + 1));
      });
    return () => stop.abort();
  }, [key, again]);

  const all = result?.hits ?? [];
  const showsAll = parameters.get("all") === "1" || !!parameters.get("precision");
  const isNone = result?.match === "none" || result?.match === "unknown";
  const hits = showsAll ? all : isNone ? [] : all.filter((hit) => (hit.p ?? 1) >= LEAST_P);
  const hidden = all.length - hits.length;
  const openId = Number(parameters.get("photo"));
  const place = hits.findIndex((hit) => hit.photo === openId);
  const box = useRef<HTMLInputElement>(null);
  useKeys("Search", [
    { keys: ["/"], what: "Type what to look for", run: () => box.current?.focus() },
    { keys: ["ArrowLeft"], what: "Photo before", run: () => moveFocus("left") },
    { keys: ["ArrowRight"], what: "Next photo", run: () => moveFocus("right") },
    { keys: ["ArrowUp"], what: "Row above", run: () => moveFocus("up") },
    { keys: ["ArrowDown"], what: "Row below", run: () => moveFocus("down") },
  ]);

  return (
    <>
      <h1 class="hidden">Search</h1>
      <div class="query" role="search">
        <TermBox box={box} onAdd={(more) => go(address({ q: format([...terms, ...more]), k: null }))} />
        <Chips terms={terms} like={like} onChange={(next) => go(address({ q: format(next), k: null }))} />
        <Filters />
      </div>
      <p class="sentence" role="status">
        {sentence(result, hits, isSearching, asked)}
      </p>
      {!asked && <Earlier />}
      {!!result?.nearest.length && (
        <p class="chips">
          {result.nearest.map((label) => (
            <button
              type="button"
              class="chip"
              key={label}
              onClick={() => go(address({ q: label, k: null }))}
            >
              {label}
            </button>
          ))}
        </p>
      )}
      {hits.length > 0 && (
        <Grid
          pictures={hits}
          label="Hits"
          name={(hit) => `${hit.name}, ${measure(hit)}`}
          badge={measure}
          onOpen={(at) => go(changed({ photo: String(hits[at]!.photo) }))}
        />
      )}
      {hidden > 0 && (
        <button
          type="button"
          class="more"
          onClick={() => go(changed({ all: "1" }), { replace: true })}
        >
          {hidden.toLocaleString()} less probable photos
        </button>
      )}
      {all.length === k && !hidden && (
        <button
          type="button"
          class="more"
          onClick={() => go(address({ k: String(k + PAGE) }), { replace: true })}
        >
          More photos
        </button>
      )}
      {place >= 0 && (
        <Viewer
          photos={hits}
          place={place}
          terms={q}
          onMove={(to) => go(changed({ photo: String(hits[to]!.photo) }), { replace: true })}
          onClose={() => go(changed({ photo: null }))}
        />
      )}
    </>
  );
}

export function measure(hit: Pick<Hit, "score"> & { p?: number }): string {
  return hit.p === undefined ? hit.score.toFixed(3) : `${Math.round(100 * hit.p)} %`;
}

function sentence(
  result: SearchResult | null,
  hits: readonly Hit[],
  isSearching: boolean,
  asked: boolean,
): string {
  if (isSearching) return "Searching…";
  if (!result) return asked ? "" : "Type a word for anything: dog, snow at night, red bicycle.";
  const count = hits.length;
  const photos = `${count.toLocaleString()} ${count === 1 ? "photo" : "photos"}`;
  const ms = Object.values(result.milliseconds).reduce((sum, part) => sum + part, 0);
  const parts: string[] = [];
  if (result.match === "none") {
    parts.push(`Nothing here looks clearly like ${result.query}.`);
    if (result.nearest.length) parts.push("The nearest labels that are here:");
  } else if (result.match === "unknown") {
    parts.push(`Cannot tell whether anything here shows ${result.query}: scores do not tell it.`);
  }
  if (count && result.expected && result.match !== "none") {
    const wrong = hits.reduce((sum, hit) => sum + 1 - (hit.p ?? 0), 0);
    parts.push(`${photos}, about ${Math.round(wrong).toLocaleString()} of them expected to be wrong.`);
  } else if (count) {
    parts.push(`${photos}, the best first.`);
  } else if (result.match !== "none") {
    const none = result.hits.length ? "is probable" : "was found";
    parts.push(`No photo ${none} for ${result.query}.`);
  }
  if (result.match !== "none") parts.push(`${Math.round(ms)} ms`);
  return parts.join(" ");
}

function TermBox(props: {
  box: { current: HTMLInputElement | null };
  onAdd: (terms: Term[]) => void;
}) {
  const { box, onAdd } = props;
  const [text, setText] = useState("");
  const [hints, setHints] = useState<Hint[]>([]);
  const [chosen, setChosen] = useState(-1);
  const list = useId();
  const last = /^(.*[+-]\s+|-\s*)?(.*)$/s.exec(text)!;

  useEffect(() => {
    setChosen(-1);
    const prefix = last[2]!.trim();
    if (!prefix) {
      setHints([]);
      return;
    }
    const stop = new AbortController();
    const wait = setTimeout(() => {
      get<Hint[]>("/labels", { prefix, limit: 8 }, stop.signal)
        .then(setHints)
        .catch(() => setHints([]));
    }, 120);
    return () => {
      clearTimeout(wait);
      stop.abort();
    };
  }, [text]);

  const add = (whole: string): void => {
    const found = parse(whole.replace(/^-(?=\S)/, "- "));
    if (found.length) onAdd(found);
    setText("");
    setHints([]);
  };
  const take = (hint: Hint): void => add(`${last[1] ?? ""}${hint.label}`);
  const isOpen = hints.length > 0;

  return (
    <form
      class="box"
      onSubmit={(event) => {
        event.preventDefault();
        const hint = hints[chosen];
        if (hint) take(hint);
        else add(text);
      }}
    >
      <input
        ref={box}
        type="text"
        autoFocus
        role="combobox"
        aria-label="What to look for; a minus in front for what not"
        aria-expanded={isOpen}
        aria-controls={list}
        aria-autocomplete="list"
        aria-activedescendant={chosen >= 0 ? `${list}-${chosen}` : undefined}
        autocomplete="off"
        spellcheck={false}
        placeholder="dog + beach - person"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onBlur={() => setTimeout(() => setHints([]), 150)}
        onKeyDown={(event) => {
          const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
          if (step && isOpen) {
            event.preventDefault();
            setChosen((chosen + 1 + step + hints.length + 1) % (hints.length + 1) - 1);
          } else if (event.key === "Escape") {
            if (isOpen) setHints([]);
            else box.current?.blur();
          }
        }}
      />
      <button type="submit">Search</button>
      <ul id={list} role="listbox" aria-label="Labels" hidden={!isOpen}>
        {hints.map((hint, place) => (
          <li
            key={hint.label}
            id={`${list}-${place}`}
            role="option"
            aria-selected={place === chosen}
            onMouseDown={(event) => {
              event.preventDefault();
              take(hint);
            }}
          >
            <span>{hint.label}</span> <small>{hint.kind}</small>
          </li>
        ))}
      </ul>
    </form>
  );
}

function Chips(props: {
  terms: readonly Term[];
  like: readonly string[];
  onChange: (terms: Term[]) => void;
}) {
  const { terms, like, onChange } = props;
  if (!terms.length && !like.length) return null;
  const replace = (at: number, term: Term | null): void =>
    onChange(terms.flatMap((own, place) => (place === at ? (term ? [term] : []) : [own])));
  return (
    <ul class="chips" aria-label="Terms">
      {terms.map((term, at) => (
        <li key={at} class={term.isWanted ? "chip" : "chip unwanted"}>
          <button
            type="button"
            aria-label={`${term.label}: ${term.isWanted ? "wanted" : "not wanted"}`}
            title={term.isWanted ? "Wanted; click for not wanted" : "Not wanted; click for wanted"}
            onClick={() => replace(at, { ...term, isWanted: !term.isWanted })}
          >
            {term.isWanted ? "+" : "−"} {term.label}
          </button>
          <label>
            <span class="hidden">Weight of {term.label}</span>
            <Field
              isNumber
              value={String(term.weight)}
              onCommit={(text) => {
                const weight = Number(text);
                if (weight > 0) replace(at, { ...term, weight });
                else fail(new Error(`The weight of ${term.label} must be a number above 0.`));
              }}
            />
          </label>
          <button type="button" aria-label={`Remove ${term.label}`} onClick={() => replace(at, null)}>
            ×
          </button>
        </li>
      ))}
      {like.map((id) => (
        <li key={`like-${id}`} class="chip">
          <span>like photo {id}</span>
          <button
            type="button"
            aria-label={`Remove like photo ${id}`}
            onClick={() => go(address({ like: like.filter((other) => other !== id) }))}
          >
            ×
          </button>
        </li>
      ))}
    </ul>
  );
}

/** An input whose text is the user's until it is committed, also while results arrive. */
function Field(props: {
  value: string;
  hint?: string;
  isNumber?: boolean;
  onCommit: (text: string) => void;
}) {
  const { value, hint, isNumber = false, onCommit } = props;
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  return (
    <input
      type="text"
      inputMode={isNumber ? "decimal" : "text"}
      placeholder={hint}
      value={text}
      onInput={(event) => setText(event.currentTarget.value)}
      onChange={(event) => onCommit(event.currentTarget.value)}
    />
  );
}

function Filters() {
  const parameters = query.value;
  const set = ["precision", ...FILTERS.map((f) => f.name)].filter((name) => parameters.get(name));
  return (
    <details class="filters" open={set.length > 0}>
      <summary>Filters{set.length ? ` (${set.length})` : ""}</summary>
      <div class="fields">
        {FILTERS.map(({ name, label, hint }) => (
          <label key={name}>
            {label}
            <Field
              hint={hint}
              value={parameters.get(name) ?? ""}
              onCommit={(text) => go(address({ [name]: text, k: null }))}
            />
          </label>
        ))}
        <label>
          Expected to be right
          <select
            value={parameters.get("precision") ?? ""}
            onChange={(event) => go(address({ precision: event.currentTarget.value }))}
          >
            {PRECISIONS.map((value) => (
              <option key={value} value={value}>
                {value ? `${Math.round(100 * Number(value))} %` : "any: the best photos"}
              </option>
            ))}
          </select>
        </label>
        {set.length > 0 && (
          <button
            type="button"
            onClick={() => go(address(Object.fromEntries(set.map((name) => [name, null]))))}
          >
            Clear filters
          </button>
        )}
      </div>
    </details>
  );
}

function earlier(): string[] {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(EARLIER) ?? "[]");
    return Array.isArray(found) ? found.filter((item) => typeof item === "string") : [];
  } catch {
    return [];
  }
}

function remember(q: string): void {
  const all = [q, ...earlier().filter((other) => other !== q)].slice(0, MOST_EARLIER);
  localStorage.setItem(EARLIER, JSON.stringify(all));
}

function Earlier() {
  const all = earlier();
  if (!all.length) return null;
  return (
    <section class="earlier" aria-labelledby="earlier">
      <h2 id="earlier">Earlier searches</h2>
      <p class="chips">
        {all.map((q) => (
          <button type="button" class="chip" key={q} onClick={() => go(address({ q }))}>
            {q}
          </button>
        ))}
      </p>
    </section>
  );
}
