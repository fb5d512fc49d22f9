"""Write the tables of docs/ from the committed bench JSON, or check that they agree.

Depends on: the standard library. A table stands between ``<!-- bench:<name>/<table> -->`` and
``<!-- /bench -->``.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"(<!-- bench:([\w-]+)/([\w.-]+) -->\n)(.*?)(<!-- /bench -->)", re.DOTALL)


def render(name: str, table: str) -> str:
    """Markdown of one table, with the line that says where its figures come from.

    Raises:
        SystemExit: the bench or the table is not in ``benches/results/``.
    """
    path = ROOT / "benches" / "results" / f"{name}.json"
    if not path.exists():
        raise SystemExit(
            f"docs name the bench {name!r}, but {path.relative_to(ROOT)} does not exist"
        )
    document = json.loads(path.read_text())
    if table not in document["tables"]:
        known = ", ".join(document["tables"])
        raise SystemExit(f"bench {name!r} has no table {table!r}; it has {known}")
    columns = document["tables"][table]["columns"]
    rows = document["tables"][table]["rows"]
    machine = document["machine"]
    lines = [
        "| " + " | ".join(str(column) for column in columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows),
        "",
        f"`{document['command']}`, {document['date']}, commit {document['commit']}, "
        f"{machine['cpu']}, {machine['n_cpus']} CPUs, load {machine['load_1m']} at the end.",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Rewrite (or, with ``--check``, compare) every page; 1 when one drifted."""
    drifted = []
    for page in sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")]):
        text = page.read_text()
        wanted = BLOCK.sub(lambda m: m[1] + render(m[2], m[3]) + m[5], text)
        if wanted == text:
            continue
        drifted.append(str(page.relative_to(ROOT)))
        if "--check" not in arguments:
            page.write_text(wanted)
    if drifted and "--check" in arguments:
        print(f"tables differ from benches/results in {', '.join(drifted)}: run `make tables`")
        return 1
    return 0


def _cell(cell: object) -> str:
    return "–" if cell is None else f"{cell:.4g}" if isinstance(cell, float) else str(cell)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
