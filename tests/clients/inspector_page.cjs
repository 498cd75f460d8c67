// MCP Inspector's page in a real browser that has no token: connects, is sent to log in, lists the tools and calls add(6, 7).
// Prints JSON: what the page shows, and all HTTP exchanges of the browser. Leaves a picture of the page.
//
// usage: inspector_page.cjs PAGE URL PICTURE      PAGE: where the page of Inspector 2.x or 1.x is; URL: the MCP endpoint

const puppeteer = require("puppeteer-core");

const [page, url, picture] = process.argv.slice(2);
const { TOOLWARD_CHROMIUM, TOOLWARD_BROWSER } = process.env;
const exchanges = [];
const said = [];

const SUM = "::-p-xpath(//*[normalize-space(text())=\"13\"])";
const withText = (element, text) => `::-p-xpath(//${element}[normalize-space(.)="${text}"])`;

async function click(tab, selector) {
  await (await tab.waitForSelector(selector)).click();
}

// Clicks until it shows: a page that has just been drawn may be drawn again.
async function open(tab, selector, shown) {
  for (let patience = 20; !(await tab.$(shown)); patience--) {
    if (!patience) throw new Error(`${selector} does not show ${shown}`);
    await click(tab, selector);
    await tab.waitForSelector(shown, { timeout: 1000 }).catch(() => {});
  }
}

async function see(tab, selector) {
  await (await tab.waitForSelector(selector)).evaluate((element) => element.scrollIntoView());
}

async function fill(tab, selector, values) {
  await tab.waitForSelector(selector);
  for (const [index, input] of (await tab.$$(selector)).entries()) await input.type(values[index]);
}

// Inspector 2.x was started for one server, which its backend dials.
const throughItsBackend = {
  address: page,
  connect: 'label:has(input[aria-label^="Connect"])',
  async list(tab) {
    await tab.waitForSelector(withText("p", "Connected"));
    await open(tab, withText("label", "Tools"), "button.list-item");
    return tab.$$eval("button.list-item", (items) => items.map((item) => item.innerText.trim()));
  },
  async call(tab) {
    await click(tab, withText("button", "add"));
    await fill(tab, "input.mantine-NumberInput-input", ["6", "7"]);
    await click(tab, withText("button", "Execute Tool"));
    await see(tab, SUM);
  },
};

// The page of Inspector 1.x dials servers itself.
const byItself = {
  address: `${page}/?transport=streamable-http&serverUrl=${encodeURIComponent(url)}`,
  connect: withText("button", "Connect"),
  async list(tab) {
    const refused = tab.waitForSelector("::-p-text(Connection Error)").then(() => Promise.reject(new Error("refused")));
    refused.catch(() => {});
    await Promise.race([tab.waitForSelector(withText("button", "Tools")), refused]);
    await open(tab, withText("button", "Tools"), withText("button", "List Tools"));
    await click(tab, withText("button", "List Tools"));
    await tab.waitForSelector(withText("span", "add"));
    return tab.$$eval(".cursor-pointer span.truncate", (items) => items.map((item) => item.innerText.trim()));
  },
  async call(tab) {
    await click(tab, withText("span", "add"));
    await fill(tab, "input[type=number]", ["6", "7"]);
    await click(tab, withText("button", "Run Tool"));
    await see(tab, SUM);
  },
};

async function visit(tab) {
  const inspector = page.includes("MCP_INSPECTOR_API_TOKEN") ? throughItsBackend : byItself;
  tab.setDefaultTimeout(20000);
  tab.on("response", (answer) => exchanges.push([answer.request().method(), answer.url(), answer.status()]));
  tab.on("console", (message) => said.push(message.text()));
  // What a person chooses on the page of Inspector 1.x. Pages can't register at this authorization server: it has no CORS there.
  await tab.evaluateOnNewDocument(() => {
    localStorage.setItem("lastConnectionType", "direct");
    localStorage.setItem("lastOauthClientId", "known-client");
  });
  await tab.goto(inspector.address);
  await click(tab, inspector.connect);
  const tools = await inspector.list(tab);
  await inspector.call(tab);
  return { tools };
}

async function main() {
  // As in a person's browser, CORS counts: the package's own arguments turn it off. Root has no sandbox.
  const folder = `${TOOLWARD_BROWSER}/chromium`;
  const env = { ...process.env, LD_LIBRARY_PATH: `${folder}/al2023/lib`, FONTCONFIG_FILE: `${folder}/fonts/fonts.conf` };
  const browser = await puppeteer.launch({
    executablePath: TOOLWARD_CHROMIUM,
    args: ["--no-sandbox"],
    headless: "shell",
    defaultViewport: { width: 1400, height: 1000 },
    env,
  });
  const tab = await browser.newPage();
  const report = await visit(tab).catch((error) => ({ error: error.message }));
  await tab.screenshot({ path: picture });
  const text = await tab.evaluate(() => document.body.innerText);
  await browser.close();
  return { ...report, text };
}

main()
  .catch((error) => ({ error: `${error.name}: ${error.message}` }))
  .then((report) => {
    console.log(JSON.stringify({ ...report, exchanges, said }));
    process.exit(0);
  });
