// Review: proposed tags, one photo at a time or a whole batch. Every decision is sent at once.
import { useEffect, useRef, useState } from "preact/hooks";
import {
  type Decided,
  type Decision,
  get,
  type Proposed,
  type Queue,
  send,
  type Status,
  thumbnail,
} from "./api";
import { decide, type OneDecision, settled, unsent } from "./decisions";
import { Grid, moveFocus } from "./grid";
import { useKeys } from "./keys";
import { follow } from "./main";
import { changed, fail, go, query, say } from "./state";

const PAGE = 50;
const AHEAD = 10; // photos that are loaded before they are shown

export function ReviewPage() {
  const label = query.value.get("label");
  const run = query.value.get("run");
  if (label === null) return <Queues />;
  return <Session key={`${run} ${label}`} label={label} run={run === null ? null : Number(run)} />;
}

function Queues() {
  const [queues, setQueues] = useState<Queue[] | null>(null);
  const [isReadOnly, setReadOnly] = useState(false);
  const load = (): void => {
    get<Queue[]>("/review")
      .then(setQueues)
      .catch((error: unknown) => fail(error, load));
    get<Status>("/status")
      .then((status) => setReadOnly(status.read_only))
      .catch(() => undefined);
  };
  useEffect(load, []);
  useKeys("Review", [{ keys: ["z"], what: "Take back the last decision", run: () => undo(load) }]);
  return (
    <>
      <h1>Review</h1>
      {isReadOnly && <p class="sentence">This server is read-only: decisions are refused.</p>}
      {!queues ? (
        <p class="sentence" role="status">
          Reading…
        </p>
      ) : !queues.length ? (
        <p class="sentence" role="status">
          No run has proposed a tag yet. Start one on the page Models, or run <code>mkt tag</code>.
        </p>
      ) : (
        <table>
          <caption>Proposed tags</caption>
          <thead>
            <tr>
              <th scope="col">Label</th>
              <th scope="col">Run</th>
              <th scope="col">To decide</th>
              <th scope="col">Accepted</th>
              <th scope="col">Rejected</th>
            </tr>
          </thead>
          <tbody>
            {queues.map((queue) => (
              <tr key={`${queue.run} ${queue.label}`}>
                <td class="path">
                  <a href={address(queue.label, queue.run)} onClick={follow}>
                    {queue.label}
                  </a>
                </td>
                <td class="number">{queue.run}</td>
                <td class="number">{queue.undecided.toLocaleString()}</td>
                <td class="number">{queue.accepted.toLocaleString()}</td>
                <td class="number">{queue.rejected.toLocaleString()}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </>
  );
}

/** Take back the newest decision of the library, whoever made it. */
function undo(done: (decided: Decided) => void): void {
  const run = async (): Promise<void> => {
    if (!(await settled())) throw new Error("Decisions are on their way; take them back after.");
    const last = await get<Decided | null>("/review/last");
    if (!last) {
      say("There is no decision to take back.");
      return;
    }
    await send("POST", "/review/undo", { id: last.id });
    say(`Took back ${last.decisions.length === 1 ? "a decision" : `${last.decisions.length} decisions`} on ${last.label}.`);
    done(last);
  };
  run().catch((error: unknown) => fail(error, () => undo(done)));
}

function address(label: string, run: number | null): string {
  return `/review?${run === null ? "" : `run=${run}&`}label=${encodeURIComponent(label)}`;
}

function Session({ label, run }: { label: string; run: number | null }) {
  const [photos, setPhotos] = useState<Proposed[]>([]);
  const [isComplete, setComplete] = useState(false);
  const [at, setAt] = useState(0);
  const [counts, setCounts] = useState({ accept: 0, reject: 0 });
  const [again, setAgain] = useState(0);
  const cursor = useRef<string | number | null>(null);
  const isLoading = useRef(false);
  const isBatch = query.value.get("view") === "batch";

  const load = (): void => {
    if (isLoading.current || isComplete) return;
    isLoading.current = true;
    get<{ photos: Proposed[]; next: string | number | null }>("/review/photos", {
      label,
      run,
      after: cursor.current,
      limit: PAGE,
    })
      .then((found) => {
        cursor.current = found.next;
        setPhotos((own) => {
          const known = new Set(own.map((photo) => photo.photo));
          return [...own, ...found.photos.filter((photo) => !known.has(photo.photo))];
        });
        if (found.next === null) setComplete(true);
      })
      .catch((error: unknown) => fail(error, () => setAgain((count) => count + 1)))
      .finally(() => (isLoading.current = false));
  };
  useEffect(() => {
    if (at + AHEAD >= photos.length) load();
  }, [at, photos.length, again, isComplete]);

  const back = (decided: Decided): void => {
    const ids = new Set(decided.decisions.map((one) => one.photo));
    const first = photos.findIndex((photo) => ids.has(photo.photo));
    if (decided.label === label && first >= 0) {
      setAt(first);
      const kinds = decided.decisions.map((one) => one.decision);
      setCounts((own) => ({
        accept: own.accept - kinds.filter((kind) => kind === "accept").length,
        reject: own.reject - kinds.filter((kind) => kind === "reject").length,
      }));
    } else if (decided.label === label) {
      cursor.current = null; // it was decided before this page was opened: read the queue again
      setPhotos([]);
      setComplete(false);
      setAt(0);
      setAgain((count) => count + 1);
    } else {
      go(address(decided.label, run));
    }
  };
  const record = (chosen: readonly OneDecision[]): void => {
    decide({ label, decisions: [...chosen] });
    const accepted = chosen.filter((one) => one.decision === "accept").length;
    setCounts((own) => ({
      accept: own.accept + accepted,
      reject: own.reject + chosen.length - accepted,
    }));
  };
  return (
    <>
      <div class="where">
        <h1>
          <a href="/review" onClick={follow}>
            Review
          </a>{" "}
          · {label}
        </h1>
        <p role="status">
          {counts.accept} accepted, {counts.reject} rejected
          {unsent.value.length > 0 && `, ${unsent.value.length} not sent yet`}
        </p>
        <a
          class="button"
          href={changed({ view: isBatch ? null : "batch" })}
          onClick={follow}
        >
          {isBatch ? "One at a time" : "As a batch"}
        </a>
      </div>
      {isBatch ? (
        <Batch photos={photos.slice(at)} label={label} onDecide={(chosen) => {
          record(chosen);
          setAt(at + chosen.length);
        }} onUndo={() => undo(back)} isComplete={isComplete} />
      ) : (
        <Single
          photos={photos}
          at={at}
          label={label}
          isComplete={isComplete}
          onDecide={(decision) => {
            const photo = photos[at];
            if (!photo) return;
            record([{ photo: photo.photo, content: photo.content, decision }]);
            setAt(at + 1);
          }}
          onMove={(by) => setAt(Math.min(Math.max(at + by, 0), photos.length))}
          onUndo={() => undo(back)}
        />
      )}
    </>
  );
}

function Single(props: {
  photos: readonly Proposed[];
  at: number;
  label: string;
  isComplete: boolean;
  onDecide: (decision: Decision) => void;
  onMove: (by: number) => void;
  onUndo: () => void;
}) {
  const { photos, at, label, isComplete, onDecide, onMove, onUndo } = props;
  const photo = photos[at];
  useKeys("Review", [
    { keys: ["a"], what: "Accept", run: () => onDecide("accept") },
    { keys: ["x"], what: "Reject", run: () => onDecide("reject") },
    { keys: [" ", "ArrowRight"], what: "Skip", run: () => onMove(1) },
    { keys: ["ArrowLeft"], what: "Photo before", run: () => onMove(-1) },
    { keys: ["z"], what: "Take back the last decision", run: onUndo },
    { keys: ["Escape"], what: "All labels", run: () => go("/review") },
  ]);
  useEffect(() => {
    for (const next of photos.slice(at + 1, at + 1 + AHEAD)) {
      const source = thumbnail(next, 2048);
      if (source) new window.Image().src = source;
    }
  }, [at, photos.length]);
  if (!photo) {
    return (
      <div class="done">
        <p role="status">{isComplete ? `Nothing is left to decide for ${label}.` : "Reading…"}</p>
        {isComplete && (
          <p>
            <button type="button" onClick={onUndo}>
              Take back <kbd>Z</kbd>
            </button>{" "}
            <a class="button" href="/review" onClick={follow}>
              All labels
            </a>
          </p>
        )}
      </div>
    );
  }
  const source = thumbnail(photo, 2048);
  return (
    <div class="single">
      <figure>
        {source ? (
          <img key={photo.photo} src={source} alt={photo.name} />
        ) : (
          <p class="missing">{photo.name}</p>
        )}
        <figcaption>
          Does it show <strong>{label}</strong>?{" "}
          {photo.p !== null
            ? `${Math.round(100 * photo.p)} % probable`
            : photo.score !== null
              ? `score ${photo.score.toFixed(3)}`
              : ""}
        </figcaption>
      </figure>
      {/* A click leaves the focus where it is: Space goes on to skip. */}
      <div class="decide" onMouseDown={(event) => event.preventDefault()}>
        <button type="button" class="reject" onClick={() => onDecide("reject")}>
          Reject <kbd>X</kbd>
        </button>
        <button type="button" onClick={() => onMove(1)}>
          Skip <kbd>Space</kbd>
        </button>
        <button type="button" class="accept" onClick={() => onDecide("accept")}>
          Accept <kbd>A</kbd>
        </button>
        <button type="button" onClick={onUndo}>
          Undo <kbd>Z</kbd>
        </button>
      </div>
    </div>
  );
}

function Batch(props: {
  photos: readonly Proposed[];
  label: string;
  isComplete: boolean;
  onDecide: (chosen: readonly OneDecision[]) => void;
  onUndo: () => void;
}) {
  const { label, onDecide, onUndo, isComplete } = props;
  const photos = props.photos.slice(0, PAGE);
  const [wrong, setWrong] = useState<ReadonlySet<number>>(new Set());
  const confirm = (): void => {
    if (!photos.length) return;
    onDecide(
      photos.map(({ photo, content }) => ({
        photo,
        content,
        decision: wrong.has(photo) ? "reject" : "accept",
      })),
    );
    setWrong(new Set());
    scrollTo(0, 0);
  };
  useKeys("A batch", [
    { keys: ["c"], what: "Confirm the batch", run: confirm },
    { keys: ["z"], what: "Take back the last batch", run: onUndo },
    { keys: ["ArrowLeft"], what: "Photo before", run: () => moveFocus("left") },
    { keys: ["ArrowRight"], what: "Next photo", run: () => moveFocus("right") },
    { keys: ["ArrowUp"], what: "Row above", run: () => moveFocus("up") },
    { keys: ["ArrowDown"], what: "Row below", run: () => moveFocus("down") },
    { keys: ["Escape"], what: "All labels", run: () => go("/review") },
  ]);
  if (!photos.length) {
    return (
      <p class="sentence" role="status">
        {isComplete ? `Nothing is left to decide for ${label}.` : "Reading…"}
      </p>
    );
  }
  const toggle = (id: number): void => {
    const next = new Set(wrong);
    if (!next.delete(id)) next.add(id);
    setWrong(next);
  };
  return (
    <>
      <p class="sentence">
        Mark the photos that do not show {label}; the others are accepted.{" "}
        <button type="button" class="accept" onClick={confirm}>
          Accept {photos.length - wrong.size}
          {wrong.size > 0 && `, reject ${wrong.size}`} <kbd>C</kbd>
        </button>
      </p>
      <Grid
        pictures={photos}
        label={`Photos proposed as ${label}`}
        name={(photo) => `${photo.name}, ${wrong.has(photo.photo) ? "wrong" : "right"}`}
        badge={(photo) => (photo.p === null ? photo.score?.toFixed(3) : `${Math.round(100 * photo.p)} %`)}
        isMarked={(photo) => wrong.has(photo.photo)}
        onOpen={(place) => toggle(photos[place]!.photo)}
      />
    </>
  );
}
