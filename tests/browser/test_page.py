"""The page in a real browser: what a user does with it, read back from the server."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from stillhouse_service import tokens

Visit = Callable[..., Page]
MARKS = ("feasible", "uncertain", "infeasible", "best")
LIMIT_MS = 60_000  # a busy machine may take long; what is waited for is a condition, never time


def _see(page: Page, text: str | re.Pattern[str], where: str = "main") -> None:
    expect(page.locator(where)).to_contain_text(text, timeout=LIMIT_MS)


def _pass_over(page: Page) -> None:
    """Scroll through, so that everything is drawn that waits to be seen."""
    page.evaluate(
        "async () => { for (let y = 0; y < document.body.scrollHeight; y += 300) {"
        "scrollTo(0, y); await new Promise((done) => requestAnimationFrame(done)); } }"
    )


def test_a_study_is_started_from_the_form_watched_live_and_taken_away(
    site: Any, connect: Callable[..., Any], play: Callable[..., Any], visit: Visit
) -> None:
    site.baseline()
    host = connect(site)
    page = visit(f"{site.url}/new")
    _see(page, "This works")
    page.get_by_label("Name", exact=True).fill("from the page")
    page.get_by_label("Trials", exact=True).fill("3")
    template = page.get_by_label("Template")
    good = template.input_value()
    template.fill(good.replace("low: 0.1", "low: 0.9"))
    _see(page, "final_sparsity", "#e-template")  # before anything is sent
    expect(template).to_have_attribute("aria-invalid", "true")
    assert site.get("/v1/studies")["items"] == []
    template.fill(good)
    _see(page, "This works")
    page.get_by_role("button", name="Start the study").click()
    page.wait_for_url(re.compile(r"/studies/std_"))
    study = page.url.rsplit("/", 1)[1]
    assert site.get(f"/v1/studies/{study}")["name"] == "from the page"
    _see(page, "live", ".live")
    _see(page, "0 of 3")

    # What happens is seen without anything being loaded anew.
    page.evaluate("window.isSamePage = true")
    playing = play(site, host, [0.8, 0.6, 0.7])
    playing.play(3)
    _see(page, "2 of 3")
    _see(page, "0.600")
    playing.until_over(study)
    _see(page, "finished", "h1 + .state")
    _see(page, "3 of 3")
    assert page.evaluate("window.isSamePage")
    best = site.get(f"/v1/studies/{study}")["incumbent"]
    assert best["latency_ratio"] == 0.6

    with page.expect_download() as report:
        page.get_by_role("button", name="report").click()
    text = Path(report.value.path()).read_text()
    assert text.startswith("<!doctype html>")
    assert "from the page" in text

    page.get_by_role("link", name=f"trial {best['number']}", exact=True).click()
    _see(page, "It keeps every limit")
    trial = site.get(f"/v1/trials/{best['trial_id']}")
    with page.expect_download() as schedule:
        page.get_by_role("button", name="Download schedule.yaml").click()
    wanted = site.http.get(f"/v1/artifacts/{trial['artifacts']['schedule']}").content
    assert Path(schedule.value.path()).read_bytes() == wanted


def test_a_study_is_paused_resumed_cancelled_and_cloned(
    site: Any, connect: Callable[..., Any], play: Callable[..., Any], visit: Visit
) -> None:
    study = site.study(budget={"trials": 50})
    play(site, connect(site), [0.9, 0.8]).play(2)
    page = visit(f"{site.url}/studies/{study}")

    def state() -> Any:
        return site.get(f"/v1/studies/{study}")["state"]

    page.get_by_role("button", name="Pause").click()
    _see(page, "Paused by its user")
    assert state() == "paused"
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    assert state() == "running"
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Keep it").click()
    assert state() == "running"
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the study").click()
    _see(page, "Cancelled before its budget was used")
    assert state() == "cancelled"

    page.get_by_role("link", name="Clone").click()
    _see(page, "This works")
    expect(page.get_by_label("Name", exact=True)).to_have_value("digits again")
    page.get_by_label("Seed").fill("7")
    page.get_by_role("button", name="Start the study").click()
    page.wait_for_url(re.compile(rf"/studies/std_(?!{study[4:]})"))
    specs = [one["spec"] for one in site.get("/v1/studies?order=created")["items"]]
    assert specs[1] == specs[0] | {"name": "digits again", "seed": 7}


def test_every_part_is_reached_by_the_keyboard(gallery: Any, visit: Visit) -> None:
    page = visit(f"{gallery.url}/studies/{gallery.study}")
    page.locator(".mark").first.wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.locator("svg[tabindex]").first.focus()
    page.keyboard.press("Home")
    reading = "#s-history + .body .reading"
    _see(page, re.compile(r"Trial 0: Latency ratio 0\.\d+, Top-1 lost"), reading)
    page.keyboard.press("ArrowRight")
    _see(page, "Trial 1: ", reading)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/trials/trl_"))
    _see(page, "Trial 1", "h1")
    page.go_back()
    page.locator(".mark").first.wait_for()
    page.locator("summary", has_text="table").first.press("Enter")
    rows = page.locator("#s-history + .body table tbody tr")
    expect(rows).to_have_count(25)  # thirty, three diverged, two were unsupported


def test_feasible_and_infeasible_trials_differ_in_shape(gallery: Any, visit: Visit) -> None:
    page = visit(f"{gallery.url}/studies/{gallery.study}")
    plot = page.locator("#s-history + .body svg.plot")
    trials = gallery.server.get(f"/v1/studies/{gallery.study}/trials")["items"]
    kinds = [one["is_feasible"] for one in trials if one["state"] == "complete"]
    paths = {kind: plot.locator(f".mark.{kind}").get_attribute("d") or "" for kind in MARKS}
    assert paths["infeasible"].count("L") == 2 * kinds.count(False) > 0  # two strokes each
    rings = paths["feasible"].count("z"), paths["uncertain"].count("z")
    assert sum(rings) == kinds.count(True) - 1
    assert min(rings) > 0
    assert "a" in paths["feasible"]
    assert paths["best"].count("z") == 1


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("two", ("a ranking needs at least",)),
        ("infeasible", ("None of the trials measured so far keeps the limits", "none yet")),
        ("failing", ("None of the 6 trials gave a measurement", "5 of the last 6 trials failed")),
        ("empty", ("No trial was started", "Cancelled before its budget was used")),
        ("rejected", ("Rejected by the check", "not enough memory for its weights")),
    ],
)
def test_a_poor_study_says_so_in_words(
    gallery: Any, visit: Visit, which: str, words: tuple[str, ...]
) -> None:
    page = visit(f"{gallery.url}/studies/{getattr(gallery, which)}")
    for said in words:
        if "ranking" in said:
            page.locator("#s-importance").scroll_into_view_if_needed()
        _see(page, said)
    _pass_over(page)
    for plot in page.locator("svg.plot").all():
        assert plot.locator(".mark, .trace").count() > 0, "an empty plot"


def test_a_deleted_file_is_said_to_be_gone(gallery: Any, visit: Visit) -> None:
    trials = gallery.server.get(f"/v1/studies/{gallery.study}/trials")["items"]
    trial = next(one for one in trials if one["state"] == "complete")
    for path in Path(gallery.server.settings.artifact_dir).rglob(trial["artifacts"]["schedule"]):
        path.unlink()
    page = visit(
        f"{gallery.url}/trials/{trial['id']}", lambda text: "Failed to load resource" in text
    )
    _see(page, "is not in the artifact store any more")
    page.get_by_role("button", name="Download schedule.yaml").click()
    expect(page.get_by_role("alert")).to_have_count(2)


def test_trials_are_compared_side_by_side(gallery: Any, visit: Visit) -> None:
    page = visit(f"{gallery.url}/studies/{gallery.study}")
    page.locator("#s-latest-trials").scroll_into_view_if_needed()
    page.get_by_label("choose trial 29").check()
    page.get_by_label("choose trial 28").check()
    page.get_by_role("button", name="Compare those chosen").click()
    _see(page, "What differs")
    trials = gallery.server.get(f"/v1/studies/{gallery.study}/trials")["items"]
    for number in (28, 29):
        rate = trials[number]["config"]["training.lr"]
        _see(page, f"{rate:.4g}")


def test_devices_say_what_they_do(site: Any, connect: Callable[..., Any], visit: Visit) -> None:
    site.study()
    host = connect(site)
    page = visit(f"{site.url}/devices")
    _see(page, "waits for work")
    _see(page, "1 job that it may take")
    lease = host.lease()
    _see(page, "checks a baseline")
    host.fail(lease, "device-fault")
    _see(page, "1 job failed by its own fault since its last result. The last: it was so")


def test_a_server_with_tokens_asks_for_one_and_keeps_it_out_of_addresses(
    site: Any, visit: Visit
) -> None:
    study = site.study()
    with site.store.begin() as work:
        _, token = tokens.create(work, "anna", ["write"])
    asked: list[str] = []
    page = visit(f"{site.url}/studies/{study}", lambda text: "401" in text)
    page.on("request", lambda one: asked.append(one.url))
    _see(page, "This server wants a token")
    page.get_by_label("Token").fill("shs_guessed")
    page.get_by_role("button", name="Sign in").click()
    _see(page, "unknown, revoked or has run out")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    _see(page, "digits", "h1")
    _see(page, "live", ".live")  # the stream has the token, too
    assert not any(token in url for url in asked)
    assert page.evaluate("localStorage.length") == 0
    page.reload()
    _see(page, "digits", "h1")
    page.get_by_role("button", name="Sign out").click()
    _see(page, "This server wants a token")
    assert page.evaluate("sessionStorage.length") == 0


def test_what_a_user_typed_is_text_and_no_script_of_it_runs(site: Any, visit: Visit) -> None:
    study = site.study(name="<img src=x onerror='window.isHit = 1'><script>isHit = 1</script>")
    page = visit(f"{site.url}/studies/{study}", lambda text: "Content Security Policy" in text)
    _see(page, "<script>isHit = 1</script>", "h1")
    # Even markup that somebody smuggled in is stopped by the policy.
    page.evaluate(
        "const one = document.createElement('script'); one.textContent = 'window.isHit = 1';"
        "document.body.append(one)"
    )
    assert page.evaluate("window.isHit") is None
    assert (
        page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')")
        == "refused"
    )


def test_the_policy_allows_this_server_alone(site: Any) -> None:
    for path in ("/", "/studies/std_1", "/page/main.js", "/page/style.css"):
        answer = httpx.get(site.url + path, verify=False)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "*" not in policy
        again = httpx.get(
            site.url + path, headers={"If-None-Match": answer.headers["etag"]}, verify=False
        )
        assert again.status_code == 304
    assert httpx.get(f"{site.url}/page/..%2Fsettings.py", verify=False).status_code == 404
