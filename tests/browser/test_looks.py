"""How the page looks: light, dark, on a phone; the pictures lie in build/screenshots."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {
        "color_scheme": "light",
        "viewport": {"width": 390, "height": 844},
        "is_mobile": True,
        "has_touch": True,
    },
}


def _pages(gallery: Any) -> Iterator[tuple[str, str, str]]:
    """Name, address, and what is there once it is drawn."""
    trials = gallery.server.get(f"/v1/studies/{gallery.study}/trials?order=-number")["items"]
    two = f"{trials[0]['id']},{gallery.best}"
    yield "studies", "/", ".card"
    yield "study", f"/studies/{gallery.study}", ".badge"
    yield "trial", f"/trials/{gallery.best}", "pre"
    yield "compare", f"/compare?trials={two}", "table"
    yield "devices", "/devices", "section"
    yield "new", "/new", ".verdict.good"


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_fits_and_follows_the_colour_scheme(
    gallery: Any, visit: Callable[..., Page], screenshots: Any, look: str
) -> None:
    page = visit(f"{gallery.url}/", **LOOKS[look])
    for name, address, drawn in _pages(gallery):
        if look == "dark" and name not in ("studies", "study"):
            continue  # the same colours
        page.goto(gallery.url + address)
        if name == "study":
            page.locator(".mark").first.wait_for()
            page.evaluate(
                "async () => { for (let y = 0; y < document.body.scrollHeight; y += 400) {"
                "scrollTo(0, y); await new Promise((done) => requestAnimationFrame(done)); }"
                "scrollTo(0, 0); }"
            )
        page.locator(drawn).first.wait_for(timeout=60_000)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert page.viewport_size is not None
        assert width <= page.viewport_size["width"], f"{name} is {width} px wide"
        page.screenshot(path=screenshots / f"{name}-{look}.png", full_page=True)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness = sum(int(part) for part in ground[4:-1].split(","))
        assert (brightness < 200) == (look == "dark")
