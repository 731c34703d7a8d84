// The faults that users met in other pages, and servers that misbehave. They need the mock's tricks.

import { check, equal, open } from "./harness.mjs";
import { startMock } from "./mock.mjs";

/** Whatever else a test does with a page of its own, it is closed, and its faults are told. */
async function withPage(browser, base, options, work) {
  const w = await open(browser, base, options);
  try {
    await work(w);
    if (w.faults.length) throw new Error(w.faults.join("\n"));
  } finally {
    await w.page.context().close();
  }
}

export const faults = [
  {
    name: "stops, keeps what was written, and tells the server",
    needsMock: true,
    async run(w, { mock }) {
      await w.ask("Erzähl [slow]", { wait: false });
      const answer = await w.growing();
      await w.page.waitForTimeout(300);
      await w.page.keyboard.press("Escape");
      await w.page.getByText("Angehalten.").waitFor();
      const text = await answer.innerText();
      check(text.includes("Vulkan"), `kept: ${text}`);
      await w.page.waitForTimeout(200);
      equal(await answer.innerText(), text, "it goes on after the stop");
      check(mock.log.some((e) => e.aborted === "Erzähl [slow]"), "the server was not told");
      await w.reload();
      equal((await w.answers().last().innerText()).trim(), text.trim(), "after a reload");
      await w.ask("Weiter?");
      const sent = mock.log.findLast((e) => e.messages).messages.map((m) => m.role);
      equal(sent, ["user", "assistant", "user"], "the partial answer is part of the conversation");
    },
  },
  {
    name: "stops before the first word, and goes on alternating",
    needsMock: true,
    async run(w, { mock }) {
      await w.ask("Schnell weg [slow]", { wait: false });
      await w.button("Anhalten").click();
      await w.page.getByText("Angehalten.").waitFor();
      await w.ask("Noch da?");
      const sent = mock.log.findLast((e) => e.messages).messages.map((m) => m.role);
      check(sent.every((role, i) => role === (i % 2 ? "assistant" : "user")), `sent: ${sent}`);
    },
  },
  {
    name: "goes on writing while another conversation is shown",
    needsMock: true,
    async run(w) {
      const { page } = w;
      await w.ask("Lang [fast]", { wait: false });
      await w.growing();
      await w.button("Neues Gespräch").click();
      await w.ask("Kurz");
      equal(await w.questions().allInnerTexts(), ["Kurz"], "the other conversation");
      const other = await w.answers().first().innerText();
      check(!other.includes("Vulkan"), "an answer ended up in the wrong conversation");
      await page.getByRole("link", { name: "Lang [fast]" }).click();
      const before = (await w.answers().first().innerText()).length;
      await page.waitForTimeout(400);
      check((await w.answers().first().innerText()).length > before, "it stopped when it was left");
      await page.keyboard.press("Escape");
    },
  },
  {
    name: "keeps a running answer when the page is closed",
    needsMock: true,
    async run(w) {
      await w.ask("Lang [slow]", { wait: false });
      await w.growing();
      await w.page.waitForTimeout(1500);
      await w.reload();
      check((await w.answers().first().innerText()).includes("Vulkan"), "the partial answer is gone");
      await w.page.getByText("Unvollständig:").waitFor();
    },
  },
  {
    name: "is not moved by a growing text when the reader scrolls up",
    needsMock: true,
    async run(w) {
      const { page } = w;
      await w.ask("Lang [fast]", { wait: false });
      await page.waitForFunction(() => document.querySelector(".scroller").scrollHeight > 1600, null, { timeout: 60_000 });
      const box = await page.locator(".scroller").boundingBox();
      await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
      const distance = () => page.evaluate(() => {
        const s = document.querySelector(".scroller");
        return s.scrollHeight - s.clientHeight - s.scrollTop;
      });
      check((await distance()) < 60, "it does not follow at the end");
      await page.mouse.wheel(0, -300);
      await page.waitForTimeout(200);
      const top = await page.evaluate(() => document.querySelector(".scroller").scrollTop);
      await page.waitForTimeout(600);
      equal(await page.evaluate(() => document.querySelector(".scroller").scrollTop), top, "place of the reader");
      await w.button("Zum Ende").click();
      await page.waitForTimeout(500);
      check((await distance()) < 60, "it does not follow again");
      await page.keyboard.press("Escape");
      await page.getByText("Angehalten.").waitFor();
      check((await distance()) < 60, "it jumps at the end");
    },
  },
  {
    name: "stays smooth at 200 tokens a second",
    needsMock: true,
    async run(w) {
      await w.page.evaluate(() => {
        globalThis.longest = 0;
        new PerformanceObserver((list) => {
          for (const task of list.getEntries()) globalThis.longest = Math.max(globalThis.longest, task.duration);
        }).observe({ type: "longtask" });
      });
      await w.ask("Lang [fast]");
      const longest = await w.page.evaluate(() => globalThis.longest);
      const notes = await w.page.locator(".notes").first().innerText();
      console.log(`      longest task ${Math.round(longest)} ms, ${notes.replace(/\n/g, ", ")}`);
      check(longest < 250, `the page stood still for ${longest} ms`);
    },
  },
  {
    name: "runs nothing that a model or a user writes, and loads nothing",
    needsMock: true,
    async run(w) {
      const { page } = w;
      await w.ask('[hostile] <img src=x onerror="window.pwned=1"><script>window.pwned=1</script>');
      await page.waitForTimeout(300);
      const hurt = async (when) => {
        equal(await page.evaluate(() => globalThis.pwned ?? 0), 0, `${when}: something ran`);
        equal(await page.locator(".messages img, .messages script, .messages iframe, .messages form, .messages style").count(), 0, `${when}: elements`);
      };
      await hurt("at first");
      const image = page.locator(".answer a.image");
      equal(await image.getAttribute("href"), "https://evil.test/pixel.png?q=secret", "the image is a link");
      equal(await image.getAttribute("rel"), "noopener noreferrer nofollow", "rel");
      equal(await page.locator('.answer a[href^="javascript"], .answer a[href^="data"]').count(), 0, "links");
      check((await w.questions().first().innerText()).includes("<script>"), "what the user typed is not shown");
      await w.shot("hostile");
      await w.reload();
      await hurt("from the store");
    },
  },
  {
    name: "shows formulas and code, and leaves prices alone",
    needsMock: true,
    async run(w) {
      await w.ask("Wie löst man eine quadratische Gleichung?");
      await w.page.locator(".answer math[display=block] mfrac").waitFor();
      await w.page.locator(".answer .hljs-keyword").first().waitFor();
      check((await w.answers().first().innerText()).includes("kostet $5, zwei kosten $8."), "prices");
      check((await w.answers().first().innerText()).includes("🦁"), "an emoji was broken");
      await w.shot("formulas");
    },
  },
  {
    name: "tells of a busy server kindly, and lets it be asked again",
    needsMock: true,
    async run(w) {
      await w.ask("Hallo [busy]");
      await w.page.locator(".thread").getByText("Der Server ist gerade ausgelastet. Er bittet um 2 s Geduld.").waitFor();
      const again = w.page.getByRole("button", { name: /^Noch einmal/ });
      check(await again.isDisabled(), "it can be asked at once");
      await w.button("Noch einmal").waitFor({ timeout: 5000 });
      await w.button("Noch einmal").click();
      await w.page.getByRole("group", { name: "Fassung 2 von 2" }).waitFor();
      await w.ask("Hallo [draining]");
      await w.page.locator(".thread").getByText("Er bittet um 1 s Geduld.").waitFor();
    },
  },
  {
    name: "tells of every other fault, and keeps what came",
    needsMock: true,
    async run(w) {
      const { page } = w;
      await w.ask("Hallo [long]");
      await page.locator(".thread").getByText("the prompt has 1300 tokens, the context 1024").waitFor();
      await w.ask("Hallo [fault]");
      await page.locator(".thread").getByText("the device ran out of memory").waitFor();
      check((await w.answers().last().innerText()).includes("Vulkan"), "the text before the fault is gone");
      await w.ask("Hallo [cut]");
      await page.locator(".thread").getByText("Die Verbindung brach ab").waitFor();
      check((await w.answers().last().innerText()).includes("Vulkan"), "the text before the cut is gone");
      await w.ask("Hallo [length]");
      await page.locator(".thread").getByText("Die Antwort hat die Höchstlänge erreicht.").waitFor();
      await w.ask("Hallo [empty]");
      await page.locator(".thread").getByText("Das Modell hat nichts geantwortet.").waitFor();
      await w.shot("faults");
    },
  },
  {
    name: "asks for a key when the server wants one",
    needsMock: true,
    alone: true,
    async run(_w, { browser, out }) {
      const mock = await startMock({ key: "geheim" });
      await withPage(browser, mock.base, { out }, async (w) => {
        const { page } = w;
        const field = page.getByLabel("API-Schlüssel");
        await field.fill("falsch");
        await field.press("Enter");
        await page.getByText("nicht angenommen").waitFor();
        await w.shot("key");
        await field.fill("geheim");
        await w.button("Schlüssel verwenden").click();
        await w.ready();
        await w.ask("Hallo");
        equal(await page.evaluate(() => localStorage.getItem("leo.key")), null, "kept on the device");
        await w.reload();
        await page.evaluate(() => sessionStorage.clear());
        await page.reload();
        await field.fill("geheim");
        await page.getByLabel("Auf diesem Gerät merken").check();
        await field.press("Enter");
        await w.ready();
        equal(await page.evaluate(() => localStorage.getItem("leo.key")), "geheim", "kept on the device");
        await w.button("Einstellungen der Seite").click();
        await w.button("Schlüssel vergessen").click();
        equal(await page.evaluate(() => [localStorage.getItem("leo.key"), sessionStorage.getItem("leo.key")]), [null, null], "forgotten");
      });
      await mock.close();
    },
  },
  {
    name: "works below a path",
    needsMock: true,
    alone: true,
    async run(_w, { browser }) {
      const mock = await startMock({ prefix: "/llm" });
      await withPage(browser, mock.base, {}, async (w) => {
        await w.ready();
        await w.ask("Hallo");
        await w.reload();
        equal(await w.questions().allInnerTexts(), ["Hallo"], "after a reload");
      });
      await mock.close();
    },
  },
  {
    name: "works on plain http in a local network",
    needsMock: true,
    alone: true,
    async run(_w, { browser, base }) {
      await withPage(browser, base.replace("127.0.0.1", "leo.test"), {}, async (w) => {
        const { page } = w;
        await w.ready();
        const missing = await page.evaluate(() => [isSecureContext, typeof crypto.randomUUID, typeof navigator.clipboard]);
        equal(missing, [false, "undefined", "undefined"], "the test is not what it should be");
        await w.ask("Was ist ein Vulkan?");
        await page.locator("article:not(.own)").last().getByRole("button", { name: "Kopieren" }).click();
        await page.getByText("Kopiert", { exact: true }).waitFor();
        await w.input.press("Control+v");
        check((await w.input.inputValue()).includes("Vulkan"), "nothing was copied");
        await w.reload();
        equal(await w.questions().allInnerTexts(), ["Was ist ein Vulkan?"], "after a reload");
      });
    },
  },
  {
    name: "does not send while a word is being composed",
    needsMock: true,
    async run(w) {
      await w.input.fill("にほん");
      for (const init of [{ isComposing: true, keyCode: 13 }, { isComposing: false, keyCode: 229 }]) {
        await w.input.evaluate((n, i) => n.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, ...i })), init);
        equal(await w.input.inputValue(), "にほん", `sent with ${JSON.stringify(init)}`);
      }
      await w.input.press("Enter");
      equal(await w.input.inputValue(), "", "Enter after the composition");
      await w.idle();
    },
  },
  {
    name: "tells when the storage is full, and loses no conversation",
    needsMock: true,
    async run(w) {
      const { page } = w;
      await w.ask("Das Erste");
      await w.button("Neues Gespräch").click();
      await page.evaluate(() => {
        for (const name of ["add", "put"]) {
          const before = IDBObjectStore.prototype[name];
          IDBObjectStore.prototype[name] = function (value) {
            if (globalThis.full) throw new DOMException("no room", "QuotaExceededError");
            return before.call(this, value);
          };
        }
        globalThis.full = true;
      });
      await w.ask("Das Zweite");
      await page.getByRole("alert").filter({ hasText: "Der Speicher des Browsers ist voll" }).waitFor();
      check((await w.answers().last().innerText()).length > 0, "the answer is not shown");
      await w.shot("full");
      await page.evaluate(() => (globalThis.full = false));
      await w.ask("Das Dritte");
      await w.reload();
      equal(await w.questions().allInnerTexts(), ["Das Zweite", "Das Dritte"], "saved when there is room again");
      equal(await page.locator("nav li a").allInnerTexts(), ["Das Zweite", "Das Erste"], "all conversations");
    },
  },
  {
    name: "heeds what another window does",
    needsMock: true,
    async run(w) {
      const { page } = w;
      await w.ask("Gemeinsam");
      const other = await page.context().newPage();
      await other.goto(page.url());
      await other.locator("#input").fill("Aus dem anderen Fenster");
      await other.locator("main select").first().waitFor();
      await other.locator("#input").press("Enter");
      await w.questions().nth(1).waitFor();
      await page.waitForFunction(() => document.querySelectorAll(".answer").length === 2);
      await other.waitForFunction(() => !document.querySelector(".answer[aria-busy=true]"));
      await other.getByRole("link", { name: "Gemeinsam" }).hover();
      await other.getByRole("button", { name: "„Gemeinsam“ löschen" }).click();
      await other.getByRole("button", { name: "Löschen", exact: true }).click();
      await page.getByRole("alert").filter({ hasText: "in einem anderen Fenster gelöscht" }).waitFor();
      await w.ask("Und nun?");
      await page.reload();
      await page.getByText("Dieses Gespräch liegt nicht in diesem Browser.").waitFor();
      equal(await page.locator("nav li a").count(), 0, "it came back");
    },
  },
  {
    name: "says when the server is not there, and finds it later",
    needsMock: true,
    alone: true,
    async run(_w, { browser, out }) {
      const mock = await startMock();
      const port = Number(new URL(mock.base).port);
      await withPage(browser, mock.base, { out }, async (w) => {
        const { page } = w;
        await w.ready();
        await mock.close();
        await w.ask("Hallo?");
        await page.locator(".thread").getByText("Der Server ist nicht erreichbar.").waitFor();
        const again = await startMock({ port });
        await w.button("Noch einmal").click();
        await w.idle();
        check((await w.answers().last().innerText()).includes("Hallo?"), "no answer");
        await again.close();
      });
    },
  },
];
