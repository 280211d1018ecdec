// Library: every photo by time, the folders, files without vectors, and runs with take back.
import { signal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import {
  get,
  type PhotoInTime,
  Problem,
  type Run,
  send,
  type Status,
  type Timeline,
} from "./api";
import { Image, useWidth } from "./grid";
import { useKeys } from "./keys";
import { follow } from "./main";
import { type Mapping, mapping } from "./mapped";
import { changed, fail, go, query, say } from "./state";
import { Viewer } from "./viewer";

const TABS = { timeline: "Timeline", folders: "Folders", problems: "Problems", runs: "Runs" };
type Tab = keyof typeof TABS;

export function LibraryPage() {
  const asked = query.value.get("tab") ?? "";
  const tab: Tab = asked in TABS ? (asked as Tab) : "timeline";
  const parts = { timeline: TimelineTab, folders: Folders, problems: Problems, runs: Runs };
  const Part = parts[tab];
  return (
    <>
      <h1 class="hidden">Library</h1>
      <nav class="tabs" aria-label="Parts of the library">
        {Object.entries(TABS).map(([name, title]) => (
          <a
            key={name}
            href={name === "timeline" ? "/library" : `/library?tab=${name}`}
            onClick={follow}
            aria-current={name === tab ? "page" : undefined}
          >
            {title}
          </a>
        ))}
      </nav>
      <Part />
    </>
  );
}

const TILE = 150; // pixels, about
const SMALL_TILE = 92;
const GAP = 3;
const PAGE = 100; // photos of a request
const MOST_PAGES = 40; // kept in memory
const MOST_TILES = 300; // elements of photos in the page
const SPARE_ROWS = 2; // above and below what is seen

/** Pages of a timeline, read as they come into view; the oldest are forgotten. */
class Pages {
  readonly loaded = signal(0);
  private readonly pages = new Map<number, PhotoInTime[] | null>();

  constructor(
    private readonly timeline: Timeline,
    private readonly path: string,
    private readonly onGone: () => void,
  ) {}

  at(place: number): PhotoInTime | undefined {
    return this.pages.get(Math.floor(place / PAGE))?.[place % PAGE];
  }

  need(first: number, end: number): void {
    for (let page = Math.floor(first / PAGE); page * PAGE < end; page += 1) {
      if (this.pages.has(page)) continue;
      this.pages.set(page, null);
      get<{ photos: PhotoInTime[] }>("/timeline/photos", {
        revision: this.timeline.revision,
        first: page * PAGE,
        count: PAGE,
        path: this.path,
      })
        .then(({ photos }) => {
          this.pages.set(page, photos);
          this.forget(page);
          this.loaded.value += 1;
        })
        .catch((error: unknown) => {
          this.pages.delete(page);
          if (error instanceof Problem && error.status === 409) this.onGone();
          else fail(error, () => this.need(page * PAGE, page * PAGE + 1));
        });
    }
  }

  private forget(near: number): void {
    const far = [...this.pages.keys()].sort((a, b) => Math.abs(b - near) - Math.abs(a - near));
    for (const page of far.slice(0, Math.max(far.length - MOST_PAGES, 0))) this.pages.delete(page);
  }
}

function TimelineTab() {
  const path = query.value.get("path") ?? "";
  const [timeline, setTimeline] = useState<Timeline | null>(null);
  const [again, setAgain] = useState(0);
  const reload = (): void => setAgain((count) => count + 1);
  useEffect(() => {
    const stop = new AbortController();
    get<Timeline>("/timeline", { path }, stop.signal)
      .then(setTimeline)
      .catch((error: unknown) => fail(error, reload));
    return () => stop.abort();
  }, [path, again]);
  if (!timeline) return <p class="sentence" role="status">Reading the timeline…</p>;
  if (!timeline.total) {
    return (
      <p class="sentence" role="status">
        {path ? `No photo is in ${path}.` : "The library has no photos yet: run mkt index FOLDER."}
      </p>
    );
  }
  return <Photos key={timeline.revision + path} timeline={timeline} path={path} onGone={reload} />;
}

function Photos(props: { timeline: Timeline; path: string; onGone: () => void }) {
  const { timeline, path, onGone } = props;
  const { total } = timeline;
  const [pages] = useState(() => new Pages(timeline, path, onGone));
  const [ref, width] = useWidth<HTMLDivElement>();
  const [height, setHeight] = useState(0);
  const [offset, setOffset] = useState(0); // of the view, in pixels of the whole timeline
  const [focused, setFocused] = useState(0);
  const takesFocus = useRef(false);
  void pages.loaded.value; // shown again when photos come

  const { columns, row } = tiling(width, height);
  const map: Mapping = mapping(Math.ceil(total / columns) * row, height);

  const scrollTo = (to: number): void => {
    const next = Math.min(Math.max(to, 0), map.last);
    setOffset(next);
    if (ref.current) ref.current.scrollTop = map.toScroll(next);
  };
  useLayoutEffect(() => {
    const element = ref.current!;
    const observer = new ResizeObserver(() => setHeight(element.clientHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const element = ref.current!;
    // A wheel moves by pixels of the photos, however far a pixel of the scroll bar leads.
    const onWheel = (event: WheelEvent): void => {
      if (!map.isMapped || event.ctrlKey) return;
      event.preventDefault();
      scrollTo(offset + event.deltaY * [1, row, height][event.deltaMode]!);
    };
    element.addEventListener("wheel", onWheel, { passive: false });
    return () => element.removeEventListener("wheel", onWheel);
  });

  const firstRow = Math.max(0, Math.floor(offset / row) - SPARE_ROWS);
  const endRow = Math.ceil((offset + height) / row) + SPARE_ROWS;
  const first = firstRow * columns;
  const end = width && height ? Math.min(endRow * columns, total) : 0;
  useEffect(() => pages.need(first, end), [first, end]);

  const focus = (to: number): void => {
    const next = Math.min(Math.max(to, 0), total - 1);
    const top = Math.floor(next / columns) * row;
    takesFocus.current = true;
    setFocused(next);
    if (top < offset) scrollTo(top);
    else if (top + row > offset + height) scrollTo(top + row - height);
  };
  useLayoutEffect(() => {
    if (!takesFocus.current) return;
    const tile = ref.current?.querySelector<HTMLElement>(`[data-place="${focused}"]`);
    if (tile) {
      tile.focus({ preventScroll: true });
      takesFocus.current = false;
    }
  });
  const page = Math.max(1, Math.floor(height / row)) * columns;
  useKeys("Timeline", [
    { keys: ["ArrowLeft"], what: "Photo before", run: () => focus(focused - 1) },
    { keys: ["ArrowRight"], what: "Next photo", run: () => focus(focused + 1) },
    { keys: ["ArrowUp"], what: "Row above", run: () => focus(focused - columns) },
    { keys: ["ArrowDown"], what: "Row below", run: () => focus(focused + columns) },
    { keys: ["PageUp"], what: "Screen above", run: () => focus(focused - page) },
    { keys: ["PageDown"], what: "Screen below", run: () => focus(focused + page) },
    { keys: ["Home"], what: "Newest photo", run: () => focus(0) },
    { keys: ["End"], what: "Oldest photo", run: () => focus(total - 1) },
  ]);

  const seen = Math.floor(offset / row) * columns;
  const month = [...timeline.months].reverse().find((one) => one.first <= seen);
  const open = Number(query.value.get("at") ?? -1);
  const opened = open >= 0 ? pages.at(open) : undefined;
  useEffect(() => {
    if (open >= 0) pages.need(open, open + 1);
  }, [open]);
  const neighbours = [open - 1, open, open + 1].flatMap((place) => {
    const photo = pages.at(place);
    return photo ? [{ place, photo }] : [];
  });
  const tiles = [];
  for (let place = first; place < end; place += 1) {
    const photo = pages.at(place);
    tiles.push(
      <button
        type="button"
        key={place}
        class="square"
        data-place={place}
        tabIndex={place === focused ? 0 : -1}
        aria-label={photo ? photo.name : `photo ${place + 1}`}
        style={{
          width: `${row - GAP}px`,
          height: `${row - GAP}px`,
          transform: `translate(${(place % columns) * row}px, ${Math.floor(place / columns) * row - offset}px)`,
          backgroundColor: photo?.colour ?? undefined,
        }}
        onFocus={() => setFocused(place)}
        onClick={() => go(changed({ at: String(place) }))}
      >
        {photo && <Image picture={photo} side={256} />}
      </button>,
    );
  }
  return (
    <>
      <div class="where">
        <p role="status">
          {total.toLocaleString()} {total === 1 ? "photo" : "photos"}
          {path && ` in ${path}`}
        </p>
        <label>
          <span class="hidden">Month</span>
          <select
            value={month?.first ?? 0}
            onChange={(event) => {
              const place = Number(event.currentTarget.value);
              setFocused(place);
              scrollTo(Math.floor(place / columns) * row);
            }}
          >
            {timeline.months.map((one) => (
              <option key={one.first} value={one.first}>
                {monthName(one.month)} ({one.count.toLocaleString()})
              </option>
            ))}
          </select>
        </label>
      </div>
      <div
        class="timeline"
        ref={ref}
        role="group"
        aria-label="Photos, the newest first"
        onScroll={(event) => {
          const top = event.currentTarget.scrollTop;
          if (Math.abs(top - map.toScroll(offset)) > 1) setOffset(map.toOffset(top));
        }}
      >
        <div class="window" style={{ height: `${height}px` }}>
          {tiles}
        </div>
        <div style={{ height: `${Math.max(map.height - height, 0)}px` }} />
      </div>
      {opened && (
        <Viewer
          photos={neighbours.map(({ photo }) => photo)}
          place={neighbours.findIndex(({ place }) => place === open)}
          terms=""
          onMove={(to) => {
            const next = neighbours[to]!.place;
            pages.need(Math.max(next - 1, 0), Math.min(next + 2, total));
            setFocused(next);
            go(changed({ at: String(next) }), { replace: true });
          }}
          onClose={() => go(changed({ at: null }))}
        />
      )}
    </>
  );
}

/** How many squares a row has, and its height in pixels; at most `MOST_TILES` are shown. */
function tiling(width: number, height: number): { columns: number; row: number } {
  let columns = Math.max(3, Math.floor((width + GAP) / ((width < 600 ? SMALL_TILE : TILE) + GAP)));
  const rowOf = (count: number): number => Math.max((width - GAP * (count - 1)) / count, 1) + GAP;
  const tiles = (count: number): number =>
    count * (Math.ceil(height / rowOf(count)) + 1 + 2 * SPARE_ROWS);
  while (columns > 3 && tiles(columns) > MOST_TILES) columns -= 1;
  return { columns, row: rowOf(columns) };
}

function monthName(month: string | null): string {
  if (!month) return "No date";
  const [year, number] = month.split("-").map(Number);
  const date = new Date(year!, number! - 1);
  return date.toLocaleDateString("en", { year: "numeric", month: "long" });
}

function useLoaded<T>(path: string): [T | null, () => void] {
  const [found, setFound] = useState<T | null>(null);
  const [again, setAgain] = useState(0);
  const reload = (): void => setAgain((count) => count + 1);
  useEffect(() => {
    const stop = new AbortController();
    get<T>(path, {}, stop.signal)
      .then(setFound)
      .catch((error: unknown) => fail(error, reload));
    return () => stop.abort();
  }, [path, again]);
  return [found, reload];
}

function Folders() {
  const [status] = useLoaded<Status>("/status");
  if (!status) return <p class="sentence">Reading…</p>;
  return (
    <table>
      <caption>Folders of the library</caption>
      <thead>
        <tr>
          <th scope="col">Folder</th>
          <th scope="col">Photos</th>
        </tr>
      </thead>
      <tbody>
        {status.roots.map((root) => (
          <tr key={root.id}>
            <td class="path">
              <a href={`/library?path=${encodeURIComponent(`${root.path}/**`)}`} onClick={follow}>
                {root.path}
              </a>
              {!root.exists && <strong> does not exist now: is the disk away?</strong>}
            </td>
            <td class="number">{root.photos.toLocaleString()}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface Reason {
  path: string;
  reason: string;
}

function Problems() {
  const [failed] = useLoaded<{ photos: { path: string; error: string | null }[] }>(
    "/photos?state=failed&limit=1000",
  );
  const [leftOut] = useLoaded<Reason[]>("/left-out");
  return (
    <>
      <Reasons
        title="Photos that cannot be read"
        none="Every photo can be read."
        items={failed?.photos.map((photo) => ({ path: photo.path, reason: photo.error ?? "" }))}
      />
      <Reasons
        title="Left out by the last index run"
        none="Nothing was left out."
        items={leftOut ?? undefined}
      />
    </>
  );
}

function Reasons(props: { title: string; none: string; items: readonly Reason[] | undefined }) {
  const { title, none, items } = props;
  return (
    <section>
      <h2>{title}</h2>
      {!items ? (
        <p>Reading…</p>
      ) : !items.length ? (
        <p>{none}</p>
      ) : (
        <table>
          <thead>
            <tr>
              <th scope="col">File</th>
              <th scope="col">Reason</th>
            </tr>
          </thead>
          <tbody>
            {items.map((item) => (
              <tr key={item.path}>
                <td class="path">{item.path}</td>
                <td class="path">{item.reason}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function Runs() {
  const [runs, reload] = useLoaded<Run[]>("/runs");
  if (!runs) return <p class="sentence">Reading…</p>;
  if (!runs.length) return <p class="sentence">No run yet.</p>;
  const revert = (run: Run): void => {
    send<{ removed: number }>("POST", `/runs/${run.run}/revert`)
      .then(({ removed }) => {
        say(`Took back run ${run.run}: ${removed.toLocaleString()} tags removed.`);
        reload();
      })
      .catch((error: unknown) => fail(error, () => revert(run)));
  };
  return (
    <table>
      <caption>Runs, the newest first</caption>
      <thead>
        <tr>
          <th scope="col">Run</th>
          <th scope="col">What</th>
          <th scope="col">Began</th>
          <th scope="col">Outcome</th>
          <th scope="col">
            <span class="hidden">Take back</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {[...runs].reverse().map((run) => (
          <tr key={run.run}>
            <td class="number">{run.run}</td>
            <td>{run.kind}</td>
            <td>{new Date(run.started_at).toLocaleString()}</td>
            <td>{run.outcome}</td>
            <td>
              {run.kind === "tag" && run.outcome === "done" && (
                <button type="button" onClick={() => revert(run)}>
                  Take back
                </button>
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
