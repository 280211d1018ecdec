// Models: what the checkpoint is, what its probabilities are worth, evaluations, and jobs.
import { useEffect, useState } from "preact/hooks";
import { address, get, type Job, type Model, type Quality, send } from "./api";
import { fail, say } from "./state";

export function ModelsPage() {
  const [model, setModel] = useState<Model | null>(null);
  const load = (): void => {
    get<Model>("/model")
      .then(setModel)
      .catch((error: unknown) => fail(error, load));
  };
  useEffect(load, []);
  return (
    <>
      <h1>Models</h1>
      <Jobs onDone={load} />
      {!model ? (
        <p class="sentence" role="status">
          Reading…
        </p>
      ) : (
        <>
          <section>
            <h2>Checkpoint</h2>
            {model.problem && <p class="problem">{model.problem}</p>}
            <dl class="facts">
              <Fact name="Fingerprint" value={model.model ?? "none: nothing is indexed yet"} />
              {Object.entries(model.encoding ?? {}).map(([name, value]) => (
                <Fact
                  key={name}
                  name={name.replaceAll("_", " ")}
                  value={Array.isArray(value) ? value.join(" × ") : String(value)}
                />
              ))}
            </dl>
          </section>
          <section>
            <h2>Probabilities</h2>
            {model.calibrator ? (
              <Calibration quality={model.calibrator.quality} from={model.calibrator.made_from} />
            ) : (
              <p>
                There is no calibrator, so hits have scores and no probabilities.{" "}
                <code>mkt calibrate</code> learns one from some hundred labeled photos.
              </p>
            )}
          </section>
          <section>
            <h2>Evaluations</h2>
            {model.evaluations.length ? (
              <table>
                <thead>
                  <tr>
                    <th scope="col">When</th>
                    <th scope="col">Photos</th>
                    <th scope="col">Labels</th>
                    <th scope="col">Scale</th>
                    <th scope="col">Stream</th>
                    <th scope="col">Mean AP</th>
                  </tr>
                </thead>
                <tbody>
                  {model.evaluations.flatMap((one, place) =>
                    (one.results.rows ?? []).map((row, number) => (
                      <tr key={`${place} ${number}`}>
                        <td>{one.created_at && new Date(one.created_at).toLocaleDateString()}</td>
                        <td class="path">{one.dataset}</td>
                        <td>{row.labels}</td>
                        <td>{row.scale}</td>
                        <td>{row.stream}</td>
                        <td class="number">{row.paper?.mAP?.toFixed(3) ?? "unknown"}</td>
                      </tr>
                    )),
                  )}
                </tbody>
              </table>
            ) : (
              <p>
                None is kept. <code>mkt evaluate</code> measures how well labels are found.
              </p>
            )}
          </section>
        </>
      )}
    </>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function percent(share: number | null): string {
  return share === null ? "unknown" : `${(100 * share).toFixed(1)} %`;
}

const SIDE = 200; // of the diagram, in its own units

function Calibration({ quality, from }: { quality: Quality; from: string }) {
  const reached = Object.entries(quality.reached)
    .map(([asked, found]) => ({ asked: Number(asked), ...found }))
    .sort((a, b) => a.asked - b.asked);
  return (
    <>
      <p>
        Learned from {from}. Below is what it came to on {quality.labels.toLocaleString()} labels that
        it did not learn from, on {quality.photos.toLocaleString()} photos.
      </p>
      <div class="calibration">
        <svg
          viewBox={`-30 -10 ${SIDE + 50} ${SIDE + 45}`}
          role="img"
          aria-label="Precision that was asked for, and what it came to"
        >
          <rect class="paper" width={SIDE} height={SIDE} />
          <line class="ideal" x1="0" y1={SIDE} x2={SIDE} y2="0" />
          {reached.map(({ asked, precision }) =>
            precision === null ? null : (
              <circle key={asked} cx={SIDE * asked} cy={SIDE * (1 - precision)} r="5" />
            ),
          )}
          {[0, 0.5, 1].map((tick) => (
            <g key={tick}>
              <text x={SIDE * tick} y={SIDE + 16} text-anchor="middle">
                {tick}
              </text>
              <text x="-6" y={SIDE * (1 - tick) + 4} text-anchor="end">
                {tick}
              </text>
            </g>
          ))}
          <text x={SIDE / 2} y={SIDE + 32} text-anchor="middle">
            asked
          </text>
        </svg>
        <table>
          <thead>
            <tr>
              <th scope="col">Asked</th>
              <th scope="col">Reached</th>
              <th scope="col">Photos found</th>
            </tr>
          </thead>
          <tbody>
            {reached.map(({ asked, precision, recall }) => (
              <tr key={asked}>
                <td class="number">{percent(asked)}</td>
                <td class="number">{percent(precision)}</td>
                <td class="number">{percent(recall)}</td>
              </tr>
            ))}
          </tbody>
        </table>
        <dl class="facts">
          <Fact name="Calibration error" value={quality.ece.toFixed(4)} />
          <Fact name="Brier skill" value={quality.brier_skill.toFixed(2)} />
          <Fact name="Tells present from absent" value={quality.auroc === null ? "unknown" : quality.auroc.toFixed(2)} />
          <Fact name="Absent labels answered" value={percent(quality.absent_answered)} />
          <Fact name="Present labels missed" value={percent(quality.present_missed)} />
        </dl>
      </div>
    </>
  );
}

const RUNNING = new Set(["running", "queued", "waiting", "cancelling"]);

function Jobs({ onDone }: { onDone: () => void }) {
  const [jobs, setJobs] = useState<Job[]>([]);
  const load = (): void => {
    get<Job[]>("/jobs")
      .then(setJobs)
      .catch((error: unknown) => fail(error, load));
  };
  useEffect(load, []);
  const running = jobs.find((job) => RUNNING.has(job.state));
  useEffect(() => {
    if (!running) return;
    const events = new EventSource(address(`/jobs/${running.id}/events`));
    const update = (event: MessageEvent<string>): void => {
      const found = JSON.parse(event.data) as Partial<Job>;
      setJobs((own) => own.map((job) => (job.id === running.id ? { ...job, ...found } : job)));
      if (found.state && !RUNNING.has(found.state)) {
        events.close();
        load();
        onDone();
      }
    };
    for (const kind of ["message", "progress", "log", "end", "done", "failed", "cancelled"])
      events.addEventListener(kind, update as EventListener);
    events.onerror = () => {
      // The server has started again and does not know the job; otherwise the browser reconnects.
      if (events.readyState === EventSource.CLOSED) load();
    };
    return () => events.close();
  }, [running?.id]);
  const start = (body: Record<string, unknown>): void => {
    send("POST", "/jobs", body)
      .then(load)
      .catch((error: unknown) => fail(error));
  };
  return (
    <section>
      <h2>Jobs</h2>
      <p class="line">
        <button type="button" disabled={!!running} onClick={() => start({ kind: "index" })}>
          Look for new photos
        </button>
        <button
          type="button"
          disabled={!!running}
          onClick={() => start({ kind: "tag", vocabulary: "everyday" })}
        >
          Propose tags
        </button>
        <button type="button" disabled={!!running} onClick={() => start({ kind: "optimize" })}>
          Make searches faster
        </button>
      </p>
      <ul class="jobs">
        {[...jobs].reverse().map((job) => (
          <li key={job.id}>
            <strong>{job.kind}</strong> {job.state}
            {RUNNING.has(job.state) ? (
              <>
                <progress
                  aria-label={job.step || job.kind}
                  max={job.total || undefined}
                  value={job.total ? job.done : undefined}
                />
                <span>
                  {job.step} {job.total > 0 && `${job.done.toLocaleString()} of ${job.total.toLocaleString()}`}
                </span>
                <button
                  type="button"
                  onClick={() => {
                    send("POST", `/jobs/${job.id}/cancel`)
                      .then(() => say("The job stops after the photos at hand; they are kept."))
                      .catch((error: unknown) => fail(error));
                  }}
                >
                  Cancel
                </button>
              </>
            ) : (
              <span> {job.message}</span>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}
