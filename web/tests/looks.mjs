// How the page looks and whom it shuts out: phones, dark rooms, screen readers.

import { check, equal, until } from "./harness.mjs";

const phone = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

const brightness = (page) =>
  page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor.match(/[\d.]+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 3);

async function fits(page, where) {
  const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  check(inner <= outer, `${where}: ${inner} pixels wide on a screen of ${outer}`);
  const cut = await page.evaluate(() => [...document.querySelectorAll("main button, main select, main textarea")]
    .filter((n) => n.checkVisibility() && !n.closest(".scroller") && n.getBoundingClientRect().right > window.innerWidth + 1)
    .map((n) => n.outerHTML.slice(0, 80)));
  equal(cut, [], `${where}: cut off`);
}

export const looks = [
  {
    name: "fits a phone",
    context: phone,
    async run(w) {
      const { page } = w;
      await fits(page, "welcome");
      await w.shot("phone-welcome");
      await w.ask("Was ist ein Vulkan?");
      await fits(page, "chat");
      await w.shot("phone-chat");
      const size = await w.input.evaluate((n) => parseFloat(getComputedStyle(n).fontSize));
      check(size >= 16, `iOS zooms into an input of ${size} px`);
      const bottom = await w.input.evaluate((n) => n.getBoundingClientRect().bottom);
      check(bottom <= 780, "the input is below the screen");
      await page.setViewportSize({ width: 390, height: 420 });
      await until(async () => (await w.input.evaluate((n) => n.getBoundingClientRect().bottom)) <= 420, "the keyboard hides the input");
      await page.setViewportSize(phone.viewport);

      check(!(await page.getByRole("link", { name: "Was ist ein Vulkan?" }).isVisible()), "the list is open");
      await w.button("Liste der Gespräche öffnen").click();
      await page.getByRole("link", { name: "Was ist ein Vulkan?" }).waitFor();
      await page.waitForTimeout(250);
      await w.accessible("list on a phone");
      await w.shot("phone-list");
      await page.keyboard.press("Escape");
      await page.getByRole("link", { name: "Was ist ein Vulkan?" }).waitFor({ state: "hidden" });

      await page.getByRole("button", { name: "Vergleichen" }).click();
      await w.ask("Und ein Berg?");
      equal(await page.locator(".thread").count(), 1, "columns on a phone");
      await page.locator("main").getByRole("button", { name: "Rechts" }).click();
      equal(await w.questions().allInnerTexts(), ["Was ist ein Vulkan?", "Und ein Berg?"], "the right column");
      await fits(page, "side by side");
      await w.shot("phone-compare");
      await page.getByRole("button", { name: "Einstellungen", exact: true }).click();
      await page.getByRole("heading", { name: "Einstellungen" }).waitFor();
      await w.accessible("settings on a phone");
      await w.shot("phone-settings");
      await page.getByRole("button", { name: "Schließen" }).click();
      await fits(page, "after the settings");
    },
  },
  {
    name: "is dark in a dark system, and as chosen",
    context: { colorScheme: "dark" },
    async run(w) {
      const { page } = w;
      check((await brightness(page)) < 60, "it is bright");
      await w.ask("Was ist ein Vulkan?");
      await w.shot("dark");
      await w.accessible("dark chat");
      await w.button("Erscheinung: Wie das System").click();
      check((await brightness(page)) > 200, "it is not bright when bright is chosen");
      await w.reload();
      check((await brightness(page)) > 200, "the choice is forgotten");
    },
  },
  {
    name: "shuts nobody out",
    context: { viewport: { width: 1440, height: 860 } },
    async run(w) {
      const { page } = w;
      await w.accessible("welcome");
      await w.shot("welcome");
      await w.ask("Wie löst man eine quadratische Gleichung?");
      await page.waitForTimeout(300);
      await w.ask("Was ist ein Vulkan?");
      await w.accessible("chat");
      await w.shot("chat");
      await page.locator("header").getByRole("button", { name: "Prompt" }).click();
      await page.locator(".token").first().waitFor();
      await w.accessible("prompt");
      await page.getByRole("button", { name: "Einstellungen", exact: true }).click();
      await w.accessible("settings");
      await page.getByRole("button", { name: "Vergleichen" }).click();
      await w.accessible("side by side");
      await w.button("Einstellungen der Seite").click();
      await w.accessible("preferences");
      await w.shot("preferences");
      await page.keyboard.press("Escape");
      await page.keyboard.press("Control+/");
      await w.accessible("shortcuts");
      await w.shot("shortcuts");
      await page.keyboard.press("Escape");
      await page.locator("article.own").first().hover();
      await w.button("Bearbeiten").first().click();
      await w.accessible("editing");
      await w.button("EN (English)").click();
      await w.accessible("English");
    },
  },
];
