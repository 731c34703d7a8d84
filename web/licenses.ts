// A build step: one file with the licenses of everything that the built files contain.

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";

/** Packages of which only fonts are taken: bundlers don't count those as modules. */
const fonts = ["@fontsource-variable/source-sans-3", "@fontsource-variable/source-serif-4"];

export function licenses(): Plugin {
  return {
    name: "licenses",
    apply: "build",
    generateBundle(_options, bundle) {
      const folders = new Set(fonts.map((name) => join(import.meta.dirname, "node_modules", name)));
      for (const chunk of Object.values(bundle)) {
        if (chunk.type !== "chunk") continue;
        for (const id of chunk.moduleIds) {
          const folder = /^\0?(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(id)?.[1];
          if (folder) folders.add(folder);
        }
      }
      const entries = [...folders].map(entry).sort((a, b) => (a < b ? -1 : 1));
      this.emitFile({ type: "asset", fileName: "assets/licenses.txt", source: entries.join("\n" + "-".repeat(80) + "\n\n") });
    },
  };
}

function entry(folder: string): string {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
    name: string;
    version: string;
    license: string;
  };
  const file = readdirSync(folder).find((f) => /^licen[sc]e/i.test(f));
  if (!file || !existsSync(join(folder, file))) throw new Error(`${name} has no license file`);
  const text = readFileSync(join(folder, file), "utf8").replace(/\r\n/g, "\n").trimEnd();
  return `${name} ${version} (${license})\n\n${text}\n`;
}
