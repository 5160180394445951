"""The page in a real browser: no error, no request, and the accessibility rules of axe-core.

Needs Chromium on the path and axe-core's `axe.min.js`, which AXE names; .ci/run brings both.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_html import PAGES

from modellint.report import render

pytestmark = pytest.mark.browser

FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --disable-quic --enable-logging=stderr --virtual-time-budget=10000"
)
AUDIT_IT = """
<script>{axe}</script>
<script>
axe.run().then(found => {{
  const out = document.createElement("script");
  out.type = "application/json";
  out.id = "axe";
  out.textContent = JSON.stringify(found.violations.map(v => [v.id, v.nodes.map(n => n.html + n.failureSummary)]));
  document.body.append(out);
}});
</script>
"""


def browse(page: Path, *flags: str) -> tuple[str, str]:
    """The document after loading, and what the browser logged."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "these tests need Chromium on the path"
    command = [
        chromium,
        *FLAGS.split(),
        *flags,
        f"--user-data-dir={page.parent / 'profile'}",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


@pytest.mark.parametrize("name", PAGES)
def test_the_page_logs_nothing(tmp_path: Path, name: str) -> None:
    """Its policy forbids every request, and the browser logs what it forbids."""
    page = tmp_path / "page.html"
    page.write_text(render(PAGES[name][0], "html", run=PAGES[name][1]), encoding="utf-8")
    assert "CONSOLE" not in browse(page)[1]


def test_a_request_would_be_logged(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    text = render(PAGES["empty"][0], "html")
    page.write_text(text.replace("</body>", '<img src="https://example.com/a.png" alt=""></body>'), encoding="utf-8")
    assert "Content Security Policy" in browse(page)[1]


def violations(folder: Path, text: str, *flags: str) -> list[tuple[str, list[str]]]:
    axe = Path(os.environ["AXE"]).read_text(encoding="utf-8")
    text = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", text)
    page = folder / "page.html"
    page.write_text(text.replace("</body>", f"{AUDIT_IT.format(axe=axe)}</body>"), encoding="utf-8")
    document, _ = browse(page, *flags)
    found = re.search(r'<script type="application/json" id="axe">(.*?)</script>', document, re.DOTALL)
    assert found, "axe did not finish"
    return [(rule, nodes) for rule, nodes in json.loads(found[1])]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 400)])
@pytest.mark.parametrize("name", ["audit", "broken", "proven", "reading"])
def test_the_page_is_accessible(tmp_path: Path, name: str, scheme: str, width: int) -> None:
    text = render(PAGES[name][0], "html", run=PAGES[name][1])
    preferred = f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"
    assert violations(tmp_path, text, preferred, f"--window-size={width},2000") == []


def test_text_that_is_too_faint_would_be_found(tmp_path: Path) -> None:
    text = render(PAGES["audit"][0], "html").replace("--text: #1a1d21", "--text: #d0d0d0")
    assert [rule for rule, _ in violations(tmp_path, text)] == ["color-contrast"]
