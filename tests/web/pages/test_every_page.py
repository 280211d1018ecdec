"""Every page: no accessibility violation, no console error, both themes, a narrow screen, keys."""

from pathlib import Path
from typing import Any, Literal

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.pages.served import NARROW, WIDE, Served, visit

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
PAGES = {
    "/search": "Type a word for anything",
    "/search?q=red + blue - green&path=**": "photos, the best first",
    "/library": "6 photos",
    "/library?tab=folders": "Folders of the library",
    "/library?tab=problems": "broken.jpg",
    "/library?tab=runs": "Runs, the newest first",
    "/review": "Proposed tags",
    "/review?run=2&label=red": "Does it show red?",
    "/review?run=2&label=red&view=batch": "Mark the photos that do not show red",
    "/map": "Map",
    "/models": "Fingerprint",
}


def violations(page: Page) -> list[str]:
    """Run axe in a page; return what it finds, with the elements."""
    page.evaluate(AXE.read_text(encoding="utf-8"))  # not by a script tag, which the page forbids
    found: dict[str, Any] = page.evaluate("() => axe.run()")
    return [
        f"{one['id']}: {[node['html'][:200] for node in one['nodes'][:3]]}"
        for one in found["violations"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_pages_are_accessible_and_fit(
    chrome: Browser, served: Served, theme: Literal["light", "dark"], size: dict[str, int]
) -> None:
    with visit(chrome, served, color_scheme=theme, viewport=size) as seen:
        for path, shown in PAGES.items():
            page = seen.go(path)
            expect(page.get_by_text(shown).first).to_be_visible()
            page.wait_for_load_state("networkidle")
            assert page.evaluate("() => document.documentElement.dataset.theme") == theme
            wider = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
            assert wider <= 0, f"{path} is wider than the screen"
            assert not violations(page), path
        page = seen.go("/search?q=red")
        page.locator(".tile").first.click()
        expect(page.get_by_role("dialog").get_by_text("File")).to_be_visible()
        assert not violations(page), "a photo"
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Keys").click()
        assert not violations(page), "keys"
        assert not seen.errors


def test_keys_lead_to_every_page_and_are_listed(chrome: Browser, served: Served) -> None:
    with visit(chrome, served) as seen:
        page = seen.go("/models")
        for key, title in (
            ("1", "Search"),
            ("2", "Library"),
            ("3", "Review"),
            ("4", "Map"),
            ("5", "Models"),
        ):
            page.locator("body").press("Escape")
            page.keyboard.press(key)
            expect(page).to_have_title(f"{title} · MKT search")
            page.evaluate("() => document.activeElement?.blur()")
        page.keyboard.press("?")
        keys = page.get_by_role("dialog", name="Keys")
        expect(keys.get_by_text("Light or dark")).to_be_visible()
        page.keyboard.press("Escape")
        expect(keys).to_have_count(0)


def test_the_theme_is_kept(chrome: Browser, served: Served) -> None:
    with visit(chrome, served, color_scheme="light") as seen:
        page = seen.go("/library")
        page.keyboard.press("t")
        page.reload()
        assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"


def test_a_server_that_is_gone_is_said_and_the_page_goes_on(
    chrome: Browser, own_server: Served
) -> None:
    with visit(chrome, own_server) as seen:
        page = seen.go("/library")
        expect(page.locator(".square")).to_have_count(6)
        own_server.kill()
        page.get_by_role("link", name="Runs").click()
        banner = page.get_by_text("The server does not answer.")
        expect(banner).to_be_visible()
        own_server.start()
        expect(banner).to_have_count(0)
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_text("Runs, the newest first")).to_be_visible()
