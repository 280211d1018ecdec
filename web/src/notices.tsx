// What the app has to say, above the page or the dialog that is open.
import { isOnline } from "./api";
import { dismiss, notices } from "./state";

export function Offline() {
  if (isOnline.value) return null;
  return (
    <p class="offline" role="alert">
      The server does not answer. This page goes on as soon as it does; what you decided so far is
      kept.
    </p>
  );
}

export function Notices() {
  return (
    <section class="notices" aria-label="Notices" aria-live="polite">
      {notices.value.map((notice) => (
        <div key={notice.id} class={notice.isError ? "notice error" : "notice"}>
          <span>{notice.text}</span>
          {notice.retry && (
            <button
              type="button"
              onClick={() => {
                dismiss(notice.id);
                notice.retry?.();
              }}
            >
              Try again
            </button>
          )}
          <button
            type="button"
            class="quiet"
            aria-label="Dismiss"
            onClick={() => dismiss(notice.id)}
          >
            ×
          </button>
        </div>
      ))}
    </section>
  );
}
