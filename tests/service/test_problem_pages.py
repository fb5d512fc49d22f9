"""Every type of problem has its page, in docs/ and on the server."""

import re
from pathlib import Path
from typing import Any

from stillhouse_service.routes.problem_pages import meanings

PAGE = Path(__file__).parents[2] / "docs" / "problems.md"


def test_every_type_of_problem_is_listed_and_no_other() -> None:
    listed = re.findall(r"^## ([\w-]+)$", PAGE.read_text(), re.MULTILINE)
    assert listed == sorted(meanings())


def test_the_statuses_of_the_page_are_those_of_the_server() -> None:
    told = dict(re.findall(r"^## ([\w-]+)\n(\d{3})", PAGE.read_text(), re.MULTILINE))
    assert told == {slug: str(status) for slug, (status, _) in meanings().items()}


def test_a_problems_type_is_the_address_of_its_page(server: Any) -> None:
    refused = server.http.get("/v1/studies/std_none").json()
    page = server.http.get(refused["type"])
    assert page.status_code == 200 and "404" in page.text
