"""Opens a page in a browser without a screen, and asks what became of it."""

import html
import json
import re
import shutil
import subprocess

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Notes whatever a browser complains of, from the first script on.
WATCH = """<script>
window.complaints = [];
// Without a screen no frame may ever be due.
window.requestAnimationFrame = (drawn) => setTimeout(drawn, 16);
for (const kind of ["error", "warn"]) {
  console[kind] = (...said) => window.complaints.push(said.join(" "));
}
addEventListener("error", (event) => window.complaints.push(event.message));
addEventListener("unhandledrejection", (event) => window.complaints.push(event.reason));
addEventListener("securitypolicyviolation", (event) =>
  window.complaints.push(event.violatedDirective + " " + event.blockedURI));
</script>"""
ASK = """<script>
addEventListener("load", () => setTimeout(async () => {
  const answer = await (async () => { %s })();
  const all = { ...answer, complaints: window.complaints };
  parent.postMessage(JSON.stringify(all), "*");
}, 300));
</script>"""

# A window has at least 500 pixels, a frame as few as are asked for.
FRAME = """<!doctype html><title></title>
<script>addEventListener("message", (event) => { document.title = event.data; });</script>
<iframe src="asked.html" width="%d" height="%d" style="border: 0"></iframe>"""


def ask(path, tmp_path, script, *, width=1280, height=900):
    """Opens a copy of a page, and gives what a script in it returns.

    Args:
        path: Of the page.
        tmp_path: Folder for the copy and the browser's own files.
        script: Body of an asynchronous function that returns an object.
        width, height: Of what shows the page, in pixels.
    """
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        pytest.skip(f"needs a browser: one of {', '.join(NAMES)}")
    text = path.read_text(encoding="utf-8")
    text = text.replace("<head>", f"<head>{WATCH}", 1)
    before, _, after = text.rpartition("</body>")
    copy = f"{before}{ASK % script}</body>{after}"
    (tmp_path / "asked.html").write_text(copy, encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME % (width, height), encoding="utf-8")
    done = subprocess.run(
        [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu",
            f"--user-data-dir={tmp_path / 'browser'}", "--window-size=1400,1000",
            "--virtual-time-budget=20000", "--dump-dom", frame.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.S)
    assert title and title[1].startswith("{"), done.stderr[-2000:]
    return json.loads(html.unescape(title[1]))
