"""The page in a real browser: Chromium (Debian's `chromium`), driven by Playwright."""

from __future__ import annotations

import base64
import re
import shutil

import pytest
from PIL import Image
from served_index import HTML_LABEL, HTML_NAME, make_index, serving

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright"
)
CHROMIUM = shutil.which("chromium")
if not CHROMIUM:
    pytest.skip("there is no chromium on the PATH: apt install chromium", allow_module_level=True)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
"""In a container, where the tests run as root; Playwright's own leave the network alone, too."""
expect = playwright.expect
expect.set_options(timeout=20_000)
PASTE = """async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const png = new Blob([bytes], { type: "image/png" });
    await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
}"""


@pytest.fixture(scope="module")
def served(scratch):
    """The server's address, and the folder of its images."""
    with serving(make_index(scratch)) as (address, _):
        yield address, scratch / "images"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, served):
    """The page; at the end nothing was asked of another host, and the console has no error."""
    address, _ = served
    context = browser.new_context(
        base_url=address, permissions=["clipboard-write", "clipboard-read"]
    )
    page, asked, wrong = context.new_page(), [], []
    page.set_default_timeout(20_000)
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.expected_errors = []
    page.goto("/")
    expect(page.locator("#about")).to_have_text("images.db: 31 images, codes of 64 bits")
    yield page
    assert [url for url in asked if not url.startswith((address, "blob:"))] == []
    assert [text for text in wrong if not any(e in text for e in page.expected_errors)] == []
    context.close()


def image_of(served, number=3):
    return sorted((served[1] / "val2014").iterdir())[number]


def results(page, count=20):
    """What each result says, once there are so many."""
    items = page.locator("#results li")
    expect(items).to_have_count(count)
    return items.all_inner_texts()


def test_upload(page, served):
    path = image_of(served)
    page.get_by_label("Image to search with").set_input_files(path)
    first, *others = results(page)
    assert first.split("\n") == [path.name, "1. distance 0 val2014"]
    distances = [int(re.search(r"distance (\d+)", text)[1]) for text in others]
    assert distances == sorted(distances)
    expect(page.get_by_role("heading", name="20 results")).to_be_visible()
    expect(page.get_by_role("img", name=path.name)).to_be_visible()  # the query, drawn
    sides = "image => Math.max(image.naturalWidth, image.naturalHeight)"
    assert page.locator("#results img").first.evaluate(sides) == 256
    assert page.url.endswith("/?k=20")


