// Drives a running console with a real browser: signs in, waits for the wasm to take over without a word in the browser's
// log, filters, opens a call, creates and revokes a key, turns dark, walks by keyboard, and checks that nothing scrolls
// sideways on a phone. Screenshots go to OUT_DIR.
//
//   node console.mjs BASE_URL USER PASSWORD OUT_DIR
//
// CHROMIUM names the browser (default /usr/bin/chromium). HYDRATION=absent is for a console built without browser assets.
// Exits 0 when all held, 1 with the first thing that did not.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [base, user, password, out] = process.argv.slice(2);
if (!out) {
  console.error("usage: node console.mjs BASE_URL USER PASSWORD OUT_DIR");
  process.exit(2);
}
const hydrated = process.env.HYDRATION !== "absent";
const desktop = { width: 1440, height: 900 };
const phone = { width: 390, height: 844 };
const flags = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

await mkdir(out, { recursive: true });
const profile = await mkdtemp(join(tmpdir(), "console-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  headless: true,
  args: flags,
  viewport: desktop,
  colorScheme: "light",
  permissions: ["clipboard-read", "clipboard-write"],
});
const page = context.pages()[0] ?? (await context.newPage());
const complaints = [];
page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(`${message.type()}: ${message.text()}`));
page.on("pageerror", (error) => complaints.push(`exception: ${error.message}`));

const alive = async () => {
  if (hydrated) await page.waitForSelector("html[data-hydrated]", { timeout: 20_000 });
};
const settled = async () => {
  await alive();
  await page.waitForFunction(() => !document.querySelector("[aria-busy=true]"));
  if (hydrated && (await page.$("ct-chart"))) await page.waitForSelector("ct-chart[data-drawn]");
};
const open = async (path) => {
  const response = await page.goto(base + path);
  assert.equal(response.status(), 200, `GET ${path}`);
  await settled();
};
const shot = (name) => page.screenshot({ path: join(out, `${name}.png`) });
const noSideways = async (what) => {
  const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= room, `${what} scrolls sideways: ${wide} px in ${room} px`);
};
const quiet = (what) => assert.deepEqual(complaints, [], `the browser complained during: ${what}`);

