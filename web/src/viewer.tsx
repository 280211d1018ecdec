// One photo, large: where each term is, its tags and facts, and the way to photos like it.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import {
  type Box,
  get,
  isAborted,
  type Photo,
  type Picture,
  type Regions,
  send,
  thumbnail,
} from "./api";
import { useKeys } from "./keys";
import { Notices, Offline } from "./notices";
import { fail, go, say } from "./state";

interface Props<T extends Picture & { photo: number }> {
  photos: readonly T[];
  place: number;
  /** The query whose terms are shown in the photo; "" for none. */
  terms: string;
  onMove: (place: number) => void;
  onClose: () => void;
}

type Layer = "boxes" | "heat" | "none";

export function Viewer<T extends Picture & { photo: number; boxes?: readonly Box[] }>(
  props: Props<T>,
) {
  const { photos, place, terms, onMove, onClose } = props;
  const shown = photos[place]!;
  const dialog = useRef<HTMLDialogElement>(null);
  const title = useRef<HTMLHeadingElement>(null);
  const tagBox = useRef<HTMLInputElement>(null);
  const [photo, setPhoto] = useState<Photo | null>(null);
  const [regions, setRegions] = useState<Regions | null>(null);
  const [layer, setLayer] = useState<Layer>("boxes");
  const [term, setTerm] = useState(0);
  const [again, setAgain] = useState(0);

  useLayoutEffect(() => {
    dialog.current?.showModal();
    title.current?.focus(); // not a button, which Space would press
  }, []);
  useEffect(() => {
    const stop = new AbortController();
    setPhoto(null);
    get<Photo>(`/photos/${shown.photo}`, {}, stop.signal).then(setPhoto).catch((error: unknown) => fail(error, () => setAgain((count) => count + 1)));
    return () => stop.abort();
  }, [shown.photo, again]);
  useEffect(() => {
    setRegions(null);
    if (!terms) return;
    const stop = new AbortController();
    get<Regions>(`/photos/${shown.photo}/regions`, { q: terms }, stop.signal)
      .then(setRegions)
      .catch((error: unknown) => {
        if (!isAborted(error)) setRegions({ terms: [] }); // the boxes of the hit stay
      });
    return () => stop.abort();
  }, [shown.photo, terms]);

  const move = (by: number): void => {
    const to = place + by;
    if (photos[to]) onMove(to);
  };
  const like = (): void => go(`/search?like=${shown.photo}`);
  useKeys(
    "A photo",
    [
      { keys: ["ArrowLeft"], what: "Photo before", run: () => move(-1) },
      { keys: ["ArrowRight"], what: "Next photo", run: () => move(1) },
      { keys: ["b"], what: "Boxes", run: () => setLayer(layer === "boxes" ? "none" : "boxes") },
      { keys: ["h"], what: "Heat map", run: () => setLayer(layer === "heat" ? "none" : "heat") },
      {
        keys: ["n"],
        what: "Next term",
        run: () => setTerm((term + 1) % Math.max(regions?.terms.length ?? 1, 1)),
      },
      { keys: ["l"], what: "More like this", run: like },
      { keys: ["g"], what: "Give it a tag", run: () => tagBox.current?.focus() },
    ],
    { isModal: true },
  );

  const found = regions?.terms[Math.min(term, regions.terms.length - 1)];
  const boxes = found?.boxes ?? shown.boxes ?? [];
  const change = (list: "tags" | "refusals", label: string, done: string): void => {
    send("POST", `/photos/${shown.photo}/${list}`, { label })
      .then(() => {
        say(done);
        setAgain((count) => count + 1);
      })
      .catch((error: unknown) => fail(error, () => change(list, label, done)));
  };
  return (
    <dialog ref={dialog} class="viewer" aria-label={shown.name} onClose={onClose}>
      <div class="stage">
        <Picture_ picture={shown} boxes={layer === "boxes" ? boxes : []}>
          {layer === "heat" && found && <Heat heat={found.heat} />}
        </Picture_>
        {place > 0 && (
          <button type="button" class="side left" aria-label="Photo before" onClick={() => move(-1)}>
            ‹
          </button>
        )}
        {place < photos.length - 1 && (
          <button type="button" class="side right" aria-label="Next photo" onClick={() => move(1)}>
            ›
          </button>
        )}
      </div>
      <div class="about">
        <form method="dialog" class="close">
          <button type="submit" class="quiet" aria-label="Close">
            ×
          </button>
        </form>
        <Offline />
        <h2 ref={title} tabIndex={-1}>
          {shown.name}
        </h2>
        {"score" in shown && <Why hit={shown as unknown as WhyHit} />}
        {terms && (
          <fieldset class="layers">
            <legend>Where it is</legend>
            {(["boxes", "heat", "none"] as const).map((name) => (
              <label key={name}>
                <input
                  type="radio"
                  name="layer"
                  checked={layer === name}
                  onChange={() => setLayer(name)}
                />
                {{ boxes: "Boxes", heat: "Heat map", none: "Nothing" }[name]}
              </label>
            ))}
            {(regions?.terms.length ?? 0) > 1 && (
              <select
                aria-label="Term"
                value={term}
                onChange={(event) => setTerm(Number(event.currentTarget.value))}
              >
                {regions!.terms.map((one, index) => (
                  <option key={one.label} value={index}>
                    {one.label}
                  </option>
                ))}
              </select>
            )}
          </fieldset>
        )}
        <h3>Tags</h3>
        <ul class="chips">
          {photo?.tags.map((tag) => (
            <li class="chip" key={tag.label}>
              <span>
                {tag.label}
                <small>
                  {" "}
                  {tag.source === "auto"
                    ? tag.p === null
                      ? "automatic"
                      : `${Math.round(100 * tag.p)} %`
                    : "by hand"}
                </small>
              </span>
              <button
                type="button"
                aria-label={`Remove ${tag.label}`}
                onClick={() =>
                  change("refusals", tag.label, `Removed ${tag.label}; no run sets it again.`)
                }
              >
                ×
              </button>
            </li>
          ))}
        </ul>
        <form
          class="line"
          onSubmit={(event) => {
            event.preventDefault();
            const label = tagBox.current!.value.trim();
            tagBox.current!.value = "";
            if (label) change("tags", label, `Tagged ${label}.`);
          }}
        >
          <input ref={tagBox} type="text" aria-label="A tag for this photo" placeholder="Tag" />
          <button type="submit">Add</button>
        </form>
        <p>
          <button type="button" onClick={like}>
            More like this
          </button>
        </p>
        {photo && <Facts photo={photo} />}
      </div>
      {/* Those of the page are below a dialog. */}
      <Notices />
    </dialog>
  );
}

