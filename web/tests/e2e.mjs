// The page in a real browser: node tests/e2e.mjs [--base URL] [--key KEY] [--out DIR] [--only PATTERN]
// Without a base the tests run against the mock, and those that need its tricks run only then.

import { parseArgs } from "node:util";
import { browserPath, launch, open } from "./harness.mjs";
import { startMock } from "./mock.mjs";
import { basics } from "./basics.mjs";
import { faults } from "./faults.mjs";
import { looks } from "./looks.mjs";

const { values } = parseArgs({
  options: { base: { type: "string" }, key: { type: "string" }, out: { type: "string" }, only: { type: "string" } },
});

if (!browserPath()) {
  console.error("no Chromium: install it (apt-get install chromium) or name it in the variable CHROMIUM");
  process.exit(2);
}

const mock = values.base ? null : await startMock();
const base = values.base ?? mock.base;
const browser = await launch();
let failed = 0;
let ran = 0;

/** Runs one test on a page of its own and says whether it passed; what it saw is printed. */
async function passes({ name, run, ...options }) {
  const began = performance.now();
  const out = values.out;
  const init = values.key ? `sessionStorage.setItem("leo.key", ${JSON.stringify(values.key)})` : undefined;
  // Each test begins on a page of its own; tests with a server of their own open it themselves.
  const watched = options.alone ? null : await open(browser, base, { out, init, ...options });
  try {
    if (watched) await watched.ready();
    await run(watched, { browser, base, mock, out });
    if (watched?.faults.length) throw new Error(watched.faults.join("\n"));
    console.log(`ok    ${name} (${Math.round(performance.now() - began)} ms)`);
    return true;
  } catch (error) {
    console.log(`FAIL  ${name}\n      ${String(error.stack ?? error).split("\n").slice(0, 8).join("\n      ")}`);
    if (watched?.faults.length) console.log(`      ${watched.faults.join("\n      ")}`);
    await watched?.shot("failed-" + name.replace(/\W+/g, "-")).catch(() => undefined);
    return false;
  } finally {
    await watched?.page.context().close();
  }
}

for (const { needsMock, ...test } of [...basics, ...faults, ...looks]) {
  if (needsMock && !mock) continue;
  if (values.only && !new RegExp(values.only).test(test.name)) continue;
  ran++;
  // A browser has bad moments on a busy machine; what fails twice fails.
  if (!(await passes(test)) && !(await passes(test))) failed++;
}

await browser.close();
await mock?.close();
console.log(failed ? `${failed} of ${ran} failed` : `all ${ran} passed`);
process.exit(failed ? 1 : 0);
