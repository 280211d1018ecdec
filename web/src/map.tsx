// Map: the library as a plane on which similar photos lie close; a lasso chooses some of them.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { get, getBytes, isAborted, type MapFacts, type Photo, Problem, send } from "./api";
import { Grid } from "./grid";
import { useKeys } from "./keys";
import { inside, type Painter, painter, type Palette, type View } from "./points";
import { changed, fail, go, query, say, theme } from "./state";
import { Viewer } from "./viewer";

const PALETTES: Record<string, Palette> = {
  light: { low: [0.56, 0.6, 0.62], high: [0.7, 0.13, 0.07] },
  dark: { low: [0.42, 0.5, 0.52], high: [1, 0.8, 0.25] },
};
const CLOSE = 2.2; // times the whole map, from where the names of small groups are shown
const SHOWN = 24; // photos of a choice at a time
const STEP = 60; // pixels of an arrow key

interface Loaded {
  facts: MapFacts;
  points: Float32Array;
  ids: Uint32Array;
}

export function MapPage() {
  const [loaded, setLoaded] = useState<Loaded | null>(null);
  const [isMissing, setMissing] = useState(false);
  const [again, setAgain] = useState(0);
  const reload = (): void => setAgain((count) => count + 1);
  useEffect(() => {
    const stop = new AbortController();
    const load = async (): Promise<void> => {
      const facts = await get<MapFacts | null>("/map", {}, stop.signal);
      if (!facts) {
        setMissing(true);
        return;
      }
      const version = { version: facts.version };
      const [points, ids] = await Promise.all([
        getBytes("/map/points", version, stop.signal),
        getBytes("/map/ids", version, stop.signal),
      ]);
      setLoaded({ facts, points: new Float32Array(points), ids: new Uint32Array(ids) });
      setMissing(false);
    };
    load().catch((error: unknown) => {
      if (error instanceof Problem && error.status === 409) reload();
      else fail(error, reload);
    });
    return () => stop.abort();
  }, [again]);
  if (isMissing) {
    return (
      <>
        <h1>Map</h1>
        <p class="sentence">
          The library has no map yet. It takes a minute for some ten thousand photos.
        </p>
        <p>
          <Draw title="Draw the map" />
        </p>
      </>
    );
  }
  if (!loaded) {
    return (
      <>
        <h1>Map</h1>
        <p class="sentence" role="status">
          Reading the map…
        </p>
      </>
    );
  }
  return <Plane key={loaded.facts.version} {...loaded} />;
}

function Draw({ title, again = false }: { title: string; again?: boolean }) {
  return (
    <button
      type="button"
      onClick={() => {
        send("POST", "/jobs", { kind: "map", again })
          .then(() => go("/models"))
          .catch((error: unknown) => fail(error));
      }}
    >
      {title}
    </button>
  );
}