interface WhyHit {
  score: number;
  global: number;
  local: number;
  p?: number;
}

function Why({ hit }: { hit: WhyHit }) {
  return (
    <p class="why">
      {hit.p !== undefined && <strong>{Math.round(100 * hit.p)} % </strong>}
      score {hit.score.toFixed(3)} = {hit.global.toFixed(3)} for the whole photo +{" "}
      {hit.local.toFixed(3)} for its best part
    </p>
  );
}

function Picture_(props: {
  picture: Picture;
  boxes: readonly Box[];
  children?: preact.ComponentChildren;
}) {
  const { picture, boxes, children } = props;
  const [failed, setFailed] = useState("");
  const source = thumbnail(picture, 2048);
  const width = picture.width ?? 1;
  const height = picture.height ?? 1;
  if (!source || failed === source) {
    return <p class="missing">{picture.name}: there is no picture to show. Is the file still there?</p>;
  }
  return (
    <div
      class="frame"
      style={{
        aspectRatio: `${width} / ${height}`,
        width: `min(100%, calc((100dvh - 2rem) * ${width / height}))`,
        backgroundColor: picture.colour ?? undefined,
      }}
    >
      <img key={source} src={source} alt={picture.name} onError={() => setFailed(source)} />
      {children}
      <svg viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true">
        {boxes.map((box, index) => (
          <rect
            key={index}
            x={box.left}
            y={box.top}
            width={box.right - box.left}
            height={box.bottom - box.top}
          />
        ))}
      </svg>
    </div>
  );
}

function Heat({ heat }: { heat: { rows: number; columns: number; values: number[] } }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const context = canvas.current!.getContext("2d")!;
    const pixels = context.createImageData(heat.columns, heat.rows);
    heat.values.forEach((value, index) => {
      pixels.data.set([255, Math.round(220 * (1 - value)), 0, Math.round(200 * value)], 4 * index);
    });
    context.putImageData(pixels, 0, 0);
  }, [heat]);
  return <canvas ref={canvas} width={heat.columns} height={heat.rows} aria-hidden="true" />;
}

const KILO = 1000;

function Facts({ photo }: { photo: Photo }) {
  const facts: [string, string | null][] = [
    ["Taken", photo.taken_at && `${photo.taken_at.replace("T", " ")} (${photo.date_source})`],
    ["Size", photo.width ? `${photo.width} × ${photo.height}, ${bytes(photo.size)}` : bytes(photo.size)],
    ["Camera", photo.camera],
    [
      "Place",
      photo.latitude === null || photo.longitude === null
        ? null
        : `${photo.latitude.toFixed(5)}, ${photo.longitude.toFixed(5)}`,
    ],
    ["File", photo.path],
    ["Same bytes", photo.copies.join(", ") || null],
    ["Never tagged", photo.refused.join(", ") || null],
    ["State", photo.state === "indexed" ? null : `${photo.state}: ${photo.error ?? ""}`],
  ];
  return (
    <dl class="facts">
      {facts.map(([name, value]) =>
        value ? (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ) : null,
      )}
    </dl>
  );
}

function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB"];
  let value = count;
  let unit = 0;
  while (value >= KILO && unit < units.length - 1) {
    value /= KILO;
    unit += 1;
  }
  return `${value < 10 && unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}
