// Walks the console in a real Chromium, as TestConsoleInChromium has set the scene, and ends
// with 1 if anything is not as it should be. FACTS says what there is; SHOTS=1 keeps pictures
// in shots/.
import { existsSync, mkdirSync } from "node:fs";
import { chromium } from "playwright-core";

const facts = JSON.parse(process.env.FACTS);
const executablePath = process.env.CHROMIUM || ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
if (process.env.SHOTS) mkdirSync("shots", { recursive: true });

const faults = [];
const check = (ok, what) => { if (!ok) faults.push(what); };
const patience = 60_000; // CI is slow

const browser = await chromium.launch({
  executablePath,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

// open is a new window in which whatever a page complains about is a fault.
async function open(options, cookies) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  context.setDefaultTimeout(patience);
  if (cookies) await context.addCookies(cookies);
  const page = await context.newPage();
  page.expects = ""; // what the console may complain about
  page.on("console", (m) => {
    if (["error", "warning"].includes(m.type()) && !(page.expects && m.text().includes(page.expects))) faults.push(`${page.url()}: the console says ${m.text()}`);
  });
  page.on("pageerror", (e) => faults.push(`${page.url()}: ${e.message}`));
  page.on("dialog", (d) => { faults.push(`${page.url()}: a dialog, ${d.message()}`); d.dismiss(); });
  page.on("request", (r) => check(r.url().startsWith(facts.base + "/"), `${page.url()} asks for ${r.url()}`));
  await page.addInitScript(() => document.addEventListener("securitypolicyviolation", (e) => console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`)));
  return { context, page };
}

async function visit(page, path, name) {
  const answer = await page.goto(facts.base + path);
  check(answer.status() === 200, `${name}: ${answer.status()}`);
  return answer;
}

// secretless looks at what was sent and at what became of it.
async function secretless(page, name) {
  const html = await page.content();
  for (const secret of facts.secrets) check(!html.includes(secret), `${name} holds a secret`);
}

// contrasts returns texts that are hard to read: less than 4.5 to 1 (3 to 1 where large).
const contrasts = () => {
  const rgb = (s) => { const n = s.match(/[\d.]+/g).map(Number); return { c: n.slice(0, 3), a: n[3] ?? 1 }; };
  const light = ({ c }) => c.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
  const under = (e) => { for (; e; e = e.parentElement) { const b = rgb(getComputedStyle(e).backgroundColor); if (b.a === 1) return b; } return { c: [255, 255, 255] }; };
  const poor = [];
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility() || e.closest("svg, dialog, .skip, .hidden, select")) continue;
    const s = getComputedStyle(e);
    const [a, b] = [light(rgb(s.color)), light(under(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(s.fontSize) >= 24 || (parseFloat(s.fontSize) >= 18.6 && s.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) poor.push(`${e.className || e.tagName} "${e.textContent.trim().slice(0, 20)}" ${ratio.toFixed(2)}`);
  }
  return [...new Set(poor)];
};

// The door: a wrong token stays out, the right one leads to where one wanted to go.
const first = await open({});
await visit(first.page, "/sagas?state=completed", "the door");
check(first.page.url().includes("/log-in"), "the door is open");
first.page.expects = "401";
await first.page.getByLabel("Your name").fill("Ann");
await first.page.getByLabel("Token").fill("a guess");
await first.page.getByRole("button", { name: "Log in" }).click();
await first.page.getByText("That is not the token").waitFor();
first.page.expects = "";
await first.page.getByLabel("Token").fill(facts.token);
await first.page.getByRole("button", { name: "Log in" }).click();
await first.page.waitForURL("**/sagas?state=completed");
const cookies = await first.context.cookies();
check(cookies.length === 1 && cookies[0].httpOnly && cookies[0].secure && cookies[0].sameSite === "Strict", "the session's cookie is not guarded");

// A link from elsewhere, an alert's say, leads where it says: the browser keeps the cookie back
// from another site's request, and a page of ours has it sent.
{
  const { context, page } = await open({}, cookies);
  page.removeAllListeners("request");
  await page.route("http://elsewhere.example/**", (r) => r.fulfill({ contentType: "text/html", body: `<a href="${facts.base}/sagas?state=completed">an alert</a>` }));
  await page.goto("http://elsewhere.example/");
  await page.getByRole("link", { name: "an alert" }).click();
  await page.waitForURL("**/sagas?state=completed");
  check((await page.getByRole("heading", { level: 1 }).textContent()) === "Sagas", "a link from elsewhere does not lead there");
  await context.close();
}

// Whoever has a long name leaves room for the rest.
for (const width of [1440, 390]) {
  const { context, page } = await open({ viewport: { width, height: 844 } });
  await visit(page, "/log-in", "the door");
  await page.getByLabel("Your name").fill("maria.of-the-night-shift@telecom.example");
  await page.getByLabel("Token").fill(facts.token);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  check(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `a long name makes ${width} scroll sideways`);
  check(await page.evaluate(() => { const side = document.querySelector(".side"); return [...side.querySelectorAll("*")].every((e) => e.getBoundingClientRect().right <= side.getBoundingClientRect().right); }), `a long name leaves its place at ${width}`);
  await context.close();
}

// Every screen, at both widths, light and dark.
let looked = 0;
for (const width of [1440, 390]) {
  for (const colorScheme of ["light", "dark"]) {
    const { context, page } = await open({ viewport: { width, height: width > 1000 ? 900 : 844 }, colorScheme }, cookies);
    for (const [name, path] of Object.entries(facts.screens)) {
      const where = `${name}, ${width} ${colorScheme}`;
      await visit(page, path, where);
      await page.evaluate(() => document.fonts.ready);
      check(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${where} scrolls sideways`);
      check((await page.locator("h1").count()) === 1, `${where} has not one heading`);
      check((await page.locator("img:not([alt]), button:empty, a:empty").count()) === 0, `${where} has things without a name`);
      for (const poor of await page.evaluate(contrasts)) check(false, `${where}: ${poor} is hard to read`);
      await secretless(page, where);
      if (process.env.SHOTS) await page.screenshot({ path: `shots/${name.replaceAll(/[ ,]+/g, "-")}-${width}-${colorScheme}.png`, fullPage: true });
      looked++;
    }
    await context.close();
  }
}

