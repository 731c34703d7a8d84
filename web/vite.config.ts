import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";
import { licenses } from "./licenses.ts";

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
  test: {
    environment: "jsdom",
    include: ["src/**/*.test.ts"],
  },
});
