// What the browser tests share: a browser, a page that is watched, and checks that say what they saw.

import { existsSync, mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Console lines that a test provokes on purpose: answers with an error status, connections that break. */
const expected = /Failed to load resource|net::ERR_(?:INCOMPLETE_CHUNKED_ENCODING|CONNECTION_REFUSED|EMPTY_RESPONSE)/;

export function browserPath() {
  const found = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  return found.find((path) => path && existsSync(path));
}

export async function launch() {
  return chromium.launch({
    executablePath: browserPath(),
    // leo.test is a name that is not localhost: what a page on http in a local network may use, and no more.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--host-resolver-rules=MAP leo.test 127.0.0.1"],
  });
}

/** Waits until a condition holds, for two seconds at most: the browser lays out when it likes. */
export async function until(condition, message) {
  for (const end = Date.now() + 2000; !(await condition()); await new Promise((done) => setTimeout(done, 50))) {
    check(Date.now() < end, message);
  }
}

export function check(truth, what) {
  if (!truth) throw new Error(what);
}

export function equal(got, want, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)];
  if (a !== b) throw new Error(`${what}: ${a}, want ${b}`);
}

export class Watched {
  constructor(page, base, out) {
    this.page = page;
    this.base = base;
    this.out = out;
    this.faults = [];
    const own = new URL(base);
    page.on("request", (request) => {
      const url = new URL(request.url());
      const here = url.origin === own.origin && url.pathname.startsWith(own.pathname);
      if (!here && url.protocol !== "data:" && url.protocol !== "blob:") this.faults.push(`a request to ${url}`);
    });
    page.on("pageerror", (error) => this.faults.push(`an error of the page: ${error.stack ?? error}`));
    page.on("console", (line) => {
      const told = line.type() === "error" || line.type() === "warning";
      if (told && !expected.test(line.text())) this.faults.push(`the console says: ${line.text()}`);
    });
  }

  get input() {
    return this.page.locator("#input");
  }

  answers(column = 0) {
    return this.page.locator(".thread").nth(column).locator(".answer");
  }

  questions(column = 0) {
    return this.page.locator(".thread").nth(column).locator("article.own .text");
  }

  button(name) {
    return this.page.getByRole("button", { name, exact: true });
  }

  /** Asks, and waits for the end of the answer unless told otherwise. */
  async ask(text, { wait = true } = {}) {
    await this.input.fill(text);
    await this.input.press("Enter");
    if (wait) await this.idle();
  }

  async idle() {
    await this.page.waitForFunction(() => document.querySelectorAll(".answer[aria-busy=true]").length === 0, null, { timeout: 120_000 });
    await this.page.locator(".composer button[disabled], .composer button[type=submit], .composer button:not([type])").first().waitFor();
  }

  async growing(column = 0) {
    const answer = this.answers(column).last();
    await answer.locator(".block").first().waitFor();
    return answer;
  }

  async reload() {
    await this.page.reload();
    await this.ready();
  }

  async ready() {
    await this.page.locator("#input").waitFor();
    await this.page.locator("main select").first().waitFor();
  }

  async shot(name) {
    if (!this.out) return;
    mkdirSync(this.out, { recursive: true });
    await this.page.screenshot({ path: join(this.out, name + ".png") });
  }

  /** axe-core, injected by the debugger, which the page's policy does not bind. */
  async accessible(where) {
    await this.page.evaluate(axe);
    const { violations } = await this.page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    const bad = violations.filter((v) => v.impact === "serious" || v.impact === "critical");
    const told = bad.map((v) => `${v.id} (${v.impact}): ${v.nodes.map((n) => n.target.join(" ") + " " + (n.any[0]?.message ?? "")).join(" | ")}`);
    check(bad.length === 0, `${where}: axe finds ${told.join("; ")}`);
  }
}

/** A fresh browser profile with the page open. */
export async function open(browser, base, { out, context = {}, init, path = "" } = {}) {
  const profile = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "de-DE", ...context });
  if (init) await profile.addInitScript(init);
  const page = await profile.newPage();
  page.setDefaultTimeout(30_000);
  const watched = new Watched(page, base, out);
  await page.goto(base + path);
  return watched;
}
