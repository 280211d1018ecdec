"""The page Map in a real browser: drawing it, a lasso, a tag for what it chose, no WebGL."""

from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.command_line import columns, mkt
from tests.web.pages.served import Served, Visit, visit

WITHOUT_WEBGL = """
const real = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind.startsWith("webgl") ? null : real.call(this, kind, ...rest);
};
"""


def draw(page: Page, served: Served) -> None:
    """Make the map by the job of the page."""
    page.goto(f"{served.address}/map")
    page.get_by_role("button", name="Draw the map").click()
    done = page.get_by_role("listitem").filter(has_text="map done")
    expect(done).to_be_visible(timeout=60_000)
    page.goto(f"{served.address}/map")
    expect(page.get_by_role("img", name="A map of 5 photos")).to_be_visible()


def test_a_lasso_chooses_photos_and_tags_them(own: Visit, own_server: Served) -> None:
    page = own.page
    draw(page, own_server)
    page.keyboard.press("s")
    plane = page.locator(".plane")
    box = plane.bounding_box()
    assert box is not None
    left, top = box["x"] + 2, box["y"] + 2
    right, bottom = left + box["width"] - 4, top + box["height"] - 4
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    expect(page.get_by_text("5 chosen")).to_be_visible()
    tiles = page.get_by_role("list", name="Chosen photos").get_by_role("button")
    expect(tiles).to_have_count(5)
    page.get_by_role("textbox", name="A tag for the chosen photos").fill("all of them")
    page.get_by_role("button", name="Tag 5 photos").click()
    expect(page.get_by_text("Tagged", exact=False)).to_be_visible()
    rows = columns(mkt("tags", "--tag", "all of them", "--library", own_server.home))
    assert {Path(row[0]).name for row in rows} >= {"red.png", "green.png", "mixed.png"}
    assert not own.errors


def test_the_map_moves_and_is_coloured_by_keys_and_labels(own: Visit, own_server: Served) -> None:
    page = own.page
    draw(page, own_server)
    for key in ("+", "+", "ArrowLeft", "ArrowUp", "-", "0", "v"):
        page.keyboard.press(key)
    expect(page.get_by_text("5 chosen")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_text("chosen")).to_have_count(0)
    page.get_by_label("Label").fill("red")
    page.get_by_role("button", name="Colour").click()
    expect(page.get_by_label("Colour by")).to_have_value("score")
    assert not own.errors


def test_a_browser_without_webgl_gets_a_picture(chrome: Browser, own_server: Served) -> None:
    with visit(chrome, own_server) as found:
        found.page.add_init_script(WITHOUT_WEBGL)
        draw(found.page, own_server)
        expect(found.page.get_by_text("no WebGL 2")).to_be_visible()
        drawn = found.page.locator(".plane canvas").evaluate(
            "canvas => canvas.getContext('2d')"
            ".getImageData(0, 0, canvas.width, canvas.height).data.some(byte => byte > 0)"
        )
        assert drawn
        assert not found.errors
