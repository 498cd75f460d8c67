"""What a person with a browser does at an authorization server, where logging in and consenting take no more than being
there: follows redirects with cookies.

usage: browser.py URL        goes where the last redirect leads
"""

import http.cookiejar
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import resolve  # noqa: E402, F401


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def log_in(url: str, callback: str) -> dict[str, str]:
    """Goes from an authorization URL to the callback; gives the callback's parameters without visiting it."""
    cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    opener = urllib.request.build_opener(cookies, Stay)
    for _ in range(20):
        if url.startswith(callback):
            parameters = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
            if "error" in parameters:
                raise RuntimeError(f"the authorization server refuses: {parameters}")
            return parameters
        try:
            opener.open(url, timeout=20)
        except urllib.error.HTTPError as answer:
            if not (300 <= answer.status < 400):
                raise RuntimeError(f"{answer.status} {answer.read().decode()[:500]}") from None
            url = urllib.parse.urljoin(url, answer.headers["location"])
            continue
        raise RuntimeError(f"{url} leads nowhere")
    raise RuntimeError("too many redirects")


if __name__ == "__main__":
    start = sys.argv[1]
    callback = urllib.parse.parse_qs(urllib.parse.urlsplit(start).query)["redirect_uri"][0]
    urllib.request.urlopen(callback + "?" + urllib.parse.urlencode(log_in(start, callback)), timeout=20)
