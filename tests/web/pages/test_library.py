"""The page Library in a real browser: the timeline by keys, folders, problems and runs."""

from playwright.sync_api import expect

from tests.web.pages.served import Visit


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