function Plane({ facts, points, ids }: Loaded) {
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const paint = useRef<Painter | null>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  const whole = Math.max(Math.min(size.width, size.height) / 2.1, 1);
  const [moved, setMoved] = useState<View | null>(null);
  const view = moved ?? { x: 0, y: 0, zoom: whole };
  const [values, setValues] = useState<Uint8Array | null>(null);
  const [by, setBy] = useState("month");
  const [isLasso, setLasso] = useState(false);
  const [path, setPath] = useState<[number, number][]>([]);
  const [chosen, setChosen] = useState<number[]>([]);
  const [isPicture, setPicture] = useState(false);

  useLayoutEffect(() => {
    const element = frame.current!;
    const measure = (): void =>
      setSize({ width: element.clientWidth, height: element.clientHeight });
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => {
    try {
      paint.current = painter(canvas.current!, points);
      setPicture(paint.current.isPicture);
    } catch (error) {
      fail(error);
    }
    return () => paint.current?.close();
  }, [points]);
  useEffect(() => {
    const stop = new AbortController();
    const values = { by, version: facts.version };
    getBytes("/map/colours", values, stop.signal)
      .then((bytes) => setValues(new Uint8Array(bytes)))
      .catch((error: unknown) => {
        if (!isAborted(error)) fail(error);
      });
    return () => stop.abort();
  }, [by]);
  useEffect(() => {
    if (!values || !paint.current) return;
    const marked = chosen.length ? values.map((value) => value >> 1) : values;
    for (const place of chosen) marked[place] = 255;
    paint.current.setValues(marked);
  }, [values, chosen]);
  useEffect(() => {
    const frame = requestAnimationFrame(() =>
      paint.current?.draw(view, PALETTES[theme.value]!),
    );
    return () => cancelAnimationFrame(frame);
  });

  const toMap = (x: number, y: number): [number, number] => [
    view.x + (x - size.width / 2) / view.zoom,
    view.y - (y - size.height / 2) / view.zoom,
  ];
  const zoomAt = (factor: number, x = size.width / 2, y = size.height / 2): void => {
    const [mapX, mapY] = toMap(x, y);
    const zoom = Math.min(Math.max(view.zoom * factor, whole / 2), whole * 200);
    setMoved({
      x: mapX - (x - size.width / 2) / zoom,
      y: mapY + (y - size.height / 2) / zoom,
      zoom,
    });
  };
  const pan = (x: number, y: number): void =>
    setMoved({ ...view, x: view.x + x / view.zoom, y: view.y - y / view.zoom });
  useKeys("Map", [
    { keys: ["+", "="], what: "Closer", run: () => zoomAt(1.5) },
    { keys: ["-"], what: "Farther", run: () => zoomAt(1 / 1.5) },
    { keys: ["0"], what: "The whole map", run: () => setMoved(null) },
    { keys: ["ArrowLeft"], what: "Left", run: () => pan(-STEP, 0) },
    { keys: ["ArrowRight"], what: "Right", run: () => pan(STEP, 0) },
    { keys: ["ArrowUp"], what: "Up", run: () => pan(0, -STEP) },
    { keys: ["ArrowDown"], what: "Down", run: () => pan(0, STEP) },
    { keys: ["s"], what: "Choose photos by a lasso", run: () => setLasso(!isLasso) },
    {
      keys: ["v"],
      what: "Choose the photos in view",
      run: () => setChosen(inside(points, corners(view, size))),
    },
    { keys: ["Escape"], what: "Choose nothing", run: () => setChosen([]) },
  ]);
  const drag = useRef<{ x: number; y: number } | null>(null);
  useEffect(() => {
    const element = frame.current!;
    const onWheel = (event: WheelEvent): void => {
      event.preventDefault();
      const box = element.getBoundingClientRect();
      zoomAt(1.0015 ** -event.deltaY, event.clientX - box.left, event.clientY - box.top);
    };
    element.addEventListener("wheel", onWheel, { passive: false });
    return () => element.removeEventListener("wheel", onWheel);
  });
  const level = view.zoom > CLOSE * whole ? 1 : 0;
  return (
    <>
      <div class="where">
        <h1>Map</h1>
        <p role="status">
          {facts.photos.toLocaleString()} photos
          {facts.missing > 0 && `, ${facts.missing.toLocaleString()} not on it yet`}
          {chosen.length > 0 && `, ${chosen.length.toLocaleString()} chosen`}
        </p>
        <Colours by={by} onChange={setBy} />
        <button type="button" aria-pressed={isLasso} onClick={() => setLasso(!isLasso)}>
          Lasso <kbd>S</kbd>
        </button>
        {facts.missing > 0 && !facts.stale && <Draw title="Place the new photos" />}
        {facts.stale && <Draw title="Draw it again" again />}
      </div>
      {facts.stale && <p class="problem">{facts.stale}</p>}
      {isPicture && (
        <p class="sentence">
          This browser has no WebGL 2, so the map is a picture that takes longer to move.
        </p>
      )}
      <div
        class={isLasso ? "plane lasso" : "plane"}
        ref={frame}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          const { offsetX: x, offsetY: y } = event;
          if (isLasso) setPath([[x, y]]);
          else drag.current = { x, y };
        }}
        onPointerMove={(event) => {
          const { offsetX: x, offsetY: y } = event;
          if (path.length) setPath([...path, [x, y]]);
          else if (drag.current) {
            pan(drag.current.x - x, drag.current.y - y);
            drag.current = { x, y };
          }
        }}
        onPointerUp={() => {
          if (path.length > 2) setChosen(inside(points, path.map(([x, y]) => toMap(x, y))));
          drag.current = null;
          setPath([]);
        }}
      >
        <canvas
          ref={canvas}
          role="img"
          aria-label={`A map of ${facts.photos.toLocaleString()} photos; similar ones are close`}
          width={size.width * devicePixelRatio}
          height={size.height * devicePixelRatio}
        />
        {path.length > 1 && (
          <svg aria-hidden="true">
            <polygon points={path.map((point) => point.join(",")).join(" ")} />
          </svg>
        )}
        {facts.clusters
          .filter((cluster) => cluster.level === level && cluster.name)
          .map((cluster) => (
            <span
              key={`${cluster.x} ${cluster.y}`}
              class="name"
              style={{
                left: `${size.width / 2 + (cluster.x - view.x) * view.zoom}px`,
                top: `${size.height / 2 - (cluster.y - view.y) * view.zoom}px`,
              }}
            >
              {cluster.name}
            </span>
          ))}
      </div>
      {chosen.length > 0 && <Chosen ids={chosen.map((place) => ids[place]!)} />}
    </>
  );
}

