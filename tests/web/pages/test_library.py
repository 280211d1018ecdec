"""The page Library in a real browser: the timeline by keys, folders, problems and runs."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.web.pages.served import Served, Visit, visit

MILLION = 1_000_000
MOST_TILES = 300
MOVED_BY_ROWS = """([least, most]) => {
  const place = Number(document.querySelector(".square").dataset.place);
  return place > least && place < most; // the scroll bar of a million photos would go further
}"""


def test_the_timeline_shows_every_photo_newest_first(seen: Visit) -> None:
    page = seen.go("/library")
    tiles = page.get_by_role("group", name="Photos, the newest first").get_by_role("button")
    expect(tiles).to_have_count(6)
    expect(tiles.first).to_have_attribute("aria-label", "yellow.jpg")
    expect(page.get_by_role("combobox", name="Month")).to_contain_text("May 2024 (1)")


def test_keys_move_through_the_timeline_and_open_a_photo(seen: Visit) -> None:
    page = seen.go("/library")
    tiles = page.locator(".square")
    expect(tiles.first).to_have_attribute("aria-label", "yellow.jpg")
    for key, place in (
        ("ArrowRight", 1),
        ("End", 5),
        ("ArrowLeft", 4),
        ("Home", 0),
        ("PageDown", 5),
        ("PageUp", 0),
        ("ArrowRight", 1),
        ("ArrowLeft", 0),
    ):
        page.keyboard.press(key)
        expect(page.locator(f'.square[data-place="{place}"]')).to_be_focused()
    page.keyboard.press("Enter")
    photo = page.get_by_role("dialog")
    expect(photo.get_by_role("heading", name="yellow.jpg")).to_be_visible()
    expect(photo.get_by_text("Pinhole 3000")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(photo.get_by_role("heading", name="yellow.jpg")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(photo).to_have_count(0)


def test_a_folder_leads_to_its_photos(seen: Visit) -> None:
    page = seen.go("/library")
    page.get_by_role("link", name="Folders").click()
    page.get_by_role("cell").get_by_role("link").click()
    expect(page.locator(".square")).to_have_count(6)


def test_problems_have_their_reasons(seen: Visit) -> None:
    page = seen.go("/library?tab=problems")
    row = page.get_by_role("row").filter(has_text="broken.jpg")
    expect(row).to_be_visible()
    assert row.get_by_role("cell").nth(1).inner_text()


def test_a_run_is_taken_back(own: Visit) -> None:
    page = own.go("/library?tab=runs")
    page.get_by_role("button", name="Take back").click()
    expect(page.get_by_text("Took back run 2")).to_be_visible()
    expect(page.get_by_role("cell", name="reverted")).to_be_visible()
    assert not own.errors


def pretend_a_million(page: Page) -> None:
    """Answer as the server of a library of a million photos would."""

    def timeline(route: Route) -> None:
        months = [{"month": "2024-05", "first": 0, "count": MILLION}]
        route.fulfill(json={"revision": "1", "total": MILLION, "months": months})

    def photos(route: Route) -> None:
        asked = parse_qs(urlsplit(route.request.url).query)
        first, count = int(asked["first"][0]), int(asked["count"][0])
        places = range(first, min(first + count, MILLION))
        about = {"width": 4, "height": 3, "taken_at": None, "thumbnail": None}
        shown = [
            {"photo": place + 1, "name": f"{place}.jpg", "colour": "#445566", **about}
            for place in places
        ]
        route.fulfill(body=json.dumps({"photos": shown}), content_type="application/json")

    page.route("**/api/v1/timeline", timeline)
    page.route("**/api/v1/timeline/photos?*", photos)


@pytest.mark.parametrize(
    ("width", "height", "ratio", "moved"),
    [(390, 844, 2, (40, 150)), (3840, 2160, 1, (100, 600))],
    ids=["phone", "4K"],
)
def test_every_photo_of_a_million_is_reached_with_few_elements(
    chrome: Browser,
    served: Served,
    width: int,
    height: int,
    ratio: int,
    moved: tuple[int, int],
) -> None:
    size = {"width": width, "height": height}
    with visit(chrome, served, viewport=size, device_scale_factor=ratio) as seen:
        pretend_a_million(seen.page)
        page = seen.go("/library")
        tiles = page.locator(".square")
        expect(page.get_by_role("button", name="0.jpg", exact=True)).to_be_in_viewport()
        assert tiles.count() <= MOST_TILES
        page.mouse.move(width / 2, height / 2)
        page.mouse.wheel(0, 6000)
        page.wait_for_function(MOVED_BY_ROWS, arg=moved)
        page.locator(".timeline").evaluate("view => { view.scrollTop = view.scrollHeight / 2 }")
        expect(page.locator('.square[aria-label^="5000"]').first).to_be_attached()
        page.locator(".timeline").evaluate("view => { view.scrollTop = view.scrollHeight }")
        expect(page.get_by_role("button", name="999999.jpg")).to_be_in_viewport()
        page.keyboard.press("Home")
        page.keyboard.press("End")
        expect(page.get_by_role("button", name="999999.jpg")).to_be_focused()
        assert tiles.count() <= MOST_TILES
        assert not seen.errors
