// The frame of the app: navigation, notices, keys, and the page that the address names.
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { render } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { activeLayers, keyName, useKeys } from "./keys";
import { LibraryPage } from "./library";
import { MapPage } from "./map";
import { ModelsPage } from "./models";
import { Notices, Offline } from "./notices";
import { ReviewPage } from "./review";
import { SearchPage } from "./search";
import { go, path, theme, toggleTheme } from "./state";

const PAGES: Record<string, { name: string; key: string; page: () => ComponentChildren }> = {
  "/search": { name: "Search", key: "1", page: SearchPage },
  "/library": { name: "Library", key: "2", page: LibraryPage },
  "/review": { name: "Review", key: "3", page: ReviewPage },
  "/map": { name: "Map", key: "4", page: MapPage },
  "/models": { name: "Models", key: "5", page: ModelsPage },
};

const showsKeys = signal(false);

function App() {
  const here = path.value in PAGES ? path.value : "/search";
  const shown = PAGES[here]!;
  useEffect(() => {
    document.title = `${shown.name} · MKT search`;
  }, [shown]);
  useKeys("Everywhere", [
    ...Object.entries(PAGES).map(([address, { name, key }]) => ({
      keys: [key],
      what: name,
      run: () => go(address),
    })),
    { keys: ["t"], what: "Light or dark", run: toggleTheme },
    { keys: ["?"], what: "These keys", run: () => (showsKeys.value = true) },
  ]);
  return (
    <>
      <a class="skip" href="#main">
        Skip to the photos
      </a>
      <header class="bar">
        <a class="brand" href="/search" onClick={follow}>
          <img src="/static/icon.svg" alt="" width="24" height="24" />
          <span>MKT search</span>
        </a>
        <nav aria-label="Pages">
          {Object.entries(PAGES).map(([address, { name }]) => (
            <a
              key={address}
              href={address}
              onClick={follow}
              aria-current={address === here ? "page" : undefined}
            >
              {name}
            </a>
          ))}
        </nav>
        <button
          type="button"
          class="quiet"
          onClick={toggleTheme}
          aria-label={theme.value === "dark" ? "Light theme" : "Dark theme"}
        >
          {theme.value === "dark" ? "☀" : "☾"}
        </button>
        <button
          type="button"
          class="quiet"
          onClick={() => (showsKeys.value = true)}
          aria-label="Keys"
        >
          ?
        </button>
      </header>
      <Offline />
      <main id="main" tabIndex={-1}>
        <shown.page key={here} />
      </main>
      <Notices />
      {showsKeys.value && <Keys />}
    </>
  );
}

export function follow(event: MouseEvent): void {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const link = event.currentTarget as HTMLAnchorElement;
  go(link.pathname + link.search);
}

function Keys() {
  const dialog = useRef<HTMLDialogElement>(null);
  const layers = activeLayers();
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog
      ref={dialog}
      class="keys"
      aria-labelledby="keys-title"
      onClose={() => (showsKeys.value = false)}
    >
      <h2 id="keys-title">Keys</h2>
      {layers.map((layer) => (
        <section key={layer.title}>
          <h3>{layer.title}</h3>
          <dl>
            {layer.keys.map((key) => (
              <div key={key.what}>
                <dt>
                  {key.keys.map((name) => (
                    <kbd key={name}>{keyName(name)}</kbd>
                  ))}
                </dt>
                <dd>{key.what}</dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
      <form method="dialog">
        <button type="submit">Close</button>
      </form>
    </dialog>
  );
}

render(<App />, document.getElementById("app")!);