function corners(view: View, size: { width: number; height: number }): [number, number][] {
  const x = size.width / 2 / view.zoom;
  const y = size.height / 2 / view.zoom;
  return [
    [view.x - x, view.y - y],
    [view.x + x, view.y - y],
    [view.x + x, view.y + y],
    [view.x - x, view.y + y],
  ];
}

function Colours({ by, onChange }: { by: string; onChange: (by: string) => void }) {
  const kind = by.split(":", 1)[0]!;
  const label = by.slice(kind.length + 1);
  const [text, setText] = useState(label);
  return (
    <form
      class="line colours"
      onSubmit={(event) => {
        event.preventDefault();
        if (text.trim()) onChange(`${kind === "month" ? "score" : kind}:${text.trim()}`);
      }}
    >
      <select
        aria-label="Colour by"
        value={kind}
        onChange={(event) => {
          const next = event.currentTarget.value;
          if (next === "month") onChange(next);
          else if (text.trim()) onChange(`${next}:${text.trim()}`);
        }}
      >
        <option value="month">by month</option>
        <option value="score">by likeness to</option>
        <option value="tag">by the tag</option>
      </select>
      <input
        type="text"
        aria-label="Label"
        placeholder="a label"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <button type="submit">Colour</button>
    </form>
  );
}

/** Photos that were chosen on the map: a grid, and a tag for all of them. */
function Chosen({ ids }: { ids: readonly number[] }) {
  const [photos, setPhotos] = useState<Photo[]>([]);
  const [count, setCount] = useState(SHOWN);
  const box = useRef<HTMLInputElement>(null);
  const key = `${ids.length} ${ids[0]} ${ids.at(-1)}`;
  useEffect(() => setCount(SHOWN), [key]);
  useEffect(() => {
    const stop = new AbortController();
    Promise.allSettled(ids.slice(0, count).map((id) => get<Photo>(`/photos/${id}`, {}, stop.signal)))
      .then((found) => {
        if (stop.signal.aborted) return;
        setPhotos(found.flatMap((one) => (one.status === "fulfilled" ? [one.value] : [])));
        const bad = found.find((one) => one.status === "rejected");
        if (bad?.status === "rejected") fail(bad.reason);
      })
      .catch(fail);
    return () => stop.abort();
  }, [key, count]);
  const tag = (): void => {
    const label = box.current!.value.trim();
    if (!label) return;
    send<{ changed: number }>("POST", "/tags", { label, photos: ids })
      .then(({ changed }) => say(`Tagged ${changed.toLocaleString()} photos as ${label}.`))
      .catch((error: unknown) => fail(error, tag));
  };
  const place = photos.findIndex((photo) => photo.photo === Number(query.value.get("photo")));
  return (
    <section aria-label="Chosen photos">
      <form
        class="line"
        onSubmit={(event) => {
          event.preventDefault();
          tag();
        }}
      >
        <input ref={box} type="text" aria-label="A tag for the chosen photos" placeholder="Tag" />
        <button type="submit">Tag {ids.length.toLocaleString()} photos</button>
      </form>
      <Grid
        pictures={photos}
        label="Chosen photos"
        name={(photo) => photo.name}
        onOpen={(at) => go(changed({ photo: String(photos[at]!.photo) }))}
      />
      {ids.length > count && (
        <button type="button" class="more" onClick={() => setCount(count + SHOWN)}>
          More photos
        </button>
      )}
      {place >= 0 && (
        <Viewer
          photos={photos}
          place={place}
          terms=""
          onMove={(to) => go(changed({ photo: String(photos[to]!.photo) }), { replace: true })}
          onClose={() => go(changed({ photo: null }))}
        />
      )}
    </section>
  );
}
