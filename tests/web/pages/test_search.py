"""The page Search in a real browser: terms, filters, hits, and one photo large."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from mkt_search import Library
from mkt_search.calibration.file import FILE, save
from tests.calibration.made import calibrator_of
from tests.web.pages.served import Served, Visit


def hits(page: Page) -> list[str]:
    """The names of the hits, in order."""
    tiles = page.get_by_role("list", name="Hits").get_by_role("button")
    expect(tiles.first).to_be_visible()
    labels = [tile.get_attribute("aria-label") or "" for tile in tiles.all()]
    return [label.split(",")[0] for label in labels]


def look_for(page: Page, text: str) -> None:
    """Type a query and send it."""
    page.get_by_role("combobox", name="What to look for").fill(text)
    page.keyboard.press("Enter")


def test_a_query_shows_its_hits_best_first_and_is_in_the_address(seen: Visit) -> None:
    page = seen.go("/search")
    look_for(page, "red")
    assert hits(page)[0] == "red.png"
    assert page.url.endswith("/search?q=red")
    expect(page.get_by_role("status")).to_contain_text("5 photos, the best first")
    expect(page.locator(".tile img").first).to_have_js_property("complete", True)
    assert page.locator(".tile img").first.evaluate("image => image.naturalWidth") > 0


def test_terms_are_added_turned_weighed_and_removed(seen: Visit) -> None:
    page = seen.go("/search?q=red")
    look_for(page, "- blue")
    expect(page.get_by_role("button", name="blue: not wanted")).to_be_visible()
    assert "q=red+-+blue" in page.url
    page.get_by_role("button", name="blue: not wanted").click()
    expect(page.get_by_role("button", name="blue: wanted")).to_be_visible()
    page.get_by_label("Weight of blue").fill("3")
    page.get_by_label("Weight of blue").press("Tab")
    expect(page).to_have_url(f"{seen.served.address}/search?q=red+%2B+3*blue")
    assert hits(page)[0] in ("blue.png", "mixed.png")
    page.get_by_role("button", name="Remove red").click()
    expect(page).to_have_url(f"{seen.served.address}/search?q=3*blue")
    page.go_back()
    expect(page.get_by_role("button", name="red: wanted")).to_be_visible()


def test_labels_are_completed_by_keys(seen: Visit) -> None:
    page = seen.go("/search")
    box = page.get_by_role("combobox", name="What to look for")
    box.press_sequentially("bl")
    option = page.get_by_role("option").filter(has_text="blue").first
    expect(option).to_be_visible()
    for _ in range(page.get_by_role("option").count()):
        page.keyboard.press("ArrowDown")
        if option.get_attribute("aria-selected") == "true":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="blue: wanted")).to_be_visible()


def test_filters_narrow_the_hits_and_can_be_cleared(seen: Visit) -> None:
    page = seen.go("/search?q=red")
    hits(page)
    page.get_by_text("Filters").click()
    page.get_by_label("Folder or file name").fill("trip/**")
    page.get_by_label("Folder or file name").press("Enter")
    expect(page.get_by_role("status")).to_contain_text("2 photos")
    page.get_by_label("Taken on or after").fill("no date")
    page.get_by_label("Taken on or after").press("Enter")
    expect(page.get_by_text("no date")).to_be_visible()  # the sentence of the server
    page.get_by_role("button", name="Dismiss").click()
    page.get_by_role("button", name="Clear filters").click()
    expect(page.get_by_role("status")).to_contain_text("5 photos")
    assert any("400" in error or "422" in error for error in seen.errors)
    seen.errors.clear()  # the browser reports the answer that was asked for


def test_a_hit_opens_large_with_boxes_and_facts_by_keys_alone(seen: Visit) -> None:
    page = seen.go("/search?q=red")
    names = hits(page)
    page.keyboard.press("Escape")
    page.locator(".tile").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    photo = page.get_by_role("dialog")
    expect(photo.get_by_role("heading", name=names[0])).to_be_visible()
    expect(photo.locator("rect").first).to_be_visible()
    expect(photo.get_by_text("score ")).to_contain_text("for its best part")
    page.keyboard.press("h")
    expect(photo.locator("canvas")).to_be_visible()
    assert photo.locator("rect").count() == 0
    page.keyboard.press("b")
    expect(photo.locator("rect").first).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(photo.get_by_role("heading", name=names[1])).to_be_visible()
    page.keyboard.press("Escape")
    expect(photo).to_have_count(0)
    assert page.url.endswith("/search?q=red")


def test_more_like_this_searches_by_the_photo(seen: Visit) -> None:
    page = seen.go("/search?q=green")
    hits(page)
    page.locator(".tile").first.click()
    page.get_by_role("dialog").get_by_role("heading", name="green.png").wait_for()
    page.keyboard.press("l")
    page.get_by_text("like photo").wait_for()
    assert hits(page)[0] == "green.png"


def test_a_tag_is_added_and_removed_and_is_in_the_library(own: Visit) -> None:
    page = own.go("/search?q=green")
    page.locator(".tile").first.click()
    page.keyboard.press("g")
    page.keyboard.type("grass <b>& co</b>")
    page.keyboard.press("Enter")
    chip = page.get_by_role("dialog").get_by_text("grass <b>& co</b>")
    expect(chip.first).to_be_visible()
    page.get_by_role("button", name="Remove grass").click()
    expect(page.get_by_text("Never tagged")).to_be_visible()
    assert not own.errors


def test_what_fails_while_a_photo_is_open_is_said_above_it(own: Visit, own_server: Served) -> None:
    page = own.go("/search?q=green")
    page.locator(".tile").first.click()
    photo = page.get_by_role("dialog")
    expect(photo.get_by_text("File", exact=True)).to_be_visible()
    own_server.kill()
    page.keyboard.press("g")
    page.keyboard.type("grass")
    page.keyboard.press("Enter")
    expect(photo.get_by_text("The server did not answer.")).to_be_visible()
    own_server.start()
    photo.get_by_role("button", name="Try again").click()
    expect(photo.get_by_text("Tagged grass.")).to_be_visible()


@pytest.mark.parametrize("path", ["/", "/nowhere-at-all"])
def test_the_first_page_asks_for_a_query(seen: Visit, path: str) -> None:
    page = seen.page
    if path == "/":
        expect(seen.go(path).get_by_text("Type a word for anything")).to_be_visible()
        return
    answer = page.goto(seen.served.address + path)
    assert answer is not None and answer.status == 404
    seen.errors.clear()


def calibrate(home: Path, *, present_from: float) -> None:
    """Give a library a calibrator whose p is the score."""
    with Library.open(home) as library:
        made = calibrator_of(library, present_from=present_from)
        save(made, library.directory / FILE)


def test_photos_that_are_hardly_probable_wait_for_a_click(own: Visit, own_server: Served) -> None:
    calibrate(own_server.home, present_from=0.3)
    page = own.go("/search?q=red")
    assert hits(page) == ["red.png", "yellow.jpg", "mixed.png"]
    expect(page.get_by_role("button", name="red.png, 100 %")).to_be_visible()
    expect(page.get_by_text("3 photos, about 1 of them expected to be wrong.")).to_be_visible()
    page.get_by_role("button", name="2 less probable photos").click()
    expect(page.locator(".tile")).to_have_count(5)
    assert not own.errors


def test_a_label_that_is_not_there_shows_no_photo_unless_asked(
    own: Visit, own_server: Served
) -> None:
    calibrate(own_server.home, present_from=1.0)
    page = own.go("/search?q=red")
    expect(page.get_by_text("Nothing here looks clearly like red.")).to_be_visible()
    assert page.locator(".tile").count() == 0
    page.get_by_role("button", name="5 less probable photos").click()
    expect(page.locator(".tile")).to_have_count(5)
    assert not own.errors
