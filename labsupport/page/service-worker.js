// Keeps what the page fetches, for a visit without a network; it stands in JupyterLite's place.
const KEPT = "lab-page-files";

addEventListener("install", () => skipWaiting());
addEventListener("activate", event => event.waitUntil(clients.claim()));
addEventListener("fetch", event => {
  const { method, url } = event.request;
  if (url.endsWith("/service-worker-heartbeat")) event.respondWith(new Response("ok"));
  else if (method === "GET" && url.startsWith(registration.scope) && !url.includes("/machine/state/"))
    event.respondWith(answer(event));
});

async function answer(event) {
  const cache = await caches.open(KEPT);
  const kept = await cache.match(event.request, { ignoreSearch: true, ignoreVary: true });
  if (kept && event.request.url.includes("/machine/files/")) return kept; // named by what it holds
  try {
    const answer = await fetch(event.request);
    if (answer.ok) event.waitUntil(cache.put(event.request, answer.clone()).catch(() => {})); // full
    return answer;
  } catch (error) {
    if (kept) return kept;
    throw error;
  }
}