// The keyboard alone: the skip link is first, everything that can be done is reached, and
// one sees where one is.
{
  const { context, page } = await open({}, cookies);
  for (const [name, path] of Object.entries(facts.screens)) {
    await visit(page, path, name);
    await page.keyboard.press("Tab");
    check(await page.evaluate(() => document.activeElement.className === "skip"), `${name}: Tab does not begin with the skip link`);
    const wanted = await page.evaluate(() => [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")].filter((e) => e.checkVisibility() && !e.disabled).length);
    const seen = new Set();
    for (let n = 0; n < wanted * 4 && seen.size < wanted; n++) { // a date has several stops
      const at = await page.evaluate(() => {
        const all = [...document.querySelectorAll("*")], e = document.activeElement, s = getComputedStyle(e);
        return { e: all.indexOf(e), visible: e === document.body || (s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0), what: e.outerHTML.slice(0, 60) };
      });
      check(at.visible, `${name}: one does not see the focus on ${at.what}`);
      seen.add(at.e);
      await page.keyboard.press("Tab");
    }
    check(seen.size >= wanted, `${name}: Tab reaches ${seen.size} of ${wanted} things`);
  }
  await visit(page, "/", "overview");
  await page.keyboard.press("?");
  check(await page.locator("dialog#keys").isVisible(), "? does not show the keys");
  await page.keyboard.press("Escape");
  await page.keyboard.press("g");
  await page.keyboard.press("d");
  await page.waitForURL("**/dead-letters");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("k");
  check(await page.evaluate(() => document.activeElement === document.querySelector("tbody a.rowlink")), "j and k do not go through the rows");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/dead-letters?*");
  await page.keyboard.press("/");
  await page.waitForURL("**/sagas");
  await page.keyboard.press("/");
  await page.keyboard.type("five");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "five" }).waitFor();
  await context.close();
}

// Without JavaScript everything can be read, and what is written in forms still works.
{
  const { context, page } = await open({ javaScriptEnabled: false, colorScheme: "light" }, cookies);
  for (const [name, path] of Object.entries(facts.screens)) {
    const answer = await visit(page, path, `${name}, without JavaScript`);
    check((await answer.text()).includes("<h1"), `${name} says nothing without JavaScript`);
    check(await page.locator("main").isVisible(), `${name} shows nothing without JavaScript`);
  }
  await page.getByRole("button", { name: "Dark" }).click();
  check((await page.locator("html").getAttribute("data-theme")) === "dark", "it cannot be made dark without JavaScript");
  await page.getByRole("button", { name: "Auto" }).click();
  check((await page.locator("html").getAttribute("data-theme")) === null, "dark stays without JavaScript");
  await context.close();
}

