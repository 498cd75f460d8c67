// What a person with a browser does at an authorization server, where logging in and consenting take no more than being
// there: follows redirects with cookies, and gives the callback's parameters without visiting it.

async function logIn(start, callback) {
  const cookies = new Map();
  let url = start;
  for (let step = 0; step < 20; step++) {
    if (url.startsWith(callback)) {
      const parameters = Object.fromEntries(new URL(url).searchParams);
      if (parameters.error) throw new Error(`the authorization server refuses: ${JSON.stringify(parameters)}`);
      return parameters;
    }
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await fetch(url, { redirect: "manual", headers: cookie ? { cookie } : {} });
    for (const set of answer.headers.getSetCookie()) {
      const [name, ...value] = set.split(";")[0].split("=");
      cookies.set(name, value.join("="));
    }
    const to = answer.headers.get("location");
    if (!to) throw new Error(`${url} leads nowhere: ${answer.status} ${(await answer.text()).slice(0, 500)}`);
    url = new URL(to, url).href;
  }
  throw new Error("too many redirects");
}

module.exports = { logIn };
