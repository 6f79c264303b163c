"""Pages as a browser finds them: whether tags nest, what stands in them, what scripts do."""

import json
import re
import subprocess
from html.parser import HTMLParser

VOID = {"meta", "input", "br", "line", "circle"}
# no frames are made for a page that nobody looks at
FRAMES = """
<script>
window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 16);
</script>
"""


class Nest(HTMLParser):
    """Follows the tags of a page, and fails where one is not closed."""

    def __init__(self):
        super().__init__()
        self.open, self.ids = [], []

    def handle_starttag(self, tag, attrs):
        self.ids += [v for k, v in attrs if k == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def assert_whole(html):
    """Fails where tags are not closed, or a name stands twice."""
    nest = Nest()
    nest.feed(html)
    nest.close()
    assert nest.open == []
    assert len(nest.ids) == len(set(nest.ids))


def assert_alone(html):
    """Fails where a page asks for anything, or names what another part of it could name."""
    assert not re.search(r"https?:|//[a-z]+\.|@import|fetch\(|getElementById|import ", html)


def told(html):
    """Returns what the first script of a page is told."""
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', html)[1])


def probed(path, size, *flags):
    """Opens a page in Chromium, and returns what its probe wrote into the title."""
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", f"--user-data-dir={path.parent / 'user'}", f"--window-size={size}",
        *flags, "--virtual-time-budget=10000", "--enable-logging=stderr", "--dump-dom",
        path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "CONSOLE" not in done.stderr  # errors and breaches of the policy are logged there
    return json.loads(re.search(r"<title>(.*?)</title>", done.stdout)[1])
