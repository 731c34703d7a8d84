import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";
import { licenses } from "./licenses.ts";

/** While the page is changed, a running server answers: at LEO, or where it listens by itself. */
const api = {
  target: process.env.LEO ?? "http://127.0.0.1:8080",
  // The server answers its own page only, and the page comes from Vite here.
  configure: (proxy: { on(event: "proxyReq", call: (request: { removeHeader(name: string): void }) => void): void }) =>
    proxy.on("proxyReq", (request) => request.removeHeader("origin")),
};

export default defineConfig({
  // The page works below any path.
  base: "./",
  plugins: [svelte(), licenses()],
  build: {
    outDir: fileURLToPath(new URL("../serve/page/dist", import.meta.url)),
    emptyOutDir: true,
    target: ["chrome123", "firefox125", "safari17.5"],
    // Nothing is inlined: the page's policy allows neither inline scripts nor inline styles.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 400,
  },
  server: { proxy: { "/v1": api, "/apply-template": api } },
  test: {
    environment: "jsdom",
    include: ["src/**/*.test.ts"],
  },
});