def drag(page, path, kinds=("dragEnter", "dragOver", "drop")):
    """Drags a file from outside over the page, and drops it, as the browser sees it."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in kinds:
        event = {"type": kind, "x": 300, "y": 300, "data": data}
        session.send("Input.dispatchDragEvent", event)


def test_drop(page, served):
    path = image_of(served, 5)
    drag(page, path, ["dragEnter", "dragOver"])
    expect(page.locator("html")).to_have_class("dropping")
    drag(page, path, ["drop"])
    assert results(page)[0].startswith(f"{path.name}\n1. distance 0")
    expect(page.locator("html")).to_have_class("")


def test_paste(page, served, tmp_path):
    Image.open(image_of(served, 7)).save(tmp_path / "pasted.png")
    page.evaluate(PASTE, base64.b64encode((tmp_path / "pasted.png").read_bytes()).decode())
    page.keyboard.press("Control+V")
    assert results(page)[0].startswith(f"{image_of(served, 7).name}\n1. distance 0")


def test_text_that_is_pasted_stays_text(page):
    page.get_by_label("Label", exact=True).focus()
    page.evaluate("navigator.clipboard.writeText('val2014')")
    page.keyboard.press("Control+V")
    expect(page.get_by_label("Label", exact=True)).to_have_value("val2014")
    expect(page.locator("#problem")).to_have_text("")


def test_a_click_searches_from_a_result_and_back_returns(page, served):
    page.get_by_label("Image to search with").set_input_files(image_of(served))
    third = results(page)[2].split("\n")[0]
    with page.expect_request("**/api/search?id=*") as asked:
        page.get_by_role("link", name=third).click()
    assert asked.value.method == "GET"
    expect(page.locator("#name")).to_have_text(third)
    expect(page.locator("#thumbnail")).to_be_visible()
    expect(page.locator("#results li").first).to_contain_text(third)
    link = page.url
    page.go_back()
    expect(page.locator("#name")).to_have_text(image_of(served).name)
    expect(page.locator("#results li").first).to_contain_text(image_of(served).name)
    expect(page.locator("#drawn")).to_be_visible()
    page.goto(link)  # as whoever it was sent to
    expect(page.locator("#name")).to_have_text(third)
    assert third in results(page)[0]


def test_the_keyboard_alone_is_enough(page, served):
    page.get_by_label("Image to search with").set_input_files(image_of(served))
    results(page)
    page.get_by_label("Label", exact=True).focus()
    page.keyboard.press("Tab")
    expect(page.locator("#results a").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_be_focused()
    assert "id=" in page.url


def test_top_k_limit_and_label(page, served):
    page.get_by_label("Image to search with").set_input_files(image_of(served))
    results(page)
    page.get_by_label("Results").fill("4")
    page.keyboard.press("Enter")
    far = max(int(re.search(r"distance (\d+)", text)[1]) for text in results(page, 4))
    page.get_by_label("Distance, at most").fill(str(far - 1))
    page.get_by_label("Results").fill("31")
    page.keyboard.press("Tab")
    page.locator("#results li").first.wait_for()
    expect(page.locator("#results li")).not_to_have_count(4)
    assert all(
        int(t) < far
        for t in re.findall(r"distance (\d+)", "".join(page.locator("li").all_inner_texts()))
    )
    page.get_by_label("Distance, at most").fill("")
    page.get_by_label("Label", exact=True).fill("train2014")
    page.keyboard.press("Enter")
    assert all(text.endswith("train2014") for text in results(page, 15))
    assert page.url.endswith("/?k=31&label=train2014")
    page.get_by_label("Label", exact=True).fill("none")
    page.keyboard.press("Enter")
    results(page, 0)
    expect(page.locator("#status")).to_have_text("No image is so near and has this label")
    page.get_by_label("Results").fill("0")
    page.keyboard.press("Enter")
    assert not page.get_by_label("Results").evaluate("input => input.validity.valid")


def test_a_label_is_a_filter_and_html_stays_text(page, served):
    page.get_by_label("Results").fill("31")
    page.get_by_label("Image to search with").set_input_files(image_of(served))
    assert any(HTML_NAME in text for text in results(page, 31))
    page.get_by_role("button", name=HTML_LABEL).click()
    (text,) = results(page, 1)
    assert text.split("\n")[0] == HTML_NAME and text.endswith(HTML_LABEL)
    expect(page.get_by_label("Label", exact=True)).to_have_value(HTML_LABEL)
    page.get_by_role("link", name=HTML_NAME).click()
    expect(page.locator("#name")).to_have_text(HTML_NAME)
    assert page.locator("[onclick], [onerror]").count() == 0


def test_a_file_that_is_no_image_is_told_in_plain_words(page, served, tmp_path):
    page.expected_errors = ["415"]  # the browser's own line about an answer
    bad = tmp_path / "letter.jpg"
    bad.write_text("Dear Sir or Madam")
    page.get_by_label("Image to search with").set_input_files(image_of(served))
    results(page)
    drag(page, bad)
    told = "letter.jpg: not an image that can be decoded: its format is unknown"
    expect(page.get_by_role("alert")).to_have_text(told)
    results(page, 0)
    page.get_by_label("Image to search with").set_input_files(image_of(served, 1))
    results(page)
    expect(page.get_by_role("alert")).to_have_text("")


def test_a_deep_link_has_options_and_an_unknown_id_is_told(page, served):
    page.expected_errors = ["404"]
    page.get_by_label("Image to search with").set_input_files(image_of(served))
    results(page)
    address = page.locator("#results a").nth(1).get_attribute("href")
    page.goto(f"/{address.replace('k=20', 'k=5')}&label=val2014")
    assert all(text.endswith("val2014") for text in results(page, 5))
    expect(page.get_by_label("Results")).to_have_value("5")
    page.goto("/?id=7&k=3")
    expect(page.get_by_role("alert")).to_have_text(
        "This image: 7: no image of the index has this id"
    )


def test_a_browser_gives_the_token_as_a_password(browser, tmp_path):
    token = "a_token-of_24-characters"
    with serving(make_index(tmp_path, 4), token) as (address, _):
        credentials = {"username": "", "password": token}
        page = browser.new_page(base_url=address, http_credentials=credentials)
        page.goto("/")
        page.get_by_label("Image to search with").set_input_files(tmp_path / "images" / HTML_NAME)
        results(page, 5)
        page.wait_for_load_state("networkidle")
        loaded = "image => image.complete && image.naturalWidth > 0"
        assert page.locator("#results img").first.evaluate(loaded)
        page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screens_and_both_schemes(page, served, scheme):
    page.set_viewport_size({"width": 320, "height": 640})
    page.emulate_media(color_scheme=scheme)
    page.get_by_label("Image to search with").set_input_files(image_of(served))
    results(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 320
    page.mouse.wheel(0, 900)
    expect(page.locator("#query")).to_be_in_viewport()  # the query stays in view
    colour = page.evaluate("() => getComputedStyle(document.documentElement).colorScheme")
    background = page.evaluate(
        "() => getComputedStyle(document.querySelector('#query')).backgroundColor"
    )
    assert colour == "light dark"
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