// Light and dark by hand, against the system's.
{
  const { context, page } = await open({ colorScheme: "dark" }, cookies);
  await visit(page, "/", "overview");
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await ground();
  await page.getByRole("button", { name: "Light" }).click();
  await page.waitForLoadState();
  check((await ground()) !== dark, "Light is dark");
  await page.getByRole("button", { name: "Auto" }).click();
  await page.waitForLoadState();
  check((await ground()) === dark, "Auto is not what the system has");
  await context.close();
}

const { page } = await open({}, cookies);

// The overview keeps itself up to date, and nothing that is being written is lost by that.
await visit(page, "/", "overview");
const asOf = await page.locator(".asof").textContent();
await page.waitForFunction((was) => document.querySelector(".asof").textContent !== was, asOf);
await page.locator("#pause summary").click();
await page.locator("#pause").getByLabel("Reason").fill("maintenance at PressOne");
await page.waitForTimeout(6000);
check((await page.locator("#pause").getByLabel("Reason").inputValue()) === "maintenance at PressOne", "the overview takes away what one writes");
await page.locator("#pause").getByLabel("What").selectOption("kind topup");
await page.locator("#pause").getByRole("button", { name: "Pause" }).click();
await page.getByRole("status").getByText("Paused.").waitFor();
await page.locator("#resume summary").click();
await page.locator("#resume").getByLabel("Reason").fill("over");
await page.locator("#resume").getByRole("button", { name: "Resume" }).click();
await page.getByRole("status").getByText("Resumed.").waitFor();

// A replay from a group: a preview with count and cost, then progress, live.
await visit(page, "/dead-letters", "dead letters");
await page.getByRole("row").filter({ hasText: "insufficient credit" }).getByRole("link", { name: "Replay…" }).click();
await page.getByRole("heading", { name: "Replay: preview" }).waitFor();
const tiles = await page.locator(".tiles").innerText();
check(/Would be released\s+6\s/.test(tiles) && /Cost, at the most\s+[\d.]+\s*USD/.test(tiles), `the preview says ${tiles}`);
await page.getByLabel("Reason").fill("credit was added");
await page.getByRole("button", { name: "Replay 6 letters" }).click();
await page.waitForURL("**/replays/*");
let loads = 0;
page.on("load", () => loads++);
await page.waitForFunction(() => /Completed\s+6/.test(document.querySelector(".tiles").innerText));
check(loads === 0, "progress is not live");
check((await page.getByRole("img", { name: "6 of 6 released" }).count()) === 1, "the bar is not full");

// An activation code: not in the page, then recorded and shown, then not in the page again.
await visit(page, facts.bought, "a saga that was bought");
await secretless(page, "a saga that was bought");
await page.getByText("Reveal", { exact: true }).click();
await page.getByLabel("Reason").fill("the customer cannot scan it");
await page.getByRole("button", { name: "Reveal and record" }).click();
await page.locator("#codes").waitFor();
check((await page.locator("#codes code").allTextContents()).filter((c) => /^LPA:1\$.+\$.+/.test(c)).length === 3, "the codes are not shown");
await page.getByRole("link", { name: "Hide them" }).click();
await page.locator("#codes").waitFor({ state: "detached" });
await secretless(page, "a saga whose codes were revealed");
check(await page.getByText("the customer cannot scan it").isVisible(), "the saga does not say that its codes were revealed");
await visit(page, "/trail", "trail");
check(await page.getByRole("row").filter({ hasText: "reveal" }).filter({ hasText: "Ann" }).isVisible(), "the trail does not say who was shown codes");
const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
check(kept.length < 200 && !kept.includes("<"), `pages are kept in the browser: ${kept}`);

await browser.close();
for (const fault of new Set(faults)) console.log(`✗ ${fault}`);
console.log(`${looked} looks at ${Object.keys(facts.screens).length} screens: ${new Set(faults).size || "no"} faults`);
process.exit(faults.length ? 1 : 0);