const steps = {
  async "sign in"() {
    await page.goto(`${base}/calls`);
    assert.match(page.url(), /\/sign-in\?next=/);
    await page.fill("[name=username]", user);
    await page.fill("[name=password]", `${password}-wrong`);
    await page.click("text=Sign in >> nth=-1");
    await page.waitForSelector("[role=alert]");
    await shot("sign-in-light");
    await page.fill("[name=password]", password);
    await page.click("button:has-text('Sign in')");
    await page.waitForURL(`${base}/calls`);
    await settled();
  },
  async "pages take over without errors"() {
    for (const path of ["/", "/calls", "/models", "/keys"]) await open(path);
  },
  async "filters live in the URL"() {
    await open("/calls?range=30d");
    const models = await page.$$eval("select[name=model] option", (options) => options.map((o) => o.value).filter(Boolean));
    assert.ok(models.length > 0, "no model to filter by: make some calls first");
    await page.selectOption("select[name=model]", models[0]);
    if (!hydrated) return;
    await page.waitForURL(/model=/);
    await settled();
    assert.ok(new URL(page.url()).searchParams.get("range") === "30d", "the range was lost");
    // The address changes before the list is asked for: wait for the list itself.
    await page.waitForFunction((model) => {
      const shown = [...document.querySelectorAll(".c-model > .clip:first-child")];
      return shown.length > 0 && shown.every((cell) => cell.textContent === model);
    }, models[0]);
    await page.goBack();
    await page.waitForFunction(() => !location.search.includes("model="));
    await settled();
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.name), "q");
    await page.fill("[name=q]", "no call says this 8dffb1");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".empty");
    quiet("filters");
  },
  async "a call opens"() {
    await open("/calls?range=30d");
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/calls\/[0-9a-f]{32}\/[0-9a-f]{16}/);
    await page.waitForSelector(".waterfall li");
    await settled();
    if (hydrated) {
      await page.click("text=Copy as curl");
      assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^curl http.*\/v1\//);
    }
  },
  async "a key is created and revoked"() {
    if (!hydrated) return;
    await open("/keys");
    const name = `browser test ${Date.now()}`;
    await page.fill("[name=name]", name);
    await page.click("text=Create key");
    const secret = await (await page.waitForSelector("[data-secret]")).textContent();
    assert.match(secret, /^ct-[0-9a-f]{64}$/);
    await shot("key-created-light");
    const row = page.locator("tr", { hasText: name });
    await row.waitFor();
    await row.locator("text=Revoke").click();
    await row.locator("button.danger").click();
    await row.locator("text=revoked").waitFor();
    await page.reload();
    await settled();
    assert.ok(!(await page.content()).includes(secret), "the secret is shown again");
  },
  async "golden signals say what they are and what they rest on"() {
    await open("/?range=30d");
    const tiles = page.locator(".tile");
    assert.deepEqual(await tiles.locator("dt").allTextContents(), [
      "Grounding coverage", "Hallucination proxy", "Retrieval hit rate", "Tool error rate", "Dollars per useful action",
      "Time to first token",
    ]);
    const signal = (name) => page.locator(`[data-signal=${name}]`);
    const [value, note] = [(name) => signal(name).locator(".tile-value").textContent(), (name) => signal(name).locator(".tile-note").textContent()];
    // What was judged has a share and how many calls stand behind it; of what never happened no number is made up.
    assert.match(await value("grounding"), /^\d+(\.\d+)?%$/);
    assert.match(await note("grounding"), /^[1-9]\d* judged calls?$/);
    assert.match(await value("first-token"), /ms|s$/);
    assert.deepEqual([await value("retrieval"), await note("retrieval")], ["–", "no retrievals yet"]);
    assert.deepEqual([await value("dollars"), await note("dollars")], ["–", "no actions yet"]);
    // The definition shows by pointer and by keyboard, on a narrow screen too, and is on the page for who hears it.
    for (const viewport of [desktop, phone]) {
      await page.setViewportSize(viewport);
      for (const name of ["grounding", "hallucination", "dollars", "first-token"]) {
        const tip = page.locator(`#${await signal(name).getAttribute("aria-describedby")}`);
        assert.ok(await tip.isHidden(), `${name} shows its definition unasked`);
        await signal(name).focus();
        assert.ok(await tip.isVisible(), `${name} does not show its definition at ${viewport.width}`);
        const box = await tip.boundingBox();
        assert.ok(box.x >= 0 && box.x + box.width <= viewport.width, `the definition of ${name} is cut off: ${JSON.stringify(box)}`);
        await noSideways(`the definition of ${name}`);
      }
      await shot(`signals-${viewport.width}`);
      await page.evaluate(() => document.activeElement.blur());
    }
    await page.setViewportSize(desktop);
    // They follow the filters of the page: of a model whose calls all failed nothing was judged.
    await open("/?range=30d&model=sim-error-500");
    assert.deepEqual([await value("grounding"), await note("grounding")], ["–", "no judged calls yet"]);
  },
  async "live refresh reads again"() {
    if (!hydrated) return;
    await open("/");
    const again = ["overview", "signals"].map((what) => page.waitForRequest((request) => request.url().includes(`/api/v1/${what}`)));
    await page.click("button.live");
    await Promise.all(again);
    await page.click("button.live");
  },
  async "screenshots, light and dark, wide and narrow"() {
    await open("/calls?range=30d");
    const call = await page.getAttribute(".row-link", "href");
    const pages = { overview: "/?range=24h", calls: "/calls?range=24h", call, models: "/models", keys: "/keys" };
    for (const theme of ["light", "dark"]) {
      if (theme === "dark") {
        if (hydrated) {
          await page.click("[aria-label='Light or dark']");
          await page.waitForSelector("html[data-theme=dark]");
        } else {
          await page.emulateMedia({ colorScheme: "dark" });
        }
      }
      for (const [name, path] of Object.entries(pages)) {
        for (const [size, viewport] of Object.entries({ desktop, phone })) {
          await page.setViewportSize(viewport);
          await open(path);
          if (theme === "dark" && hydrated) await page.waitForSelector("html[data-theme=dark]");
          await page.waitForTimeout(150);
          await noSideways(`${name} at ${viewport.width}`);
          await shot(`${name}-${size}-${theme}`);
        }
      }
      await page.setViewportSize(desktop);
    }
  },
  async "signing out"() {
    await open("/");
    await page.click("[aria-label='Sign out']");
    await page.waitForURL(/\/sign-in/);
  },
};

let failed = false;
for (const [name, step] of Object.entries(steps)) {
  try {
    await step();
    quiet(name);
    console.log(`ok   ${name}`);
  } catch (error) {
    console.log(`FAIL ${name}\n     ${error.message.split("\n").join("\n     ")}\n     at ${page.url()}`);
    await shot("failed").catch(() => {});
    failed = true;
    break;
  }
}
await context.close();
await rm(profile, { recursive: true, force: true });
process.exit(failed ? 1 : 0);
