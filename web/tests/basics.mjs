// What everybody does: ask, watch, stop, ask again, edit, come back. These tests also run against the real server.

import { readFile, writeFile, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { check, equal } from "./harness.mjs";

export const basics = [
  {
    name: "asks, streams and tells the speed",
    async run(w, { mock }) {
      const { page } = w;
      await w.ask("Was ist ein Vulkan?", { wait: false });
      const answer = await w.growing();
      if (mock) {
        const early = (await answer.innerText()).length;
        await page.waitForTimeout(250);
        const later = (await answer.innerText()).length;
        check(later > early, `the answer does not grow: ${early}, then ${later} characters`);
        equal(await page.locator("#spoken").innerText(), "", "a screen reader hears of an answer that is still growing");
      }
      await w.idle();
      check((await answer.innerText()).trim().length > 0, "the answer is empty");
      const notes = await page.locator(".notes").first().innerText();
      check(/Token/.test(notes) && /Tokens\/s/.test(notes) && /erstes Token nach/.test(notes), `notes: ${notes}`);
      check((await page.locator("#spoken").innerText()).includes("hat geantwortet"), "a screen reader hears nothing");
      check(await w.input.evaluate((n) => n === document.activeElement), "the input has lost the focus");
      check(/#\/c\/[0-9a-f]{32}$/.test(page.url()), `the address is ${page.url()}`);
      equal(await page.title(), "Was ist ein Vulkan? · Leo", "title");
    },
  },
  {
    name: "answers again, beside the first answer",
    async run(w) {
      await w.ask("Wer bist du?");
      await w.button("Neu antworten").click();
      await w.idle();
      await w.page.getByRole("group", { name: "Fassung 2 von 2" }).waitFor();
      await w.button("Vorige Fassung").click();
      await w.page.getByRole("group", { name: "Fassung 1 von 2" }).waitFor();
      check(await w.button("Vorige Fassung").isDisabled(), "there is something before the first version");
      await w.reload();
      await w.page.getByRole("group", { name: "Fassung 1 von 2" }).waitFor();
    },
  },
  {
    name: "edits on a branch, and loses nothing",
    async run(w) {
      await w.ask("Was ist ein Vulkan?");
      await w.ask("Und ein Berg?");
      await w.page.locator("article.own").first().hover();
      await w.button("Bearbeiten").first().click();
      const field = w.page.getByLabel("Nachricht bearbeiten");
      check(await field.evaluate((n) => n === document.activeElement), "the editor has no focus");
      await field.fill("Was ist ein Fluss?");
      await field.press("Enter");
      await w.idle();
      equal(await w.questions().allInnerTexts(), ["Was ist ein Fluss?"], "after the edit");
      await w.ask("Wie lang ist der Rhein?");
      await w.page.locator("article.own").first().hover();
      await w.button("Vorige Fassung").first().click();
      equal(await w.questions().allInnerTexts(), ["Was ist ein Vulkan?", "Und ein Berg?"], "on the old branch");
      await w.ask("Noch etwas?");
      await w.page.locator("article.own").first().hover();
      await w.button("Nächste Fassung").first().click();
      equal(await w.questions().allInnerTexts(), ["Was ist ein Fluss?", "Wie lang ist der Rhein?"], "on the new branch");
      await w.reload();
      equal(await w.questions().allInnerTexts(), ["Was ist ein Fluss?", "Wie lang ist der Rhein?"], "after a reload");
    },
  },
  {
    name: "finds conversations after a reload, renames and deletes them",
    async run(w) {
      const { page } = w;
      await w.ask("Wer war Bach?");
      const text = await w.answers().first().innerText();
      await w.button("Neues Gespräch").click();
      await w.ask("Was ist Käse?");
      await page.goto(w.base);
      await w.ready();
      await page.getByRole("link", { name: "Wer war Bach?" }).click();
      await w.answers().first().waitFor();
      equal(await w.answers().first().innerText(), text, "the answer");
      await page.getByRole("link", { name: "Wer war Bach?" }).hover();
      await w.button("„Wer war Bach?“ umbenennen").click();
      await page.getByLabel("Neuer Titel").fill("Musik");
      await page.getByLabel("Neuer Titel").press("Enter");
      await page.getByRole("link", { name: "Musik" }).waitFor();
      await page.waitForTimeout(500); // it is written behind the scenes
      await w.reload();
      await page.getByRole("link", { name: "Musik" }).hover();
      await w.button("„Musik“ löschen").click();
      await w.button("Löschen").click();
      await page.getByRole("link", { name: "Musik" }).waitFor({ state: "detached" });
      await w.reload();
      equal(await page.locator("nav li a").allInnerTexts(), ["Was ist Käse?"], "what is left");
      await page.getByLabel("Titel durchsuchen").fill("musik");
      await page.getByText("Kein Titel enthält das.").waitFor();
    },
  },
  {
    name: "exports, and imports again",
    async run(w) {
      const { page } = w;
      const importFile = async (path) => {
        await w.button("Einstellungen der Seite").click();
        await page.locator("#import").setInputFiles(path);
        await page.locator("dialog").waitFor({ state: "detached" });
      };
      await w.ask("Was ist ein Vulkan?");
      await w.button("Neu antworten").click();
      await w.idle();
      const text = await w.answers().first().innerText();
      await w.button("Einstellungen der Seite").click();
      const [download] = await Promise.all([page.waitForEvent("download"), w.button("Alle exportieren").click()]);
      const file = await download.path();
      const exported = JSON.parse(await readFile(file, "utf8"));
      equal([exported.format, exported.version, exported.conversations[0].messages.length], ["leo-conversations", 1, 3], "the file");
      await w.button("Alle löschen …").click();
      await w.button("Löschen").click();
      await w.page.locator("dialog").getByRole("button", { name: "Schließen" }).click();
      await page.getByText("Hier erscheinen deine Gespräche.").waitFor();

      await importFile(file);
      await page.getByText("1 Gespräch importiert.").waitFor();
      await page.getByRole("link", { name: "Was ist ein Vulkan?" }).click();
      await page.getByRole("group", { name: "Fassung 2 von 2" }).waitFor();
      equal(await w.answers().first().innerText(), text, "the answer");
      await importFile(file);
      await page.getByText("Alle Gespräche dieser Datei sind schon da.").waitFor();

      const broken = join(await mkdtemp(join(tmpdir(), "leo-web-")), "broken.json");
      exported.conversations[0].messages[1].parent = "0".repeat(32);
      await writeFile(broken, JSON.stringify(exported));
      await importFile(broken);
      await page.getByRole("alert").filter({ hasText: "conversations.0.messages" }).waitFor();
      await writeFile(broken, "<html>");
      await importFile(broken);
      await page.getByRole("alert").filter({ hasText: "wurde nicht importiert" }).waitFor();
      await w.reload();
      equal(await page.locator("nav li a").allInnerTexts(), ["Was ist ein Vulkan?"], "what is there");
    },
  },
  {
    name: "speaks German and English",
    async run(w) {
      const { page } = w;
      equal(await page.locator("html").getAttribute("lang"), "de", "language of a German browser");
      await w.button("EN (English)").click();
      await page.getByRole("heading", { name: "What would you like to know?" }).waitFor();
      equal(await page.locator("html").getAttribute("lang"), "en", "language");
      await w.reload();
      await page.getByRole("heading", { name: "What would you like to know?" }).waitFor();
      await w.shot("english");
      await w.button("DE (Deutsch)").click();
      await page.getByRole("heading", { name: "Was möchtest du wissen?" }).waitFor();
    },
  },
  {
    name: "asks two models side by side",
    context: { viewport: { width: 1440, height: 860 } },
    async run(w, { mock }) {
      const { page } = w;
      await w.ask("Hallo");
      await page.getByRole("button", { name: "Vergleichen" }).click();
      equal(await page.locator(".thread").count(), 2, "columns");
      equal(await w.questions(1).allInnerTexts(), ["Hallo"], "what the second column knows");
      if (mock) await page.getByLabel("Rechtes Modell").selectOption("leo-hessianai-7b-chat");
      await w.ask("Was ist Sprache?");
      for (const column of [0, 1]) {
        equal(await w.questions(column).allInnerTexts(), ["Hallo", "Was ist Sprache?"], `questions of column ${column}`);
        check((await w.answers(column).last().innerText()).length > 0, `no answer in column ${column}`);
      }
      if (mock) check((await w.answers(1).last().innerText()).includes("leo-hessianai-7b-chat"), "the second model did not answer");
      await w.shot("side-by-side");
      await w.reload();
      equal(await page.locator(".thread").count(), 2, "columns after a reload");
      await page.getByRole("button", { name: "Vergleichen" }).click();
      equal(await page.locator(".thread").count(), 1, "columns");
    },
  },
  {
    name: "shows the exact prompt with tokens and roles",
    context: { viewport: { width: 1440, height: 860 } },
    async run(w) {
      const { page } = w;
      await w.ask("Was heißt <|im_end|> hier?");
      await page.locator("article").last().getByRole("button", { name: "Prompt" }).click();
      const tokens = page.locator(".tokens .token");
      await tokens.first().waitFor();
      check((await page.locator(".token.control").count()) >= 2, "no control tokens");
      check((await page.locator(".token.user:not(.control)").count()) >= 3, "no tokens of the user");
      check((await page.locator(".token.assistant").count()) >= 1, "no tokens of the assistant");
      const typed = await page.locator(".token.user:not(.control)").allInnerTexts();
      check(typed.join("").replace(/\s/g, "").includes("<|im_end|>"), `what the user typed became a control token: ${typed}`);
      await tokens.nth(1).click();
      await page.locator(".picked").filter({ hasText: /Token \d+/ }).waitFor();
      await w.shot("prompt");
      await w.button("Text").click();
      check((await page.locator("pre.tokens").innerText()).includes("Was heißt <|im_end|> hier?"), "no text");
      await w.input.fill("Und jetzt?");
      await page.keyboard.press("Escape");
      await page.getByRole("heading", { name: "Genauer Prompt" }).waitFor({ state: "detached" });
      await page.locator("header").getByRole("button", { name: "Prompt" }).click();
      await page.getByText("als Nächstes liest").waitFor();
      await w.button("Text").click();
      await page.locator("pre.tokens").filter({ hasText: "Und jetzt?" }).waitFor();
    },
  },
  {
    name: "sends only the settings that were changed",
    async run(w, { mock }) {
      const { page } = w;
      await page.getByRole("button", { name: "Einstellungen", exact: true }).click();
      check((await page.getByLabel("Temperatur").getAttribute("placeholder")) !== "", "no default is shown");
      await page.getByLabel("Temperatur").fill("0,5");
      await page.getByLabel("Startwert").fill("7");
      await page.getByLabel("Top-p").fill("7");
      equal(await page.getByLabel("Top-p").getAttribute("aria-invalid"), "true", "Top-p is marked");
      await page.getByLabel("System-Prompt").fill("Antworte kurz.");
      await w.ask("Hallo");
      if (mock) {
        const { model, messages, stream, stream_options, ...rest } = mock.log.findLast((entry) => entry.messages);
        equal(rest, { temperature: 0.5, seed: 7 }, "what was sent");
        equal(messages[0], { role: "system", content: "Antworte kurz." }, "the system prompt");
      }
      check((await w.answers().last().innerText()).trim().length > 0, "no answer");
      await w.shot("settings");
      await w.reload();
      await page.getByRole("button", { name: "Einstellungen", exact: true }).click();
      equal(await page.getByLabel("Temperatur").inputValue(), "0,5", "temperature after a reload");
      equal(await page.getByLabel("System-Prompt").inputValue(), "Antworte kurz.", "system prompt after a reload");
      await w.button("Zurück zu den Werten des Modells").click();
      equal(await page.getByLabel("Temperatur").inputValue(), "", "temperature after a reset");
    },
  },
  {
    name: "is worked by keyboard",
    async run(w) {
      const { page } = w;
      await w.ask("Hallo");
      await page.keyboard.press("Control+/");
      await page.getByRole("dialog").getByText("Neue Zeile").waitFor();
      await page.keyboard.press("Escape");
      check(await w.input.evaluate((n) => n === document.activeElement), "the dialog does not give the focus back");
      await w.input.press("ArrowUp");
      await page.getByLabel("Nachricht bearbeiten").waitFor();
      await page.keyboard.press("Escape");
      await w.input.fill("eins");
      await w.input.press("Shift+Enter");
      await w.input.pressSequentially("zwei");
      equal(await w.input.inputValue(), "eins\nzwei", "a new line");
      await page.keyboard.press("Control+k");
      check(await page.getByLabel("Titel durchsuchen").evaluate((n) => n === document.activeElement), "search has no focus");
      await page.keyboard.press("Control+Shift+O");
      await page.getByRole("heading", { name: "Was möchtest du wissen?" }).waitFor();
      await w.reload();
      const first = page.locator("a[href], button, input, select, textarea, [tabindex]").first();
      equal((await first.innerText()).trim(), "Zur Eingabe springen", "first stop");
      await first.focus();
      check((await first.boundingBox()).y >= 0, "the link to the input is not seen when it has the focus");
      await page.keyboard.press("Enter");
      check(await w.input.evaluate((n) => n === document.activeElement), "the link does not lead to the input");
    },
  },
  {
    name: "copies",
    context: { permissions: ["clipboard-read", "clipboard-write"] },
    async run(w) {
      await w.ask("Was ist ein Vulkan?");
      await w.page.locator("article:not(.own)").last().getByRole("button", { name: "Kopieren" }).click();
      await w.page.getByText("Kopiert", { exact: true }).waitFor();
      const copied = await w.page.evaluate(() => navigator.clipboard.readText());
      check(copied.trim().length > 0, "the clipboard is empty");
    },
  },
];
